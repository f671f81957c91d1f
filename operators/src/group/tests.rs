use std::collections::BTreeMap;

use arrow::array::Int64Array;
use arrow::datatypes::{Field, Schema};
use lineshaft_engine::testing::{extend, lines, table};
use proptest::prelude::*;

use super::*;
use crate::testing::{Statistic, aggregate};

const HEADER: &str = "k:s x:f ok:b";

fn call(statistic: Statistic, reversal: Reversal) -> Call {
    Call { aggregate: aggregate(statistic, 1, None), is_distinct: false, reversal }
}

/// Count, sum, least and greatest, sum by values, sum of a filter, sum and count of distinct values.
fn calls() -> Vec<Call> {
    use Reversal::{Bag, Set};
    let of = |moment| Reversal::Statistic(moment);
    vec![
        call(Statistic::Count, of(Moment::Rows)),
        call(Statistic::Sum, of(Moment::Sum)),
        call(Statistic::Min, of(Moment::Min)),
        call(Statistic::Max, Set),
        call(Statistic::Sum, Bag),
        Call { aggregate: aggregate(Statistic::Sum, 1, Some(2)), ..call(Statistic::Sum, of(Moment::Sum)) },
        Call { is_distinct: true, ..call(Statistic::Sum, of(Moment::Sum)) },
        Call { is_distinct: true, ..call(Statistic::Max, of(Moment::Max)) },
    ]
}

fn operator(keys: &[usize], calls: Vec<Call>, takes_changes: bool) -> GroupAggregate {
    let input = table(HEADER).schema();
    let mut fields: Vec<Field> = keys.iter().map(|key| input.field(*key).clone()).collect();
    for (place, call) in calls.iter().enumerate() {
        let counts = takes_changes && call.reversal == Reversal::Statistic(Moment::Rows);
        let data_type = if counts { DataType::Int64 } else { DataType::Float64 };
        fields.push(Field::new(format!("r{place}"), data_type, true));
    }
    let schema = Arc::new(Schema::new(fields));
    let options = GroupOptions { keys: keys.to_vec(), calls, takes_changes, input, schema };
    GroupAggregate::new(options, true).unwrap()
}

/// One epoch; gives rows with their weights in front.
fn epoch(operator: &mut GroupAggregate, rows: &str, weights: Option<Vec<i64>>) -> Vec<String> {
    epoch_of(operator, rows, weights, EpochHeader::new(0, 0))
}

fn epoch_of(
    operator: &mut GroupAggregate,
    rows: &str,
    weights: Option<Vec<i64>>,
    header: EpochHeader,
) -> Vec<String> {
    let rows = table(&format!("{HEADER}\n{rows}"));
    let batch = match weights {
        Some(weights) => Batch::with_weights(rows, Int64Array::from(weights)),
        None => Batch::new(rows),
    };
    let mut output = Output::new(1);
    operator.on_batch(0, batch, &mut output).unwrap();
    operator.on_epoch_end(header, &mut output).unwrap();
    output.take(0).iter().flat_map(weighted).collect()
}

/// Rows, their weights, and the header.
type Epoch = (String, Option<Vec<i64>>, EpochHeader);

/// Groups of which a snapshot is taken while rows come.
struct Watched {
    groups: GroupAggregate,
    snapshot: Option<Snapshot>,
    /// The epochs after the snapshot has begun, and what they gave.
    after: Vec<(Epoch, Vec<String>)>,
}

impl Watched {
    fn epoch(&mut self, rows: String, weights: Option<Vec<i64>>, header: EpochHeader) -> Vec<String> {
        let given = epoch_of(&mut self.groups, &rows, weights.clone(), header);
        if let Some(snapshot) = &mut self.snapshot {
            extend(snapshot, &mut self.groups).unwrap();
            self.after.push(((rows, weights, header), given.clone()));
        }
        given
    }

    fn begin_snapshot(&mut self) {
        self.snapshot = Some(self.groups.snapshot().unwrap());
    }

