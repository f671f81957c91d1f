//! The simulated plant itself: lines of presses that wear, fail, are repaired, and follow their set-points.
//!
//! It is a teaching model, not a measured one: simple laws whose signs and sizes are those of a plant, so that a feature,
//! a model or a decision finds what is there. With speed `v`, heat `h`, humidity `u`, wear `w` (0 new, 1 worn out):
//!
//! | quantity | unit | law |
//! |---|---|---|
//! | speed, heat | strokes/min, deg C | follow the set-point with a lag of 5 s and 30 s |
//! | humidity | % | 50 + 15 sin(t / 6 h), each line with its own phase |
//! | wear | 1 | grows by `(v/25)^2.5 (1 + 0.3 ((h-210)/30)^2) / 2400 s`; machines differ by 30 % |
//! | vibration | mm/s rms | 0.8 + 0.05 v + 7 w^3 |
//! | temperature | deg C | follows 25 + 0.9 v + 30 w^3 with a lag of 60 s |
//! | pressure | bar | 80 + 0.4 v - 6 w |
//! | current | A | 10 + 0.8 v (1 + 0.2 w) |
//! | throughput | parts/min | 4 v, less 2 % for each degree that the heat is below 190 |
//! | defects | of 100 parts | 0.5 + 1.5 max(0, (v-15)/10)^2 + 2 ((h-h*)/15)^2 + 4 w^2, with h* = 210 + 0.4 (u-50) |
//! | power | kW | 2 + 0.012 v^2 (1 + 0.15 w) + 0.06 (h-20) |
//!
//! A press whose wear reaches its limit (0.95 to 1.05) stands still for 120 s (`fault`), is as new, warms up for 30 s
//! (`idle`) and runs again. Measured values carry noise; the same seed and the same commands give the same readings.

use std::f64::consts::TAU;
use std::sync::Arc;

use lineshaft_engine::time::EventTime;
use serde::{Deserialize, Serialize};

use crate::random::Random;

const SPEED_LAG_S: f64 = 5.0;
const HEAT_LAG_S: f64 = 30.0;
const TEMPERATURE_LAG_S: f64 = 60.0;
const LIFE_S: f64 = 2_400.0;
const REPAIR_S: f64 = 120.0;
const WARM_UP_S: f64 = 30.0;
const DAY_PART_S: f64 = 6.0 * 3_600.0;

/// What the drive of a press takes, strokes per minute; a command beyond it is clamped, as a PLC does.
pub const SPEED_LIMITS: (f64, f64) = (5.0, 45.0);
/// What the heating of a press takes, degrees Celsius.
pub const HEAT_LIMITS: (f64, f64) = (150.0, 260.0);

/// How large the plant is, and how it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct PlantOptions {
    /// Number of lines.
    pub lines: usize,
    /// Number of presses of a line.
    pub machines: usize,
    /// Readings per press and simulated second.
    pub rate: f64,
    /// Another seed gives another plant.
    pub seed: u64,
    /// Event time of the first readings.
    pub start: EventTime,
}

impl Default for PlantOptions {
    fn default() -> Self {
        // 2026-01-01T00:00:00Z.
        Self { lines: 3, machines: 4, rate: 1.0, seed: 1, start: 1_767_225_600_000_000 }
    }
}

/// New set-points for all presses of a line; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SetPoint {
    /// The line, such as `line-1`.
    pub line: String,
    /// Strokes per minute.
    pub speed: Option<f64>,
    /// Degrees Celsius.
    pub heat: Option<f64>,
}

/// What a press is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It makes parts.
    Running,
    /// It has failed and is being repaired.
    Fault,
    /// It warms up after a repair.
    Idle,
}

impl Status {
    /// The word in the column `status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Fault => "fault",
            Self::Idle => "idle",
        }
    }
}

/// The values of one press at one time; units are those of the table above.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the table of this file says what each one is")]
pub struct Reading {
    pub ts: EventTime,
    pub line: Arc<str>,
    pub machine: Arc<str>,
    pub speed: f64,
    pub heat: f64,
    pub humidity: f64,
    pub temperature: f64,
    pub vibration: f64,
    pub pressure: f64,
    pub current: f64,
    pub power: f64,
    pub throughput: f64,
    pub defects: f64,
    pub wear: f64,
    pub status: Status,
}

