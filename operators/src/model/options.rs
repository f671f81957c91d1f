//! What `CREATE MODEL ... WITH (...)` says, typed and checked.

use lineshaft_engine::declaration::{OptionError, Options};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::augment::Augment;
use super::balance::Balance;
use super::candidates;
use super::cases::CaseOptions;
use super::gate::Gate;
use super::reader::Reader;
use super::search::Trial;
use super::split::Split;
use super::{Algorithm, Task, forecast};

/// How to train a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The name of the model.
    pub name: String,
    /// The algorithm with its options.
    pub algorithm: Algorithm,
    /// The column to predict; `None` for clustering and for models of normal operation.
    pub target: Option<String>,
    /// `PER column`: a model for each value of this column, which is no feature.
    pub per: Option<String>,
    /// Decides the held-back part and everything random in the algorithm.
    pub seed: u64,
    /// Share of the rows that is held back for the metrics, in `[0, 1)`.
    pub test_fraction: f64,
    /// How the held-back rows are chosen.
    pub split: Split,
    /// What is done about rows with a missing value.
    pub missing: Missing,
    /// What is done about features that never change.
    pub constant: Constant,
    /// What is done about rare classes.
    pub balance: Balance,
    /// How training rows are varied.
    pub augment: Augment,
    /// Which rows stay with the model; none if not given.
    pub cases: Option<CaseOptions>,
    /// What a new version must reach before it scores.
    pub gate: Gate,
    /// Parts of the cross-validation; zero for none.
    pub folds: usize,
    /// Whether the cross-validation goes in rounds, with fewer trials and more rows in each.
    pub halving: bool,
    /// The options among which the cross-validation chooses; none to choose from if there is no search.
    pub trials: Vec<Trial>,
}

/// What is done about training rows with a value that is NULL, NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missing {
    /// They are left out, and counted. If not given.
    Drop,
    /// The model is not trained.
    Refuse,
}

/// What is done about features that are constant in all training rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Constant {
    /// They stay, and are named with the model; no algorithm learns from them. If not given.
    Keep,
    /// The model is not trained.
    Refuse,
}

impl Training {
    /// Reads the options of a model. With `search`, those of the algorithm may be lists.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn from_options(name: &str, options: &Options) -> Result<Self, Vec<OptionError>> {
        let lists = candidates::lists(options);
        if lists.is_empty() {
            return Self::of_one(name, options);
        }
        let combinations = candidates::combinations(options, &lists)?;
        let mut training = Self::of_one(name, &combinations[0].1)?;
        if training.target.is_none() {
            let message = format!(
                "{} has no target, so there is nothing to compare trials by",
                training.algorithm.name()
            );
            return Err(vec![OptionError::of("search", message)]);
        }
        for (written, options) in combinations {
            let algorithm = Self::of_one(name, &options)?.algorithm;
            training.trials.push(Trial { options: written, algorithm });
        }
        Ok(training)
    }

    fn of_one(name: &str, options: &Options) -> Result<Self, Vec<OptionError>> {
        let mut reader = Reader::new(options);
        let algorithm = Algorithm::read(&mut reader);
        let seed = reader.number("seed", 0_u64, |_| true, "a whole number of at least 0");
        let test_fraction =
            reader.number("test_fraction", 0.2, |f| (0.0..1.0).contains(f), "a number in [0, 1)");
        let Some(algorithm) = algorithm else {
            return Err(reader.errors);
        };
        let target = target(&mut reader, &algorithm);
        let split = split(&mut reader);
        if matches!(algorithm, Algorithm::Forecast(_)) && !matches!(split, Split::Time(_)) {
            let message = format!("{} is tested on the last rows only", algorithm.name());
            reader.errors.push(OptionError::of("split", message).help("leave split and group out"));
        }
        let missing = reader.choice("missing", &[("drop", Missing::Drop), ("refuse", Missing::Refuse)]);
        let constant = reader.choice("constant", &[("keep", Constant::Keep), ("refuse", Constant::Refuse)]);
        let balance = balance(&mut reader, &algorithm);
        let augment = match algorithm {
            // A series has no features that could be varied.
            Algorithm::Forecast(_) => Augment::default(),
            _ => Augment::read(&mut reader),
        };
        let cases = match algorithm {
            // Its rows are a series, and are like each other by their place in it.
            Algorithm::Forecast(_) => None,
            _ => CaseOptions::read(&mut reader),
        };
        let folds = folds(&mut reader);
        let gate = Gate::read(&mut reader, &algorithm);
        reader.refuse_unknown(algorithm.name());
        if !reader.errors.is_empty() {
            return Err(reader.errors);
        }
        let (name, per, trials) = (name.to_owned(), None, Vec::new());
        Ok(Self {
            name,
            algorithm,
            target,
            per,
            seed,
            test_fraction,
            split,
            missing,
            constant,
            balance,
            augment,
            cases,
            gate,
            folds,
            halving: options.get("search").is_some_and(|search| search == "halving"),
            trials,
        })
    }

    /// What the cross-validation fits: the trials, or else the algorithm as it is.
    pub(crate) fn trials(&self) -> Vec<Trial> {
        if self.trials.is_empty() {
            return vec![Trial { options: String::new(), algorithm: self.algorithm.clone() }];
        }
        self.trials.clone()
    }

    /// True for the columns of the training query that a model reads.
    pub fn is_feature(&self, column: &str) -> bool {
        let others = [self.target.as_deref(), self.per.as_deref(), self.split.column()];
        !others.contains(&Some(column)) && !self.cases.as_ref().is_some_and(|cases| cases.reads(column))
    }

    /// The features that `predict` takes, of the columns of the training query: those that a model reads, or the number of steps
    /// ahead for a forecaster.
    ///
    /// # Errors
    /// If a forecaster has features.
    pub fn features<'a>(&self, columns: impl Iterator<Item = &'a str>) -> Result<Vec<String>, String> {
        let features: Vec<String> =
            columns.filter(|column| self.is_feature(column)).map(str::to_owned).collect();
        if !matches!(self.algorithm, Algorithm::Forecast(_)) {
            return Ok(features);
        }
        if features.is_empty() {
            return Ok(vec![forecast::STEP.to_owned()]);
        }
        let (name, features) = (self.algorithm.name(), features.join(", "));
        Err(format!(
            "{name} forecasts the target from its own past and takes no features; leave {features} out of its query"
        ))
    }

    /// A hash of everything that decides what is trained, the text of the query included: a stored model with the
    /// same hash need not be trained again.
    pub fn definition_hash(&self, query: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(format!("{self:?}\n{}\n{query}", env!("CARGO_PKG_VERSION")));
        hex(&hash.finalize())
    }
}

