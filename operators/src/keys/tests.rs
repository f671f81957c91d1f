use std::sync::Arc;

use arrow::array::{
    Array, BooleanArray, Date32Array, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    make_array,
};
use arrow::compute::cast;
use arrow::datatypes::Int32Type;
use lineshaft_engine::testing::{lines, table};

use super::*;
use crate::model::random::Random;

fn interner(of: &RecordBatch) -> KeyInterner {
    let types: Vec<_> = of.schema().fields().iter().map(|f| f.data_type().clone()).collect();
    KeyInterner::new(&types).unwrap()
}

fn intern(interner: &mut KeyInterner, rows: &RecordBatch) -> Vec<u32> {
    let mut slots = Vec::new();
    interner.intern(rows.columns(), rows.num_rows(), &mut slots).unwrap();
    slots
}

fn back(interner: &KeyInterner, like: &RecordBatch, slots: &[u32]) -> Vec<String> {
    lines([&RecordBatch::try_new(like.schema(), interner.columns(slots).unwrap()).unwrap()])
}

/// Whatever the types: slots by first appearance, back to values, found again, forgotten.
fn is_numbered(rows: &RecordBatch) {
    let mut interner = interner(rows);
    let slots = intern(&mut interner, rows);
    assert_eq!(slots, [0, 1, 0, 2, 1]);
    assert_eq!(back(&interner, rows, &slots), lines([rows]));
    let mut found = Vec::new();
    interner.find(rows.columns(), 5, &mut found).unwrap();
    assert_eq!(found, slots);

    let moved = interner.retain(|slot| slot != 0).unwrap();
    assert_eq!(moved, [None, Some(0), Some(1)]);
    interner.find(rows.columns(), 5, &mut found).unwrap();
    assert_eq!(found, [ABSENT, 0, ABSENT, 1, 0]);
    assert_eq!(intern(&mut interner, rows), [2, 0, 2, 1, 0]);
    assert_eq!(
        back(&interner, rows, &[0, 1, 2]),
        [lines([rows])[1].clone(), lines([rows])[3].clone(), lines([rows])[0].clone()]
    );
}

#[test]
fn keys_of_every_kind_are_numbered_by_first_appearance() {
    is_numbered(&table("k:s \n a \n - \n a \n bb \n -"));
    is_numbered(&table("k:i \n 7 \n - \n 7 \n -3 \n -"));
    is_numbered(&table("k:ts \n 7 \n - \n 7 \n -3 \n -"));
    is_numbered(&table("k:f \n 7 \n - \n 7 \n -3 \n -"));
    is_numbered(&table("k:s j:i \n a 1 \n a - \n a 1 \n - 1 \n a -"));
    is_numbered(&table("k:s j:f l:i \n a 1 2 \n a 1 - \n a 1 2 \n - 1 2 \n a 1 -"));
    let truths = BooleanArray::from(vec![Some(true), None, Some(true), Some(false), None]);
    let days = Date32Array::from(vec![Some(-7), None, Some(-7), Some(8), None]);
    let columns = [("truth", Arc::new(truths) as ArrayRef, true), ("day", Arc::new(days) as ArrayRef, true)];
    let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    is_numbered(&rows);
    is_numbered(&rows.project(&[0]).unwrap());
    is_numbered(&rows.project(&[1]).unwrap());
}

#[test]
fn a_dictionary_gives_the_slots_of_its_texts() {
    let of = |texts: &[Option<&str>]| -> RecordBatch {
        let column: DictionaryArray<Int32Type> = texts.iter().copied().collect();
        RecordBatch::try_from_iter_with_nullable([("k", Arc::new(column) as _, true)]).unwrap()
    };
    is_numbered(&of(&[Some("a"), None, Some("a"), Some("bb"), None]));
    let mut interner = interner(&of(&[]));
    assert_eq!(intern(&mut interner, &of(&[Some("x"), Some("y")])), [0, 1]);
    assert_eq!(intern(&mut interner, &of(&[Some("y"), Some("z"), Some("x")])), [1, 2, 0]);
    assert_eq!(intern(&mut interner, &table("k:s \n z")), [2], "text and dictionary mix");

    let mut interner = self::interner(&table("k:s j:i \n a 1"));
    assert_eq!(intern(&mut interner, &table("k:s j:i \n a 1 \n b 1")), [0, 1]);
    let rows = of(&[Some("b"), Some("b"), Some("a")]);
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 1]));
    let mut slots = Vec::new();
    interner.intern(&[Arc::clone(rows.column(0)), numbers], 3, &mut slots).unwrap();
    assert_eq!(slots, [1, 2, 0], "as one of several columns");
}

