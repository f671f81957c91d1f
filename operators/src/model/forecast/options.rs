//! The options of forecasters, and how they are read.

use lineshaft_engine::declaration::OptionError;
use serde::{Deserialize, Serialize};

use super::super::reader::Reader;
use super::holt_winters::HoltWinters;

/// A forecaster, and how far it looks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForecastOptions {
    /// Steps that are forecast; 24 if not given.
    pub horizon: usize,
    /// How.
    pub method: Method,
}

/// How a forecast is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Method {
    /// The value of a season before.
    SeasonalNaive {
        /// Rows of a season; 1 for the last value.
        season: usize,
    },
    /// Theta on the seasonally adjusted series.
    Theta {
        /// Rows of a season; 1 for none.
        season: usize,
        /// How the season acts.
        form: Form,
        /// The weight of a new value; estimated if not given.
        alpha: Option<f64>,
    },
    /// Level, trend and season, each smoothed.
    HoltWinters(HoltWinters),
    /// Sizes and intervals of demand, each smoothed.
    Croston {
        /// The weight of a new value; estimated if not given.
        alpha: Option<f64>,
        /// Whether the bias is corrected (Syntetos, Boylan 2005); true if not given.
        is_corrected: bool,
    },
    /// Sizes and probability of demand, each smoothed.
    Tsb {
        /// The weight of a new size; estimated if not given.
        alpha: Option<f64>,
        /// The weight of a row in the probability; estimated if not given.
        beta: Option<f64>,
    },
    /// Seasonal naive and Theta of each season, weighted by their errors in the past.
    Combination {
        /// Rows of each season.
        seasons: Vec<usize>,
        /// How the seasons act on Theta.
        form: Form,
        /// Forecasts of the past that decide the weights; 3 if not given.
        backtests: usize,
    },
}

/// How a season acts on the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// It is added.
    Additive,
    /// It is a factor. A history with values that are not above zero is taken as additive.
    Multiplicative,
}

impl Form {
    /// The form that the values allow.
    pub(super) fn of(self, history: &[f64]) -> Self {
        if history.iter().all(|value| *value > 0.0) { self } else { Self::Additive }
    }
}

/// How the level goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trend {
    /// It stays.
    None,
    /// Along a line.
    Linear,
    /// Along a line that flattens.
    Damped,
}

impl Method {
    /// Its name in a query file.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::SeasonalNaive { .. } => "seasonal_naive",
            Self::Theta { .. } => "theta",
            Self::HoltWinters(_) => "holt_winters",
            Self::Croston { .. } => "croston",
            Self::Tsb { .. } => "tsb",
            Self::Combination { .. } => "forecast_combination",
        }
    }
}

/// Longer horizons and seasons are mistakes.
const MOST_ROWS: usize = 100_000;

/// The names of the forecasters.
pub(crate) const NAMES: [&str; 6] =
    ["seasonal_naive", "holt_winters", "theta", "croston", "tsb", "forecast_combination"];

/// Reads the options of the forecaster of this name; `None` if there is none.
pub(crate) fn read(name: &str, reader: &mut Reader<'_>) -> Option<ForecastOptions> {
    let method = match name {
        "seasonal_naive" => Method::SeasonalNaive { season: season(reader) },
        "theta" => {
            Method::Theta { season: season(reader), form: form(reader), alpha: weight(reader, "alpha") }
        }
        "holt_winters" => Method::HoltWinters(holt_winters(reader)),
        "croston" => Method::Croston {
            alpha: weight(reader, "alpha"),
            is_corrected: reader.choice("variant", &[("sba", true), ("classic", false)]),
        },
        "tsb" => Method::Tsb { alpha: weight(reader, "alpha"), beta: weight(reader, "beta") },
        "forecast_combination" => Method::Combination {
            seasons: seasons(reader),
            form: form(reader),
            backtests: reader.number("backtests", 3, |n| *n <= 100, "a whole number up to 100"),
        },
        _ => return None,
    };
    let is_horizon = |n: &usize| (1..=MOST_ROWS).contains(n);
    let horizon = reader.number("horizon", 24, is_horizon, "a number of steps from 1 to 100000");
    Some(ForecastOptions { horizon, method })
}

fn holt_winters(reader: &mut Reader<'_>) -> HoltWinters {
    let trends = [("damped", Trend::Damped), ("linear", Trend::Linear), ("none", Trend::None)];
    HoltWinters {
        season: season(reader),
        form: form(reader),
        trend: reader.choice("trend", &trends),
        alpha: weight(reader, "alpha"),
        beta: weight(reader, "beta"),
        gamma: weight(reader, "gamma"),
        phi: reader.optional("phi", |phi| (0.0..=1.0).contains(phi), "a number in [0, 1]"),
    }
}

fn season(reader: &mut Reader<'_>) -> usize {
    reader.number("season", 1, |n| (1..=MOST_ROWS).contains(n), "a number of rows from 1 to 100000")
}

fn seasons(reader: &mut Reader<'_>) -> Vec<usize> {
    let Some(text) = reader.text("season") else { return vec![1] };
    let read = |part: &str| part.trim().parse().ok().filter(|n| (1..=MOST_ROWS).contains(n));
    text.split(',').map(read).collect::<Option<Vec<usize>>>().unwrap_or_else(|| {
        let message = format!("season = {text:?} is not a list of numbers of rows from 1 to 100000");
        reader.errors.push(OptionError::of("season", message).help("such as '24, 168'"));
        vec![1]
    })
}

fn form(reader: &mut Reader<'_>) -> Form {
    reader.choice("seasonal", &[("additive", Form::Additive), ("multiplicative", Form::Multiplicative)])
}

fn weight(reader: &mut Reader<'_>, name: &'static str) -> Option<f64> {
    reader.optional(name, |weight| *weight > 0.0 && *weight < 1.0, "a number in (0, 1)")
}
