//! Rules beside a model: what a person knows for sure stands above what a model has learned.
//!
//! The answer of the model is the first decision. Then the rules act on it, one layer above the other, in ascending priority:
//!
//! | rule | acts where | and gives |
//! |---|---|---|
//! | set | its condition holds | its value |
//! | veto | its condition holds, and what was decided below it is a value that it forbids | the value of a veto |
//!
//! So the highest rule has the last word, and a veto also holds against the rules below it. A condition that is NULL does not
//! hold. Each layer costs a few passes over the columns of a batch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Datum, ListBuilder, StringArray, StringBuilder};
use arrow::compute::kernels::cmp::{distinct, eq};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{and, is_not_null, or, prep_null_mask_filter};
use lineshaft_engine::error::Result;

/// What decided where no rule has changed the answer.
pub const MODEL: &str = "model";

/// A rule over the rows of a batch.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Where its condition holds.
    pub condition: BooleanArray,
    /// What it does there.
    pub effect: Effect,
}

/// What a rule does; its columns have the type of the answer.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Decides for this value.
    Set(ArrayRef),
    /// Forbids these values; all, if there are none.
    Veto(Vec<ArrayRef>),
}

/// What was decided, and why.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The decision of each row, in the type of the answer.
    pub value: ArrayRef,
    /// The rule that it is from, by its place; `None` for the model.
    pub by: Vec<Option<usize>>,
    /// For each rule where its condition held.
    fired: Vec<BooleanArray>,
    names: Vec<String>,
}

/// Lets `rules`, the least priority first, act on the answers of a model. Where a veto holds, `on_veto` is decided.
///
/// # Errors
/// If the columns differ in type or length.
pub fn decide(answer: &ArrayRef, on_veto: &ArrayRef, rules: Vec<Rule>) -> Result<Decision> {
    let mut value = Arc::clone(answer);
    let mut by = vec![None; answer.len()];
    let (mut fired, mut names) = (Vec::with_capacity(rules.len()), Vec::with_capacity(rules.len()));
    for (place, Rule { name, condition, effect }) in rules.into_iter().enumerate() {
        let holds = known(&condition);
        let (acts, given) = match effect {
            Effect::Set(given) => (holds.clone(), given),
            Effect::Veto(forbidden) => {
                (and(&holds, &forbids(&value, &forbidden, on_veto)?)?, Arc::clone(on_veto))
            }
        };
        value = zip(&acts, &given as &dyn Datum, &value as &dyn Datum)?;
        for row in acts.values().set_indices() {
            by[row] = Some(place);
        }
        fired.push(holds);
        names.push(name);
    }
    Ok(Decision { value, by, fired, names })
}

/// Where a decision is forbidden, and is not already what a veto gives.
fn forbids(decided: &ArrayRef, forbidden: &[ArrayRef], on_veto: &ArrayRef) -> Result<BooleanArray> {
    let mut found = match forbidden {
        [] => is_not_null(decided)?,
        _ => BooleanArray::from(vec![false; decided.len()]),
    };
    for value in forbidden {
        found = or(&found, &known(&eq(decided, value)?))?;
    }
    Ok(and(&found, &distinct(decided, on_veto)?)?)
}

/// NULL is not true.
fn known(condition: &BooleanArray) -> BooleanArray {
    if condition.null_count() == 0 { condition.clone() } else { prep_null_mask_filter(condition) }
}

impl Decision {
    /// The name of the rule that decided each row, or [`MODEL`].
    pub fn decided_by(&self) -> ArrayRef {
        let name = |rule: &Option<usize>| rule.map_or(MODEL, |rule| self.names[rule].as_str());
        Arc::new(StringArray::from_iter_values(self.by.iter().map(name)))
    }

    /// The names of all rules whose condition held, the highest priority first: a list of text.
    pub fn fired(&self) -> ArrayRef {
        let mut lists = ListBuilder::new(StringBuilder::new());
        for row in 0..self.by.len() {
            for (name, fired) in self.names.iter().zip(&self.fired).rev() {
                if fired.value(row) {
                    lists.values().append_value(name);
                }
            }
            lists.append(true);
        }
        Arc::new(lists.finish())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Float64Array};

    use super::*;

