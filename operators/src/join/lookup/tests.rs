use arrow::array::{BooleanArray, Float64Array, Int64Array};
use arrow::compute::kernels::cmp::gt;
use arrow::datatypes::{DataType, Field, Float64Type};
use lineshaft_engine::testing::{Step, lines, run, run_restarted, table, whole_snapshot};
use proptest::prelude::*;

use super::*;

/// x of the stream above the limit of the table.
#[derive(Debug)]
struct AboveLimit;

impl Expression for AboveLimit {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let column = |at: usize| -> &Float64Array { rows.column(at).as_primitive::<Float64Type>() };
        let above: BooleanArray = gt(column(0), column(1))?;
        Ok(Arc::new(above))
    }

    fn data_type(&self) -> &DataType {
        &DataType::Boolean
    }
}

fn stream() -> RecordBatch {
    table("machine:s x:f \n a 1 \n b 2 \n - 3 \n a 9 \n c 4")
}

fn limits() -> RecordBatch {
    table("machine:s limit:f \n a 5 \n b 1 \n - 0")
}

fn above_limit() -> Residual {
    Residual { columns: vec![(Side::Stream, 1), (Side::Table, 1)], holds: Arc::new(AboveLimit) }
}

fn options(kind: LookupKind) -> LookupOptions {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    LookupOptions {
        kind,
        stream_keys: vec![0],
        table_keys: vec![0],
        primary_key: vec![0],
        null_equals_null: false,
        residual: None,
        stream_schema: stream().schema(),
        table_schema: limits().schema(),
        output: vec![(Side::Stream, 0), (Side::Stream, 1), (Side::Table, 1)],
        schema: Arc::new(Schema::new(vec![
            field("machine", DataType::Utf8),
            field("x", DataType::Float64),
            field("limit", DataType::Float64),
        ])),
        taken_back_by: None,
    }
}

fn join(options: LookupOptions) -> LookupJoin {
    LookupJoin::new(options).unwrap()
}

fn given(join: &mut LookupJoin, steps: Vec<Step>) -> Vec<String> {
    lines(&run(join, 1, steps).unwrap())
}

#[test]
fn a_row_gets_the_columns_of_its_match_and_null_matches_nothing() {
    let steps = || vec![Step::Rows(1, limits()), Step::Rows(0, stream())];
    let inner = given(&mut join(options(LookupKind::Inner)), steps());
    assert_eq!(inner, ["a 1.0 5.0", "b 2.0 1.0", "a 9.0 5.0"]);
    let left = given(&mut join(options(LookupKind::Left)), steps());
    assert_eq!(left, ["a 1.0 5.0", "b 2.0 1.0", "- 3.0 -", "a 9.0 5.0", "c 4.0 -"]);
}

#[test]
fn each_batch_comes_out_at_once_with_what_is_in_the_table() {
    let mut join = join(options(LookupKind::Inner));
    let mut output = Output::new(1);
    join.on_batch(1, limits().into(), &mut output).unwrap();
    for batch in [table("machine:s x:f \n a 1"), table("machine:s x:f \n a 2")] {
        join.on_batch(0, batch.clone().into(), &mut output).unwrap();
        let x = lines([&batch])[0].clone();
        assert_eq!(lines([output.take(0)[0].rows()]), [format!("{x} 5.0")]);
    }
    join.on_epoch_end(EpochHeader::new(0, 0), &mut output).unwrap();
    assert!(output.take(0).is_empty());
}

#[test]
fn text_of_the_table_comes_out_as_a_dictionary_before_and_after_a_change() {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let mut options = options(LookupKind::Left);
    let halls = table("machine:s hall:s \n a north \n b -");
    options.table_schema = halls.schema();
    options.output = vec![(Side::Stream, 0), (Side::Table, 1)];
    let fields = [("machine", DataType::Utf8), ("hall", dictionary)];
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
    options.schema = Arc::new(Schema::new(fields.to_vec()));
    let mut join = join(options);
    let mut output = Output::new(1);
    let mut given = |join: &mut LookupJoin| {
        join.on_batch(0, table("machine:s x:f \n a 1 \n b 2 \n c 3").into(), &mut output).unwrap();
        lines([output.take(0)[0].rows()])
    };
    join.on_batch(1, halls.into(), &mut Output::new(1)).unwrap();
    assert_eq!(given(&mut join), ["a north", "b -", "c -"]);
    join.on_batch(1, table("machine:s hall:s \n c south").into(), &mut Output::new(1)).unwrap();
    assert_eq!(given(&mut join), ["a north", "b -", "c south"]);
}