#[test]
fn dictionaries_that_come_again_and_again_in_any_order_give_the_slots_of_their_texts() {
    let dictionaries: Vec<StringArray> = (0..6)
        .map(|dictionary| {
            (0..5).map(|value| (value != 3).then(|| format!("{}", value * dictionary))).collect()
        })
        .collect();
    let type_of = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let (mut interner, mut plain) =
        (KeyInterner::new(&[type_of]).unwrap(), KeyInterner::new(&[DataType::Utf8]).unwrap());
    let mut random = Random::new(7);
    for _ in 0..200 {
        let codes: Int32Array =
            (0..4).map(|_| i32::try_from(random.below(6)).ok().filter(|code| *code < 5)).collect();
        // As a reader gives it: another array of the same bytes.
        let values = make_array(dictionaries[random.below(6)].to_data());
        let column: ArrayRef = Arc::new(DictionaryArray::try_new(codes, values).unwrap());
        let texts = cast(&column, &DataType::Utf8).unwrap();
        let (mut slots, mut expected) = (Vec::new(), Vec::new());
        interner.intern(&[column], 4, &mut slots).unwrap();
        plain.intern(&[texts], 4, &mut expected).unwrap();
        assert_eq!(slots, expected);
    }
}

#[test]
fn a_null_inside_a_dictionary_is_the_null_key() {
    let values = Arc::new(StringArray::from(vec![Some("a"), None]));
    let codes = Int32Array::from(vec![Some(1), Some(0), None]);
    let column: ArrayRef = Arc::new(DictionaryArray::try_new(codes, values).unwrap());
    let mut interner = KeyInterner::new(&[column.data_type().clone()]).unwrap();
    let mut slots = Vec::new();
    interner.intern(&[column], 3, &mut slots).unwrap();
    assert_eq!(slots, [0, 1, 0]);
    assert!(interner.columns(&[0]).unwrap()[0].is_null(0));
}

#[test]
fn an_empty_text_is_not_null() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some(""), None, Some("")]));
    let mut interner = KeyInterner::new(&[DataType::Utf8]).unwrap();
    let mut slots = Vec::new();
    interner.intern(&[texts], 3, &mut slots).unwrap();
    assert_eq!(slots, [0, 1, 0]);
}

#[test]
fn without_key_columns_all_rows_share_a_slot() {
    let mut interner = KeyInterner::new(&[]).unwrap();
    let mut slots = Vec::new();
    interner.intern(&[], 3, &mut slots).unwrap();
    assert_eq!(slots, [0, 0, 0]);
    assert!(interner.columns(&slots).unwrap().is_empty());
}

#[test]
fn columns_of_another_type_are_refused() {
    let rows = table("k:i \n 1");
    let error =
        KeyInterner::new(&[DataType::Utf8]).unwrap().intern(rows.columns(), 1, &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "key: columns of types [Utf8] expected, [Int64] found");
}

#[test]
fn texts_of_any_length_are_told_apart() {
    let mut texts: Vec<String> = (0..40).map(|len| "x".repeat(len)).collect();
    texts.extend((0..40).map(|len| "\0".repeat(len)));
    texts.extend((0..40).map(|at| format!("{}y{}", "x".repeat(at), "x".repeat(40 - at))));
    texts.extend((0..16).map(|at| format!("{}y{}", "x".repeat(at), "x".repeat(16 - at))));
    texts.sort();
    texts.dedup();
    let column: ArrayRef = Arc::new(StringArray::from(texts.clone()));
    let mut interner = KeyInterner::new(&[DataType::Utf8]).unwrap();
    let mut slots = Vec::new();
    for _ in 0..2 {
        interner.intern(&[Arc::clone(&column)], texts.len(), &mut slots).unwrap();
        let all: Vec<u32> = (0..).take(texts.len()).collect();
        assert_eq!(slots, all);
    }
}

#[test]
fn pairs_are_numbered_alike_while_they_are_few_and_when_they_are_many() {
    let types = [DataType::Int64, DataType::Int64];
    let mut interner = KeyInterner::new(&types).unwrap();
    let mut expected = std::collections::HashMap::new();
    // More values on both sides from batch to batch: 2, 8, 32, ... of which the last do not fit into a table of pairs.
    for round in 1..=6_u32 {
        let values = 2_i64 * 4_i64.pow(round - 1);
        let first: Vec<i64> = (0..3000).map(|row| row * 31 % values).collect();
        let second: Vec<i64> = (0..3000).map(|row| row * row % values).collect();
        let columns: [ArrayRef; 2] =
            [Arc::new(Int64Array::from(first.clone())), Arc::new(Int64Array::from(second.clone()))];
        let mut slots = Vec::new();
        interner.intern(&columns, 3000, &mut slots).unwrap();
        for (row, key) in first.into_iter().zip(second).enumerate() {
            let next = u32::try_from(expected.len()).unwrap();
            assert_eq!(slots[row], *expected.entry(key).or_insert(next), "round {round}, row {row}");
        }
        let mut found = Vec::new();
        interner.find(&columns, 3000, &mut found).unwrap();
        assert_eq!(found, slots);
    }
}
