//! The state of the sessions as tables.
//!
//! ```text
//! sessions   start, last time, 1 if there is a partial result, number of rows; the key
//! rows       the rows of all sessions that are in no partial result yet
//! partials   the partial results
//! ```

use lineshaft_engine::Result;
use lineshaft_engine::operator::Snapshot;

use super::super::row_store::Place;
use super::super::state::StateTable;
use super::{Session, SessionAggregate};

impl SessionAggregate {
    pub(super) fn save(&self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        self.arrivals.snapshot(&mut snapshot)?;
        let open = (0..).zip(&self.open).filter_map(|(slot, session)| Some((slot, session.as_ref()?)));
        let (slots, sessions): (Vec<u32>, Vec<&Session>) = open.unzip();
        if sessions.is_empty() {
            return Ok(snapshot);
        }
        let number = |of: &dyn Fn(&Session) -> i64| sessions.iter().map(|session| of(session)).collect();
        let table = StateTable {
            numbers: vec![
                number(&|session| session.start),
                number(&|session| session.last),
                number(&|session| i64::from(session.partial.is_some())),
                number(&|session| session.rows.len() as i64),
            ],
            keys: self.arrivals.interner.columns(&slots)?,
            values: Vec::new(),
        };
        snapshot.put("sessions", table.into_batch()?);
        let rows: Vec<Place> = sessions.iter().flat_map(|session| &session.rows).copied().collect();
        snapshot.put("rows", self.rows.table(&rows)?);
        let partials: Vec<Place> = sessions.iter().filter_map(|session| session.partial).collect();
        snapshot.put("partials", self.partials.table(&partials)?);
        Ok(snapshot)
    }

    pub(super) fn load(&mut self, mut snapshot: Snapshot) -> Result<()> {
        self.arrivals.restore(&mut snapshot)?;
        let tables = (snapshot.take("sessions"), snapshot.take("rows"), snapshot.take("partials"));
        let (Some(sessions), Some(rows), Some(partials)) = tables else {
            return Ok(());
        };
        self.live_rows = rows.num_rows();
        let mut rows = self.rows.restore(&rows)?;
        let mut partials = self.partials.restore(&partials)?;
        let table = StateTable::from_batch(&sessions, 4, self.options.keys.len())?;
        let slots = self.arrivals.intern(&table)?;
        self.open.resize_with(self.arrivals.interner.len(), || None);
        for (row, slot) in slots.into_iter().enumerate() {
            let number = |column: usize| table.numbers[column][row];
            self.open[slot as usize] = Some(Session {
                start: number(0),
                last: number(1),
                partial: if number(2) == 1 { partials.next() } else { None },
                rows: rows.by_ref().take(usize::try_from(number(3)).unwrap_or_default()).collect(),
            });
        }
        self.schedule();
        Ok(())
    }
}