#[test]
fn with_a_primary_key_a_newer_row_replaces_the_older() {
    let changed = table("machine:s limit:f \n a 6 \n a 7");
    let again = || vec![Step::Rows(1, limits()), Step::Rows(0, stream()), Step::Rows(1, changed.clone())];
    let row = || Step::Rows(0, table("machine:s x:f \n a 1 \n b 1"));
    let mut upserted = join(options(LookupKind::Inner));
    given(&mut upserted, again());
    assert_eq!(given(&mut upserted, vec![row()]), ["a 1.0 7.0", "b 1.0 1.0"]);
    let mut appended = join(LookupOptions { primary_key: vec![], ..options(LookupKind::Inner) });
    given(&mut appended, again());
    let all = ["a 1.0 5.0", "a 1.0 6.0", "a 1.0 7.0", "b 1.0 1.0"];
    assert_eq!(given(&mut appended, vec![row()]), all);
}

#[test]
fn a_residual_decides_between_matches() {
    let with_residual = |kind| join(LookupOptions { residual: Some(above_limit()), ..options(kind) });
    let steps = || vec![Step::Rows(1, limits()), Step::Rows(0, stream())];
    let inner = given(&mut with_residual(LookupKind::Inner), steps());
    assert_eq!(inner, ["b 2.0 1.0", "a 9.0 5.0"]);
    let left = given(&mut with_residual(LookupKind::Left), steps());
    assert_eq!(left, ["a 1.0 -", "b 2.0 1.0", "- 3.0 -", "a 9.0 5.0", "c 4.0 -"]);
}

/// The look-up of whole rows of the stream, without columns of the table.
fn of_stream(kind: LookupKind) -> LookupOptions {
    let output = vec![(Side::Stream, 0), (Side::Stream, 1)];
    LookupOptions { kind, primary_key: vec![], output, schema: stream().schema(), ..options(kind) }
}

#[test]
fn rows_come_out_once_with_a_match_or_without() {
    let twice = table("machine:s limit:f \n a 5 \n b 1 \n a 0");
    let steps = || vec![Step::Rows(1, twice.clone()), Step::Rows(0, stream())];
    let semi = given(&mut join(of_stream(LookupKind::Semi)), steps());
    assert_eq!(semi, ["a 1.0", "b 2.0", "a 9.0"]);
    let anti = given(&mut join(of_stream(LookupKind::Anti)), steps());
    assert_eq!(anti, ["- 3.0", "c 4.0"]);
    let fields = stream().schema().fields().to_vec();
    let mark = Arc::new(Field::new("mark", DataType::Boolean, false));
    let schema = Arc::new(Schema::new([fields, vec![mark]].concat()));
    let marked = LookupOptions { schema, ..of_stream(LookupKind::Mark) };
    let marked = given(&mut join(marked), steps());
    assert_eq!(marked, ["a 1.0 true", "b 2.0 true", "- 3.0 false", "a 9.0 true", "c 4.0 false"]);
    let above = LookupOptions { residual: Some(above_limit()), ..of_stream(LookupKind::Anti) };
    assert_eq!(given(&mut join(above), steps()), ["- 3.0", "c 4.0"]);
}

#[test]
fn not_in_a_list_with_null_is_true_for_no_row_and_null_is_not_in_an_empty_list_only() {
    let rows = |list: &str| {
        let list = table(&format!("machine:s limit:f \n {list}"));
        given(&mut join(of_stream(LookupKind::NotIn)), vec![Step::Rows(1, list), Step::Rows(0, stream())])
    };
    assert_eq!(rows("a 1"), ["b 2.0", "c 4.0"]);
    assert_eq!(rows("a 1 \n - 1"), Vec::<String>::new());
    let empty = given(&mut join(of_stream(LookupKind::NotIn)), vec![Step::Rows(0, stream())]);
    assert_eq!(empty, ["a 1.0", "b 2.0", "- 3.0", "a 9.0", "c 4.0"]);
}

#[test]
fn null_equals_null_where_it_is_said() {
    let options = LookupOptions { null_equals_null: true, ..of_stream(LookupKind::Semi) };
    let rows = given(
        &mut join(options),
        vec![Step::Rows(1, table("machine:s limit:f \n - 0")), Step::Rows(0, stream())],
    );
    assert_eq!(rows, ["- 3.0"]);
}

#[test]
fn a_large_table_without_a_key_is_tried_in_parts() {
    let limits: String = (0..300).map(|limit| format!("\n m {limit}")).collect();
    let limits = table(&format!("machine:s limit:f {limits}"));
    let rows: String = (0..200).map(|x| format!("\n s {}", f64::from(x) + 0.5)).collect();
    let rows = table(&format!("machine:s x:f {rows}"));
    let no_keys = LookupOptions {
        stream_keys: vec![],
        table_keys: vec![],
        primary_key: vec![],
        residual: Some(above_limit()),
        ..options(LookupKind::Inner)
    };
    let found = given(&mut join(no_keys), vec![Step::Rows(1, limits), Step::Rows(0, rows)]);
    assert_eq!(found.len(), (1..=200).sum::<usize>());
    assert_eq!((found[0].as_str(), found[found.len() - 1].as_str()), ("s 0.5 0.0", "s 199.5 199.0"));
}