fn target(reader: &mut Reader<'_>, algorithm: &Algorithm) -> Option<String> {
    if !matches!(algorithm.task(), Task::Classification | Task::Regression) {
        return None;
    }
    let target = reader.text("target");
    if target.is_none() {
        let message = format!("{} needs the option `target`, the column to predict", algorithm.name());
        reader.errors.push(OptionError::general(message));
    }
    target
}

/// `split`, with `group` or `time`; either of them alone says which split is meant.
fn split(reader: &mut Reader<'_>) -> Split {
    let (group, time) = (reader.text("group"), reader.text("time"));
    let default = if group.is_some() { "group" } else { "time" };
    let choices = [("time", "time"), ("group", "group"), ("row", "row")];
    let split =
        if reader.has("split") { reader.choice("split", &choices) } else { reader.known("split", default) };
    let mut refuse = |message: &str| reader.errors.push(OptionError::of("split", message));
    match (split, group, time) {
        ("group", Some(group), None) => Split::Group(group),
        ("time", None, time) => Split::Time(time),
        ("row", None, None) => Split::Row,
        ("group", None, _) => {
            refuse("split = 'group' needs the option `group`, the column whose values are kept together");
            Split::Row
        }
        (_, Some(_), _) => {
            refuse("the option `group` goes with split = 'group' only");
            Split::Row
        }
        (_, None, _) => {
            refuse("the option `time` goes with split = 'time' only");
            Split::Row
        }
    }
}

/// `folds`, and `search` with `trials`, of which only the names are of interest here.
fn folds(reader: &mut Reader<'_>) -> usize {
    let is_search =
        reader.choice("search", &[("none", false), ("grid", true), ("random", true), ("halving", true)]);
    reader.at_least_one("trials", candidates::TRIALS);
    let default = if is_search { 3 } else { 0 };
    let what = "a whole number from 2 to 100, or 0 for none";
    reader.number("folds", default, |&n| n == 0 || (2..=100).contains(&n), what)
}

fn balance(reader: &mut Reader<'_>, algorithm: &Algorithm) -> Balance {
    if algorithm.task() != Task::Classification {
        return Balance::None;
    }
    let choices =
        [("none", Balance::None), ("oversample", Balance::Oversample), ("undersample", Balance::Undersample)];
    reader.choice("balance", &choices)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
