//! What happens in the plant, in plain words: what one sees at the beginning, at each event and at the end.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::error::ArrowError;
use lineshaft::engine::batch::Batch;
use tokio::sync::mpsc::Receiver;

use crate::status;

/// A window of `features`, microseconds: a press that is in trouble in two of them in a row is in one trouble.
const WINDOW: i64 = 30_000_000;
/// Speeds so far apart are worth telling, strokes per minute.
const FAR: f64 = 3.0;

/// What one sees first.
pub(super) fn beginning(seconds: u64, broker: &str, data: &Path) -> String {
    let (data, speedup) = (data.display(), super::SPEEDUP);
    let minutes = seconds * u64::from(speedup) / 60;
    format!(
        "A plant of 3 lines with 4 presses each, simulated {speedup} times as fast as it would run: \
         {minutes} minutes in {seconds} s.
Its clock began that long ago, and has caught up when the demo ends.
Each press sends a reading a second to an MQTT broker in this process: {broker}, plant/LINE/MACHINE/readings.
The program is examples/demo/demo.sql. It
  - computes features of each press every 30 s (vibration, temperature, wear), kept in {data};
  - raises an alarm when a press shakes or stands still, to plant/MACHINE/alarm;
  - finds the best speed and heat of each line every minute, and sends them to plant/LINE/press/set, if the gate lets
    them pass: within bounds, in small steps, not too often. The plant follows: presses that shake are slowed down.
Ctrl-C ends it sooner."
    )
}

/// What has happened so far.
#[derive(Default)]
pub(super) struct Story {
    /// Of each press in trouble: the end of the last window, microseconds, and whether it stood still.
    troubles: BTreeMap<String, (i64, bool)>,
    alarms: usize,
    lines: BTreeMap<String, Line>,
    held_back: usize,
}

/// The speeds that a line was told, strokes per minute.
struct Line {
    first: f64,
    /// The last one of which the story told.
    told: f64,
    last: f64,
    commands: usize,
}

impl Story {
    /// Tells what happens until the program ends.
    pub(super) async fn tell(
        mut self,
        mut troubles: Receiver<Batch>,
        mut commands: Receiver<Batch>,
        quiet: bool,
    ) -> Self {
        loop {
            let told = tokio::select! {
                Some(batch) = troubles.recv() => self.on_troubles(batch.rows()),
                Some(batch) = commands.recv() => self.on_commands(batch.rows()),
                else => return self,
            };
            match told {
                Ok(events) if !quiet => events.iter().for_each(|event| status::say(event)),
                Ok(_) => {}
                Err(error) => tracing::warn!("the demo cannot tell what happened: {error}"),
            }
        }
    }

    /// An event for each trouble that begins or changes.
    fn on_troubles(&mut self, rows: &RecordBatch) -> Result<Vec<String>, ArrowError> {
        let ends = column(rows, "ts", &DataType::Int64)?;
        let machines = column(rows, "machine", &DataType::Utf8)?;
        let vibrations = column(rows, "vib_rms", &DataType::Float64)?;
        let faults = column(rows, "fault", &DataType::Boolean)?;
        let mut events = Vec::new();
        for row in 0..rows.num_rows() {
            let end = ends.as_primitive::<Int64Type>().value(row);
            let machine = machines.as_string::<i32>().value(row);
            let fault = faults.as_boolean().value(row);
            let before = self.troubles.insert(machine.to_owned(), (end, fault));
            if before.is_some_and(|(last, known)| end - last <= WINDOW && known == fault) {
                continue;
            }
            self.alarms += 1;
            let what = match fault {
                true => "stands still and is repaired".to_owned(),
                false => format!("shakes: {:.1} mm/s", vibrations.as_primitive::<Float64Type>().value(row)),
            };
            events.push(format!("  alarm    {machine} {what}"));
        }
        Ok(events)
    }