#[test]
fn without_a_table_a_left_join_still_gives_the_stream() {
    let rows = || vec![Step::Rows(0, table("machine:s x:f \n a 1"))];
    assert_eq!(given(&mut join(options(LookupKind::Left)), rows()), ["a 1.0 -"]);
    assert_eq!(given(&mut join(options(LookupKind::Inner)), rows()), [""; 0]);
}

#[test]
fn without_keys_every_row_of_the_table_matches() {
    let mut cross =
        join(LookupOptions { stream_keys: vec![], table_keys: vec![], ..options(LookupKind::Left) });
    let row = || Step::Rows(0, table("machine:s x:f \n z 1"));
    assert_eq!(given(&mut cross, vec![row()]), ["z 1.0 -"]);
    assert_eq!(
        given(&mut cross, vec![Step::Rows(1, limits()), row()]),
        ["z 1.0 5.0", "z 1.0 1.0", "z 1.0 0.0"]
    );
}

#[test]
fn where_each_row_has_one_match_the_stream_is_not_copied_and_weights_stay() {
    let mut join = join(options(LookupKind::Inner));
    let rows = table("machine:s x:f \n b 1 \n a 2");
    let mut output = Output::new(1);
    join.on_batch(1, limits().into(), &mut output).unwrap();
    let batch = Batch::with_weights(rows.clone(), Int64Array::from(vec![1, -1]));
    join.on_batch(0, batch, &mut output).unwrap();
    let header = EpochHeader::new(0, 0);
    join.on_epoch_end(header, &mut output).unwrap();
    let joined = output.take(0).remove(0);
    assert!(Arc::ptr_eq(joined.rows().column(1), rows.column(1)));
    assert_eq!(joined.weights().unwrap().values(), &[1, -1]);
}

#[test]
fn a_snapshot_holds_the_table() {
    let mut before = join(options(LookupKind::Left));
    given(&mut before, vec![Step::Rows(1, limits())]);
    let mut after = join(options(LookupKind::Left));
    after.restore(whole_snapshot(&mut before).unwrap()).unwrap();
    let rows = || vec![Step::Rows(0, stream())];
    assert_eq!(given(&mut after, rows()), given(&mut before, rows()));
}

/// Changes of the stream in one epoch: columns ts, machine, and the weight of each row. What comes out.
fn changes(join: &mut LookupJoin, rows: &str, weights: &[i64]) -> Vec<String> {
    let rows = table(&format!("ts:ts machine:s {rows}"));
    let mut output = Output::new(1);
    join.on_batch(0, Batch::with_weights(rows, weights.to_vec().into()), &mut output).unwrap();
    join.on_epoch_end(EpochHeader::new(0, 0), &mut output).unwrap();
    let shown = output.take(0).into_iter().flat_map(|batch| {
        let weights = batch.weights().unwrap().values().to_vec();
        lines([batch.rows()]).into_iter().zip(weights).map(|(line, weight)| format!("{weight:+} {line}"))
    });
    shown.map(|line| line.replace("1970-01-01T00:00:", "")).collect()
}

#[test]
fn what_is_taken_back_is_what_was_given_though_the_table_has_changed() {
    let columns = table("ts:ts machine:s");
    let options = LookupOptions {
        kind: LookupKind::Left,
        stream_keys: vec![1],
        stream_schema: columns.schema(),
        output: vec![(Side::Stream, 0), (Side::Stream, 1), (Side::Table, 1)],
        schema: Arc::new(Schema::new(vec![
            columns.schema().field(0).clone(),
            columns.schema().field(1).clone(),
            Field::new("limit", DataType::Float64, true),
        ])),
        taken_back_by: Some(0),
        ..options(LookupKind::Left)
    };
    let mut first = join(options.clone());
    let mut output = Output::new(1);
    first.on_batch(1, limits().into(), &mut output).unwrap();
    assert_eq!(
        changes(&mut first, "\n 1 a \n 2 z \n 9 b", &[1, 1, 1]),
        ["+1 01 a 5.0", "+1 02 z -", "+1 09 b 1.0"]
    );
    let mut restored = join(options);
    restored.restore(first.snapshot().unwrap()).unwrap();
    restored.on_batch(1, table("machine:s limit:f \n a 7 \n z 8").into(), &mut output).unwrap();
    let changed = changes(&mut restored, "\n 1 a \n 1 a \n 2 z", &[-1, 1, -1]);
    assert_eq!(changed, ["-1 01 a 5.0", "-1 02 z -", "+1 01 a 7.0"]);
    restored.on_watermark(Watermark::END, &mut output).unwrap();
    assert_eq!(changes(&mut restored, "\n 9 b", &[-1]), ["-1 09 b 1.0"]);
    assert!(restored.remembered.unwrap().is_empty());
}