/// All presses of all lines.
#[derive(Clone, Debug)]
pub struct Plant {
    options: PlantOptions,
    machines: Vec<Machine>,
    steps: u64,
}

impl Plant {
    /// A plant whose presses have been in use for different times.
    pub fn new(options: PlantOptions) -> Self {
        let places =
            (0..options.lines).flat_map(|line| (0..options.machines).map(move |place| (line, place)));
        let machines = places.map(|(line, place)| Machine::new(options.seed, line, place)).collect();
        Self { options, machines, steps: 0 }
    }

    /// The next readings, one per press.
    pub fn step(&mut self) -> Vec<Reading> {
        let step_s = 1.0 / self.options.rate;
        let seconds = self.seconds();
        let ts = self.now();
        self.steps += 1;
        let readings = self.machines.iter_mut().map(|machine| {
            machine.advance(step_s);
            machine.reading(ts, seconds)
        });
        readings.collect()
    }

    /// Event time of the next readings.
    pub fn now(&self) -> EventTime {
        self.options.start.saturating_add(micros(self.seconds()))
    }

    /// Simulated seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.steps as f64 / self.options.rate
    }

    /// Gives a line new set-points, clamped to what its drives take. False if there is no such line.
    pub fn command(&mut self, set_point: &SetPoint) -> bool {
        let mut found = false;
        for machine in self.machines.iter_mut().filter(|machine| *machine.line == *set_point.line) {
            machine.command(set_point);
            found = true;
        }
        found
    }

    /// How it stands now.
    pub(super) fn state(&self) -> PlantState {
        PlantState { start: self.options.start, steps: self.steps, machines: self.machines.clone() }
    }

    /// Makes it stand so. False if it is of a plant with more or fewer presses.
    pub(super) fn set_state(&mut self, state: PlantState) -> bool {
        if state.machines.len() != self.machines.len() {
            return false;
        }
        (self.options.start, self.steps) = (state.start, state.steps);
        for (machine, before) in self.machines.iter_mut().zip(state.machines) {
            let (line, name) = (Arc::clone(&machine.line), Arc::clone(&machine.name));
            *machine = Machine { line, name, ..before };
        }
        true
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates, which is what is meant")]
fn micros(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64
}

/// How a plant stands between two steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PlantState {
    start: EventTime,
    steps: u64,
    machines: Vec<Machine>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Machine {
    #[serde(skip)]
    line: Arc<str>,
    #[serde(skip)]
    name: Arc<str>,
    random: Random,
    /// Of its humidity, from 0 to 1.
    phase: f64,
    /// How fast it wears compared with the others.
    weakness: f64,
    /// The wear at which it fails next.
    limit: f64,
    set_speed: f64,
    set_heat: f64,
    speed: f64,
    heat: f64,
    temperature: f64,
    wear: f64,
    status: Status,
    /// Seconds left of a repair or a warm-up.
    waits_s: f64,
}

impl Machine {
    fn new(seed: u64, line: usize, place: usize) -> Self {
        let mut random = Random::part(seed, (line as u64) << 32 | place as u64);
        Self {
            line: format!("line-{}", line + 1).into(),
            name: format!("press-{}-{}", line + 1, place + 1).into(),
            phase: Random::part(seed, !(line as u64)).uniform(),
            weakness: 0.7 + 0.6 * random.uniform(),
            limit: limit(&mut random),
            set_speed: 25.0,
            set_heat: 210.0,
            speed: 25.0,
            heat: 210.0,
            temperature: 47.5,
            wear: 0.85 * random.uniform(),
            status: Status::Running,
            waits_s: 0.0,
            random,
        }
    }

    fn command(&mut self, set_point: &SetPoint) {
        let within = |value: f64, (low, high): (f64, f64)| value.clamp(low, high);
        if let Some(speed) = set_point.speed.filter(|speed| speed.is_finite()) {
            self.set_speed = within(speed, SPEED_LIMITS);
        }
        if let Some(heat) = set_point.heat.filter(|heat| heat.is_finite()) {
            self.set_heat = within(heat, HEAT_LIMITS);
        }
    }

    fn advance(&mut self, step_s: f64) {
        self.change_status(step_s);
        let speed = if self.status == Status::Running { self.set_speed } else { 0.0 };
        follow(&mut self.speed, speed, step_s, SPEED_LAG_S);
        follow(&mut self.heat, self.set_heat, step_s, HEAT_LAG_S);
        let warmth = 25.0 + 0.9 * self.speed + 30.0 * self.wear.powi(3);
        follow(&mut self.temperature, warmth, step_s, TEMPERATURE_LAG_S);
        if self.status == Status::Running {
            let stress = 1.0 + 0.3 * ((self.heat - 210.0) / 30.0).powi(2);
            self.wear += self.weakness * (self.speed / 25.0).powf(2.5) * stress * step_s / LIFE_S;
        }
    }

    fn change_status(&mut self, step_s: f64) {
        self.waits_s = (self.waits_s - step_s).max(0.0);
        match self.status {
            Status::Running if self.wear >= self.limit => {
                self.status = Status::Fault;
                self.waits_s = REPAIR_S;
            }
            Status::Fault if self.waits_s <= 0.0 => {
                self.status = Status::Idle;
                self.waits_s = WARM_UP_S;
                self.wear = 0.0;
                self.limit = limit(&mut self.random);
            }
            Status::Idle if self.waits_s <= 0.0 => self.status = Status::Running,
            Status::Running | Status::Fault | Status::Idle => {}
        }
    }

    fn humidity(&self, seconds: f64) -> f64 {
        50.0 + 15.0 * (seconds / DAY_PART_S + TAU * self.phase).sin()
    }

    /// Share of bad parts, of 100.
    fn defects(&self, humidity: f64) -> f64 {
        let best_heat = 210.0 + 0.4 * (humidity - 50.0);
        let haste = ((self.speed - 15.0) / 10.0).max(0.0);
        0.5 + 1.5 * haste.powi(2) + 2.0 * ((self.heat - best_heat) / 15.0).powi(2) + 4.0 * self.wear.powi(2)
    }

    fn reading(&mut self, ts: EventTime, seconds: f64) -> Reading {
        let (v, h, w) = (self.speed, self.heat, self.wear);
        let humidity = self.humidity(seconds);
        let makes_parts = if self.status == Status::Running { 1.0 } else { 0.0 };
        let defects = self.defects(humidity);
        let parts = 4.0 * v * (1.0 - 0.02 * (190.0 - h).max(0.0)).max(0.0);
        let noise = &mut self.random;
        let mut measured = |value: f64, sigma: f64| (value + sigma * noise.noise()).max(0.0);
        Reading {
            ts,
            line: Arc::clone(&self.line),
            machine: Arc::clone(&self.name),
            speed: measured(v, 0.05),
            heat: measured(h, 0.3),
            humidity: measured(humidity, 0.5),
            temperature: measured(self.temperature, 0.3),
            vibration: measured(0.8 + 0.05 * v + 7.0 * w.powi(3), 0.12),
            pressure: measured(80.0 + 0.4 * v - 6.0 * w, 0.6),
            current: measured(10.0 + 0.8 * v * (1.0 + 0.2 * w), 0.3),
            power: measured(2.0 + 0.012 * v * v * (1.0 + 0.15 * w) + 0.06 * (h - 20.0), 0.1),
            throughput: makes_parts * measured(parts, 0.5),
            defects: makes_parts * measured(defects, 0.3),
            wear: w,
            status: self.status,
        }
    }
}

/// A lag of first order, exact for a target that stands still during the step.
fn follow(value: &mut f64, target: f64, step_s: f64, lag_s: f64) {
    *value += (target - *value) * (1.0 - (-step_s / lag_s).exp());
}

fn limit(random: &mut Random) -> f64 {
    0.95 + 0.1 * random.uniform()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(options: PlantOptions, seconds: usize, set_point: Option<SetPoint>) -> Vec<Vec<Reading>> {
        let mut plant = Plant::new(options);
        if let Some(set_point) = set_point {
            assert!(plant.command(&set_point));
        }
        (0..seconds).map(|_| plant.step()).collect()
    }

    fn mean(readings: &[Vec<Reading>], value: fn(&Reading) -> f64) -> f64 {
        let values = readings.iter().flatten().map(value);
        values.clone().sum::<f64>() / values.count() as f64
    }

    fn at_speed(speed: f64) -> Vec<Vec<Reading>> {
        let one_line = PlantOptions { lines: 1, ..PlantOptions::default() };
        readings(one_line, 3_600, Some(SetPoint { line: "line-1".into(), speed: Some(speed), heat: None }))
    }

    #[test]
    fn a_fault_is_preceded_by_rising_vibration_and_temperature() {
        let steps = readings(PlantOptions::default(), 7_200, None);
        let mut faults = 0;
        for machine in 0..steps[0].len() {
            let course: Vec<&Reading> = steps.iter().map(|step| &step[machine]).collect();
            let begins = (1..course.len())
                .filter(|&i| course[i].status == Status::Fault && course[i - 1].status == Status::Running);
            for fault in begins.filter(|&i| i > 900) {
                let of = |range: std::ops::Range<usize>, value: fn(&Reading) -> f64| {
                    course[range.clone()].iter().map(|reading| value(reading)).sum::<f64>()
                        / range.len() as f64
                };
                let (early, late) = (fault - 900..fault - 840, fault - 60..fault);
                assert!(of(late.clone(), |r| r.vibration) > 1.5 * of(early.clone(), |r| r.vibration));
                assert!(of(late, |r| r.temperature) > 3.0 + of(early, |r| r.temperature));
                faults += 1;
            }
        }
        assert!(faults >= 12, "every press fails in two hours: {faults}");
    }

    #[test]
    fn a_slower_line_makes_fewer_defects_and_wears_less() {
        let (slow, fast) = (at_speed(15.0), at_speed(35.0));
        assert!(mean(&slow, |r| r.defects) < 0.5 * mean(&fast, |r| r.defects));
        let stops = |steps: &[Vec<Reading>]| mean(steps, |r| f64::from(u8::from(r.status == Status::Fault)));
        assert!(stops(&slow) < 0.5 * stops(&fast));
        assert!(mean(&slow, |r| r.power) < mean(&fast, |r| r.power));
    }

    #[test]
    fn a_set_point_acts_with_a_lag_and_only_on_its_line() {
        let set_point = SetPoint { line: "line-2".into(), speed: Some(35.0), heat: Some(1_000.0) };
        let steps = readings(PlantOptions::default(), 400, Some(set_point));
        let of = |step: usize, line: &str| {
            steps[step].iter().find(|r| &*r.line == line && r.status == Status::Running).unwrap().clone()
        };
        assert!((25.5..30.0).contains(&of(0, "line-2").speed), "{}", of(0, "line-2").speed);
        assert!((of(60, "line-2").speed - 35.0).abs() < 0.5);
        assert!((of(399, "line-2").heat - HEAT_LIMITS.1).abs() < 2.0, "the drive clamps a wild command");
        assert!((of(60, "line-1").speed - 25.0).abs() < 0.5);
        let mut plant = Plant::new(PlantOptions::default());
        assert!(!plant.command(&SetPoint { line: "line-9".into(), ..SetPoint::default() }));
    }

    #[test]
    fn a_press_is_repaired_and_runs_again() {
        let steps = readings(PlantOptions::default(), 7_200, None);
        let course: Vec<&Reading> = steps.iter().map(|step| &step[0]).collect();
        let fault = course.iter().position(|r| r.status == Status::Fault).unwrap();
        assert!(course[fault + 60].throughput < 1e-9 && course[fault + 60].speed < 1.0);
        assert_eq!(course[fault + 125].status, Status::Idle);
        assert_eq!(course[fault + 160].status, Status::Running);
        assert!(course[fault + 160].wear < 0.05);
    }

    #[test]
    fn the_same_seed_gives_the_same_plant() {
        let run = |seed| readings(PlantOptions { seed, ..PlantOptions::default() }, 100, None);
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
        let every_half = readings(PlantOptions { rate: 2.0, ..PlantOptions::default() }, 3, None);
        assert_eq!(every_half[2][0].ts - every_half[0][0].ts, 1_000_000);
        assert_eq!((&*every_half[0][5].line, &*every_half[0][5].machine), ("line-2", "press-2-2"));
    }
}