    /// The same epochs give the same in new groups that are restored.
    fn go_on_in(mut self, mut fresh: GroupAggregate) {
        let Some(mut snapshot) = self.snapshot else { return };
        while extend(&mut snapshot, &mut self.groups).unwrap() {}
        fresh.restore(snapshot).unwrap();
        for ((rows, weights, header), given) in self.after {
            assert_eq!(epoch_of(&mut fresh, &rows, weights, header), given);
        }
    }
}

fn weighted(batch: &Batch) -> Vec<String> {
    let weights = batch.weights().unwrap().values();
    weights.iter().zip(lines([batch.rows()])).map(|(weight, line)| format!("{weight:+} {line}")).collect()
}

fn sums() -> Vec<Call> {
    vec![
        call(Statistic::Count, Reversal::Statistic(Moment::Rows)),
        call(Statistic::Sum, Reversal::Statistic(Moment::Sum)),
    ]
}

#[test]
fn a_group_that_changes_takes_its_row_back_and_gives_the_new_one() {
    for takes_changes in [false, true] {
        let mut groups = operator(&[0], sums(), takes_changes);
        let one = if takes_changes { "1" } else { "1.0" };
        let two = if takes_changes { "2" } else { "2.0" };
        assert_eq!(
            epoch(&mut groups, "a 4 -\nb 1 -", None),
            [format!("+1 a {one} 4.0"), format!("+1 b {one} 1.0")]
        );
        assert_eq!(
            epoch(&mut groups, "b 2 -\n- 7 -", None),
            [format!("-1 b {one} 1.0"), format!("+1 b {two} 3.0"), format!("+1 - {one} 7.0")]
        );
        assert_eq!(groups.groups(), 3);
    }
}

#[test]
fn changes_of_changes_are_left_out_while_more_follows_at_once() {
    let before_more = EpochHeader { more_follows: true, ..EpochHeader::new(0, 0) };
    for takes_changes in [false, true] {
        let mut groups = operator(&[0], sums(), takes_changes);
        let (one, three) = if takes_changes { ("1", "3") } else { ("1.0", "3.0") };
        assert_eq!(epoch(&mut groups, "a 4 -", None), [format!("+1 a {one} 4.0")]);
        assert_eq!(epoch_of(&mut groups, "a 1 -\nb 2 -", None, before_more), [""; 0]);
        assert_eq!(epoch_of(&mut groups, "", None, before_more), [""; 0]);
        assert_eq!(
            epoch(&mut groups, "a 1 -", None),
            [format!("-1 a {one} 4.0"), format!("+1 a {three} 6.0"), format!("+1 b {one} 2.0")]
        );
    }
}

#[test]
fn a_row_that_stays_as_it_is_is_not_given_again() {
    let mut groups = operator(&[0], vec![call(Statistic::Max, Reversal::Statistic(Moment::Max))], true);
    assert_eq!(epoch(&mut groups, "a 4 -", None), ["+1 a 4.0"]);
    assert_eq!(epoch(&mut groups, "a 3 -", None), [""; 0]);
    assert_eq!(epoch(&mut groups, "a 4 -\na 9 -", Some(vec![-1, 1])), ["-1 a 4.0", "+1 a 9.0"]);
    assert_eq!(epoch(&mut groups, "a 9 -", Some(vec![-1])), ["-1 a 9.0", "+1 a 3.0"]);
}

#[test]
fn a_group_without_rows_vanishes() {
    let mut groups = operator(&[0], sums(), true);
    assert_eq!(epoch(&mut groups, "a 4 -\nb 1 -", None).len(), 2);
    assert_eq!(epoch(&mut groups, "a 4 -", Some(vec![-1])), ["-1 a 1 4.0"]);
    assert_eq!(epoch(&mut groups, "c 5 -\nc 5 -", Some(vec![-1, 1])), [""; 0]);
    assert_eq!(epoch(&mut groups, "a 2 -", None), ["+1 a 1 2.0"]);
}