    fn set(name: &str, condition: &[Option<bool>], value: Option<&str>) -> Rule {
        let effect = Effect::Set(Arc::new(StringArray::from(vec![value; condition.len()])));
        Rule { name: name.to_owned(), condition: condition.to_vec().into(), effect }
    }

    fn veto(name: &str, condition: &[Option<bool>], forbidden: &[&str]) -> Rule {
        let column = |value: &&str| Arc::new(StringArray::from(vec![*value; condition.len()])) as ArrayRef;
        let effect = Effect::Veto(forbidden.iter().map(column).collect());
        Rule { name: name.to_owned(), condition: condition.to_vec().into(), effect }
    }

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn decided(answer: &[Option<&str>], rules: Vec<Rule>) -> (Vec<Option<String>>, Vec<String>) {
        let good = texts(&vec![Some("good"); answer.len()]);
        let decision = decide(&texts(answer), &good, rules).unwrap();
        let owned = |array: &ArrayRef| {
            array.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
        };
        (owned(&decision.value), owned(&decision.decided_by()).into_iter().flatten().collect())
    }

    const YES: Option<bool> = Some(true);
    const NO: Option<bool> = Some(false);

    #[test]
    fn the_highest_rule_that_acts_has_the_last_word() {
        let rules = vec![
            set("low", &[YES, YES, NO, None], Some("worn")),
            set("high", &[NO, YES, NO, None], Some("broken")),
        ];
        let (values, by) = decided(&[Some("good"); 4], rules);
        assert_eq!(values.iter().flatten().collect::<Vec<_>>(), ["worn", "broken", "good", "good"]);
        assert_eq!(by, ["low", "high", "model", "model"]);
    }

    #[test]
    fn a_veto_forbids_the_answer_of_the_model_and_of_the_rules_below_it_but_not_above() {
        let rules = vec![
            set("limit", &[NO, YES, YES, NO, NO], Some("worn")),
            veto("cold", &[YES, YES, YES, YES, YES], &["worn"]),
            set("stop", &[NO, NO, YES, NO, NO], Some("worn")),
        ];
        let answer = [Some("worn"), Some("broken"), Some("good"), Some("broken"), None];
        let (values, by) = decided(&answer, rules);
        let expected = [Some("good"), Some("good"), Some("worn"), Some("broken"), None];
        assert_eq!(values.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
        assert_eq!(
            by,
            ["cold", "cold", "stop", "model", "model"],
            "a veto of what is not there does nothing"
        );
    }

    #[test]
    fn a_veto_without_values_forbids_all_but_its_own() {
        let (values, by) =
            decided(&[Some("worn"), Some("good"), None], vec![veto("cold", &[YES, YES, YES], &[])]);
        let expected = [Some("good"), Some("good"), None];
        assert_eq!(values.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
        assert_eq!(by, ["cold", "model", "model"]);
    }

    #[test]
    fn all_rules_that_hold_are_named_the_highest_first() {
        let rules = vec![
            set("low", &[YES, NO, None], None),
            veto("middle", &[YES, NO, YES], &["x"]),
            set("high", &[YES, NO, NO], Some("worn")),
        ];
        let answer = texts(&[Some("good"), Some("good"), None]);
        let decision = decide(&answer, &answer, rules).unwrap();
        let fired = decision.fired();
        let of = |row: usize| {
            let names = fired.as_list::<i32>().value(row);
            names.as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        assert_eq!([of(0), of(1), of(2)], ["high middle low", "", "middle"]);
    }

    #[test]
    fn a_value_may_be_of_the_row_and_may_be_nothing() {
        let answer: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]));
        let given: ArrayRef = Arc::new(Float64Array::from(vec![Some(10.0), None, Some(30.0)]));
        let condition = BooleanArray::from(vec![true, true, false]);
        let rule = Rule { name: "limit".to_owned(), condition, effect: Effect::Set(given) };
        let decision = decide(&answer, &answer, vec![rule]).unwrap();
        let expected = Float64Array::from(vec![Some(10.0), None, Some(3.0)]);
        assert_eq!(decision.value.as_primitive(), &expected);
        assert_eq!(decision.by, [Some(0), Some(0), None]);
    }
}
