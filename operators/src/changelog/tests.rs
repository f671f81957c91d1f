//! A restart between any two epochs changes nothing of what the operators without differential give.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema};
use lineshaft_engine::batch::Batch;
use lineshaft_engine::testing::{Step, run_restarted, table};
use proptest::prelude::*;

use super::first_rows::FirstRows;
use super::operations::Upserts;
use super::top_k::{Ranking, TopKOptions};
use super::upsert::Upsert;

type Rows = Vec<(&'static str, i64, bool)>;

fn any_rows() -> impl Strategy<Value = Vec<Rows>> {
    let row = (prop::sample::select(vec!["a", "b", "-"]), 0..5_i64, prop::bool::weighted(0.7));
    prop::collection::vec(prop::collection::vec(row, 1..6), 1..8)
}

/// An epoch of each; rows may be taken back.
fn steps(epochs: &[Rows], has_weights: bool) -> Vec<Step> {
    let step = |rows: &Rows| {
        let text: String = rows.iter().map(|(key, x, _)| format!("{key} {x}\n")).collect();
        let rows_of_epoch = table(&format!("machine:s x:i\n{text}"));
        let weights: Vec<i64> = rows.iter().map(|(.., is_added)| if *is_added { 1 } else { -1 }).collect();
        match has_weights {
            true => Step::Changes(0, Batch::with_weights(rows_of_epoch, weights.into())),
            false => Step::Rows(0, rows_of_epoch),
        }
    };
    epochs.iter().map(step).collect()
}

fn first_rows(ranking: Ranking) -> FirstRows {
    let schema = table("machine:s x:i\n a 1").schema();
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new("rank", DataType::UInt64, false)));
    let order = vec![(1, SortOptions { descending: true, nulls_first: false })];
    let options =
        TopKOptions { schema, partition: vec![0], order, ranking, skip: 1, limit: 3, with_rank: true };
    FirstRows::new(options, Arc::new(Schema::new(fields))).unwrap()
}

proptest! {
    #[test]
    fn a_restart_at_any_epoch_changes_nothing(epochs in any_rows(), restart in any::<prop::sample::Index>()) {
        let at = Some(restart.index(epochs.len()));
        let schema = || table("machine:s x:i\n a 1").schema();
        for has_weights in [true, false] {
            let steps = steps(&epochs, has_weights);
            let upsert = |restart| run_restarted(|| Upsert::new(schema(), vec![0]).unwrap(), 1, &steps, restart);
            prop_assert_eq!(upsert(at).unwrap(), upsert(None).unwrap());
            let upserts = |restart| run_restarted(|| Upserts::new(schema(), vec![0]).unwrap(), 1, &steps, restart);
            prop_assert_eq!(upserts(at).unwrap(), upserts(None).unwrap());
        }
        let added = steps(&epochs, false);
        for ranking in [Ranking::RowNumber, Ranking::Rank, Ranking::DenseRank] {
            let first = |restart| run_restarted(|| first_rows(ranking), 1, &added, restart).unwrap();
            prop_assert_eq!(first(at), first(None));
        }
    }
}