#[test]
fn the_only_group_is_there_from_the_start_and_stays() {
    for takes_changes in [false, true] {
        let mut groups = operator(&[], sums(), takes_changes);
        let none = if takes_changes { "+1 0 -" } else { "+1 - -" };
        assert_eq!(epoch(&mut groups, "", None), [none]);
        assert_eq!(epoch(&mut groups, "", None), [""; 0]);
    }
    let mut groups = operator(&[], sums(), true);
    assert_eq!(epoch(&mut groups, "a 4 -", None), ["+1 1 4.0"]);
    assert_eq!(epoch(&mut groups, "a 4 -", Some(vec![-1])), ["-1 1 4.0", "+1 0 -"]);
    let mut elsewhere = GroupAggregate::new(groups.options.clone(), false).unwrap();
    assert_eq!(epoch(&mut elsewhere, "", None), [""; 0], "it is on the first worker only");
}

#[test]
fn sums_of_many_epochs_are_one_chain_of_additions() {
    let mut groups = operator(&[0], vec![call(Statistic::Sum, Reversal::Statistic(Moment::Sum))], false);
    let mut sum = 0.0;
    let mut last = Vec::new();
    for i in 0..200 {
        let x = f64::from(i) / 7.0;
        sum += x;
        last = epoch(&mut groups, &format!("a {x} -\nb{i} 1 -"), None);
    }
    assert!(last.contains(&format!("+1 a {sum}")), "{last:?} {sum}");
}

#[test]
fn a_changelog_is_refused_where_rows_are_only_added() {
    let mut groups = operator(&[0], sums(), false);
    let rows = Batch::with_weights(table(&format!("{HEADER}\na 1 -")), vec![-1].into());
    let error = groups.on_batch(0, rows, &mut Output::new(1)).unwrap_err();
    assert_eq!(error.to_string(), "group: it takes append-only rows, not a changelog");
}

/// A row of a random changelog: key, value, whether the filter takes it.
type Row = (u8, i32, Option<bool>);