    /// An event for each speed that is far from the one told before.
    fn on_commands(&mut self, rows: &RecordBatch) -> Result<Vec<String>, ArrowError> {
        let lines = column(rows, "line", &DataType::Utf8)?;
        let speeds = column(rows, "speed", &DataType::Float64)?;
        let decisions = column(rows, "decision", &DataType::Utf8)?;
        let mut events = Vec::new();
        for row in 0..rows.num_rows() {
            if decisions.as_string::<i32>().value(row) != "sent" {
                self.held_back += 1;
                continue;
            }
            let name = lines.as_string::<i32>().value(row);
            let speed = speeds.as_primitive::<Float64Type>().value(row);
            let line = self.lines.entry(name.to_owned()).or_insert_with(|| Line {
                first: speed,
                told: f64::INFINITY,
                last: speed,
                commands: 0,
            });
            (line.last, line.commands) = (speed, line.commands + 1);
            if (line.told - speed).abs() >= FAR {
                line.told = speed;
                events.push(format!("  command  {name} shall do {speed:.1} strokes/min"));
            }
        }
        Ok(events)
    }

    /// What one sees last.
    pub(super) fn ending(&self, data: &Path) -> String {
        let commands: usize = self.lines.values().map(|line| line.commands).sum();
        let mut text = format!(
            "{} alarms of {} presses; {commands} commands sent, {} held back.\n",
            self.alarms,
            self.troubles.len(),
            self.held_back
        );
        for (name, line) in &self.lines {
            text += &format!(
                "  {name}: {} commands, from {:.1} to {:.1} strokes/min\n",
                line.commands, line.first, line.last
            );
        }
        let data = data.display();
        text + &format!(
            "What it kept is in {data}; look at it by SQL:
  lineshaft query \"SELECT machine, max(wear) AS wear, max(vib_rms) AS shaking FROM features GROUP BY machine\" \
             --data {data}
  lineshaft query \"SELECT * FROM alarms ORDER BY ts DESC LIMIT 10\" --data {data}
  lineshaft query 'SELECT * FROM \"press_drive.log\" LIMIT 10' --data {data}"
        )
    }
}

fn column(rows: &RecordBatch, name: &str, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    let column = rows.column_by_name(name);
    let missing = || ArrowError::SchemaError(format!("there is no column {name:?}"));
    cast(column.ok_or_else(missing)?, data_type)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Float64Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn a_trouble_is_told_once_until_it_changes_or_comes_again() {
        let trouble = |end_s: i64, fault: bool| {
            let columns: [(&str, ArrayRef); 4] = [
                ("ts", Arc::new(TimestampMicrosecondArray::from(vec![end_s * 1_000_000]))),
                ("machine", Arc::new(StringArray::from(vec!["press-1-1"]))),
                ("vib_rms", Arc::new(Float64Array::from(vec![6.54]))),
                ("fault", Arc::new(BooleanArray::from(vec![fault]))),
            ];
            RecordBatch::try_from_iter(columns).unwrap()
        };
        let mut story = Story::default();
        let mut tell = |end_s, fault| story.on_troubles(&trouble(end_s, fault)).unwrap().concat();
        assert_eq!(tell(30, false), "  alarm    press-1-1 shakes: 6.5 mm/s");
        assert_eq!(tell(60, false), "");
        assert_eq!(tell(90, true), "  alarm    press-1-1 stands still and is repaired");
        assert_eq!(tell(240, true), "  alarm    press-1-1 stands still and is repaired");
        assert!(story.ending(Path::new("d")).starts_with("3 alarms of 1 presses; 0 commands sent"));
    }

    #[test]
    fn commands_are_counted_and_told_if_they_change_much() {
        let speeds = [20.0, 20.5, 23.0, 40.0];
        let columns: [(&str, ArrayRef); 3] = [
            ("line", Arc::new(StringArray::from(vec!["line-1"; 4]))),
            ("speed", Arc::new(Float64Array::from(speeds.to_vec()))),
            ("decision", Arc::new(StringArray::from(vec!["sent", "sent", "sent", "refused"]))),
        ];
        let mut story = Story::default();
        let events = story.on_commands(&RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        let told = |speed: &str| format!("  command  line-1 shall do {speed} strokes/min");
        assert_eq!(events, [told("20.0"), told("23.0")]);
        let ending = story.ending(Path::new("d"));
        assert!(ending.contains("3 commands sent, 1 held back.\n  line-1: 3 commands, from 20.0 to 23.0"));
    }
}