/// Rows of the table with weights.
fn change(join: &mut LookupJoin, text: &str, weights: Vec<i64>) -> Result<()> {
    let batch =
        Batch::with_weights(table(&format!("machine:s limit:f \n {text}")), Int64Array::from(weights));
    join.on_batch(1, batch, &mut Output::new(1))?;
    join.table.update()
}

#[test]
fn a_row_of_the_table_that_is_taken_back_is_no_longer_met() {
    let row = || vec![Step::Rows(0, table("machine:s x:f \n a 1 \n b 2 \n - 3"))];
    let appended = LookupOptions { primary_key: vec![], ..options(LookupKind::Left) };
    let mut join = join(appended);
    change(&mut join, "a 1 \n a 2 \n a 1 \n - 4 \n b -", vec![1, 1, 1, 1, 1]).unwrap();
    change(&mut join, "a 1 \n - 4 \n b - \n b 6", vec![-1, -1, -1, 1]).unwrap();
    assert_eq!(given(&mut join, row()), ["a 1.0 2.0", "a 1.0 1.0", "b 2.0 6.0", "- 3.0 -"]);
    let missing = change(&mut join, "a 9", vec![-1]).unwrap_err();
    assert!(missing.to_string().contains("taken back that is not in the table"), "{missing}");
}

#[test]
fn a_row_may_be_taken_back_before_it_comes() {
    let appended = LookupOptions { primary_key: vec![], ..options(LookupKind::Left) };
    let mut join = join(appended);
    for (text, weight) in [("a 1", -1), ("a 2", 1), ("a 1", 1)] {
        let rows = table(&format!("machine:s limit:f \n {text}"));
        let batch = Batch::with_weights(rows, Int64Array::from(vec![weight]));
        join.on_batch(1, batch, &mut Output::new(1)).unwrap();
    }
    let row = vec![Step::Rows(0, table("machine:s x:f \n a 1"))];
    assert_eq!(given(&mut join, row), ["a 1.0 2.0"]);
}

#[test]
fn a_changelog_of_a_table_with_a_primary_key_replaces_rows_in_any_order() {
    let row = || vec![Step::Rows(0, table("machine:s x:f \n a 1 \n b 2"))];
    let mut join = join(options(LookupKind::Left));
    change(&mut join, "a 1 \n b 2", vec![1, 1]).unwrap();
    change(&mut join, "a 5 \n a 1 \n b 2", vec![1, -1, -1]).unwrap();
    assert_eq!(given(&mut join, row()), ["a 1.0 5.0", "b 2.0 -"]);
}

#[test]
fn a_table_that_changes_for_long_stays_small_and_right() {
    let mut join = join(options(LookupKind::Inner));
    let mut expected = Vec::new();
    for round in 0..200 {
        let text: String = (0..50).map(|key| format!("k{} {round} \n ", (key * 7 + round) % 90)).collect();
        given(&mut join, vec![Step::Rows(1, table(&format!("machine:s limit:f \n {text}")))]);
        join.table.update().unwrap();
        expected.resize(90, None);
        (0..50).for_each(|key| expected[(key * 7 + round) % 90] = Some(round));
    }
    for (key, round) in expected.into_iter().enumerate() {
        let met = given(&mut join, vec![Step::Rows(0, table(&format!("machine:s x:f \n k{key} 1")))]);
        assert_eq!(met, round.map(|round| format!("k{key} 1.0 {round}.0")).into_iter().collect::<Vec<_>>());
    }
    assert_eq!(join.table.rows().unwrap().num_rows(), 90);
}

proptest! {
    #[test]
    fn a_restart_at_any_step_changes_no_row(
        steps in prop::collection::vec((prop::bool::ANY, prop::collection::vec((0..4, 0..9), 1..6)), 1..12),
        restart in any::<prop::sample::Index>(),
    ) {
        let step = |(is_table, rows): &(bool, Vec<(i32, i32)>)| {
            let text: String = rows.iter().map(|(key, x)| format!("k{key} {x}\n")).collect();
            match is_table {
                true => Step::Rows(1, table(&format!("machine:s limit:f\n{text}"))),
                false => Step::Rows(0, table(&format!("machine:s x:f\n{text}"))),
            }
        };
        let steps: Vec<Step> = steps.iter().map(step).collect();
        for primary_key in [vec![0], vec![]] {
            let make = || join(LookupOptions { primary_key: primary_key.clone(), ..options(LookupKind::Left) });
            let given = |restart| run_restarted(make, 1, &steps, restart).unwrap();
            prop_assert_eq!(given(Some(restart.index(steps.len()))), given(None));
        }
    }
}