/// What all calls give of the rows that are there, told by a plain loop.
fn expected(rows: &BTreeMap<Row, i64>) -> Vec<String> {
    let mut groups: BTreeMap<u8, Vec<(f64, Option<bool>, i64)>> = BTreeMap::new();
    for ((key, x, ok), weight) in rows.iter().filter(|(_, weight)| **weight > 0) {
        groups.entry(*key).or_default().push((f64::from(*x), *ok, *weight));
    }
    let shown = |sum: Option<f64>| sum.map_or("-".to_owned(), |sum| format!("{sum:?}"));
    let sum = |values: &mut dyn Iterator<Item = f64>| {
        values.fold(None, |sum: Option<f64>, x| Some(sum.unwrap_or(0.0) + x))
    };
    let line = |(key, values): (u8, Vec<(f64, Option<bool>, i64)>)| {
        let count: i64 = values.iter().map(|(_, _, weight)| weight).sum();
        let weighted = |(x, _, weight): &(f64, Option<bool>, i64)| x * *weight as f64;
        let least = values.iter().map(|value| value.0).reduce(f64::min);
        let greatest = values.iter().map(|value| value.0).reduce(f64::max);
        let total = sum(&mut values.iter().map(weighted));
        let filtered = sum(&mut values.iter().filter(|value| value.1 == Some(true)).map(weighted));
        let mut distinct: Vec<f64> = values.iter().map(|value| value.0).collect();
        distinct.sort_by(f64::total_cmp);
        distinct.dedup();
        let distinct = sum(&mut distinct.into_iter());
        let sums = [total, least, greatest, total, filtered, distinct, greatest].map(shown);
        format!("k{key} {count} {}", sums.join(" "))
    };
    groups.into_iter().map(line).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// After every epoch that more does not follow what was given is what the rows give that are there; also after a restart.
    #[test]
    fn any_changelog_gives_what_its_rows_give(
        steps in prop::collection::vec(
            prop::collection::vec((0_u8..4, -9..9_i32, any::<Option<bool>>(), any::<prop::sample::Index>()), 0..12),
            1..12,
        ),
        restart in 0_usize..12,
        more in any::<u16>(),
    ) {
        let mut groups = Watched { groups: operator(&[0], calls(), true), snapshot: None, after: Vec::new() };
        let mut rows: BTreeMap<Row, i64> = BTreeMap::new();
        let mut given: BTreeMap<String, i64> = BTreeMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            let (mut text, mut weights) = (String::new(), Vec::new());
            for (key, x, ok, pick) in step {
                let there: Vec<Row> = rows.iter().filter(|(_, weight)| **weight > 0).map(|(row, _)| *row).collect();
                // Two of five changes take a row back.
                let (row, weight) = match x.rem_euclid(5) < 2 && !there.is_empty() {
                    true => (*pick.get(&there), -1),
                    false => ((key, x, ok), 1 + i64::from(x.rem_euclid(7) == 0)),
                };
                *rows.entry(row).or_default() += weight;
                let ok = row.2.map_or("-".to_owned(), |ok| ok.to_string());
                text += &format!("k{} {} {ok}\n", row.0, row.1);
                weights.push(weight);
            }
            let header = EpochHeader { more_follows: more >> number & 1 == 1, ..EpochHeader::new(0, 0) };
            for line in groups.epoch(text, Some(weights), header) {
                let (weight, row) = line.split_once(' ').unwrap();
                *given.entry(row.to_owned()).or_default() += weight.parse::<i64>().unwrap();
            }
            given.retain(|_, weight| *weight != 0);
            prop_assert!(given.values().all(|weight| *weight == 1), "{given:?}");
            if !header.more_follows {
                prop_assert_eq!(given.keys().cloned().collect::<Vec<_>>(), expected(&rows));
            }
            if number == restart {
                groups.begin_snapshot();
            }
        }
        groups.go_on_in(operator(&[0], calls(), true));
    }

    /// Rows that are only added give the same, whichever way they are computed.
    #[test]
    fn rows_that_are_only_added_give_what_a_changelog_gives(
        steps in prop::collection::vec(prop::collection::vec((0_u8..4, -9..9_i32, any::<Option<bool>>()), 0..12), 1..12),
        restart in 0_usize..12,
        more in any::<u16>(),
    ) {
        let mut groups = Watched { groups: operator(&[0], calls(), false), snapshot: None, after: Vec::new() };
        let mut rows: BTreeMap<Row, i64> = BTreeMap::new();
        let mut given: BTreeMap<String, i64> = BTreeMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            let mut text = String::new();
            for row in step {
                *rows.entry(row).or_default() += 1;
                text += &format!("k{} {} {}\n", row.0, row.1, row.2.map_or("-".to_owned(), |ok| ok.to_string()));
            }
            let header = EpochHeader { more_follows: more >> number & 1 == 1, ..EpochHeader::new(0, 0) };
            for line in groups.epoch(text, None, header) {
                let (weight, row) = line.split_once(' ').unwrap();
                *given.entry(row.replacen(".0 ", " ", 1)).or_default() += weight.parse::<i64>().unwrap();
            }
            given.retain(|_, weight| *weight != 0);
            if !header.more_follows {
                prop_assert_eq!(given.keys().cloned().collect::<Vec<_>>(), expected(&rows));
            }
            if number == restart {
                groups.begin_snapshot();
            }
        }
        groups.go_on_in(operator(&[0], calls(), false));
    }
}

#[test]
fn slots_of_groups_without_rows_are_taken_back() {
    let mut groups = operator(&[0], calls(), true);
    for start in 0..20 {
        let rows: String = (0..400).map(|i| format!("k{} {i} true\n", start * 400 + i)).collect();
        epoch(&mut groups, &rows, None);
        epoch(&mut groups, &rows, Some(vec![-1; 400]));
    }
    assert_eq!(groups.groups(), 0);
    assert!(groups.interner.len() <= FEW_SLOTS + 400, "{}", groups.interner.len());
    assert_eq!(epoch(&mut groups, "k7 2 true", None), ["+1 k7 1 2.0 2.0 2.0 2.0 2.0 2.0 2.0"]);
}
