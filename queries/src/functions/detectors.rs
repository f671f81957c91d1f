//! Functions from row to row that find what is new, and what has changed.

use datafusion::arrow::datatypes::DataType;
use lineshaft_operators::online::{
    Adwin, Ddm, Gives, Holdoff, Kswin, Novelty, Online, PageHinkley, RunningQuantile,
};

use super::online::{BASE, OnlineFunction, is_window};
use super::parameter::{Parameter, is_whole, whole};

const SHARE: Parameter = Parameter::number("p", "a number between 0 and 1", |p| p > 0.0 && p < 1.0);
const ROWS: Parameter = Parameter::number("n", "a whole number of rows from 1 to 100000", is_window);
const MEMORY: Parameter =
    Parameter::number("memory", "the number of means that are remembered, from 1 to 100000", is_window);
const HALF_LIFE: Parameter =
    Parameter::number("half_life", "the half-life of the record in rows, above 0", |rows| rows > 0.0);
const WARMUP: Parameter =
    Parameter::number("warmup", "the number of first rows of which nothing is told", is_whole);
const LIMIT: Parameter = Parameter::number("limit", "a number, which x must exceed", |limit| !limit.is_nan());
const HELD: Parameter = Parameter::number("n", "a whole number of rows from 0 up", is_whole);
const SIGNIFICANCE: Parameter =
    Parameter::number("delta", "the significance, between 0 and 1", |delta| delta > 0.0 && delta < 1.0);
const CLOCK: Parameter = Parameter::number(
    "clock",
    "the number of rows after which a change is looked for again, from 1 up",
    |clock| is_whole(clock) && clock >= 1.0,
);
const ALPHA: Parameter =
    Parameter::number("alpha", "the significance, between 0 and 1", |alpha| alpha > 0.0 && alpha < 1.0);
const WINDOW: Parameter =
    Parameter::number("window", "a whole number of rows, at least twice last", is_window);
const LAST: Parameter =
    Parameter::number("last", "the number of last rows that are compared with the others", is_window);
const SEED: Parameter = Parameter::number("seed", "a whole number from 0 up", is_whole);
const SIGMAS: Parameter = Parameter::number("sigmas", "a number of deviations above 0", |sigmas| {
    sigmas > 0.0 && sigmas.is_finite()
});
const THRESHOLD: Parameter =
    Parameter::number("threshold", "a sum of deviations in the unit of x, above 0", |limit| limit > 0.0);
const TOLERANCE: Parameter = Parameter::number(
    "delta",
    "a change per row that does not count, in the unit of x, from 0 up",
    |delta| delta >= 0.0,
);
const FADING: Parameter =
    Parameter::number("alpha", "what is left of the sums after a row, above 0 and at most 1", |alpha| {
        alpha > 0.0 && alpha <= 1.0
    });
const LEAST: Parameter =
    Parameter::number("n", "the number of rows before a change can be told, from 0 up", is_whole);

const NEVER: &str = "x is no number";

pub(super) const DETECTORS: &[OnlineFunction] = &[
    OnlineFunction {
        name: "running_quantile",
        parameters: &[SHARE],
        make: |p, _| RunningQuantile::new(p[0]).map(Online::from),
        summary: "An estimate of a quantile of the rows so far in five numbers; `moving_median` and `percentile ... OVER` are exact",
        formula: "the P2 algorithm: markers that move along parabolas to where they should be",
        source: "Jain, Chlamtac (1985), CACM 28; as river's Quantile",
        null_when: "there are fewer than six rows yet",
        ..BASE
    },
    OnlineFunction {
        name: "novelty",
        parameters: &[ROWS.or(1.0), HALF_LIFE.or(1000.0), MEMORY.or(4000.0), WARMUP.or(150.0)],
        make: |p, _| Novelty::new(whole(p[0]), p[1], whole(p[2]), whole(p[3])).map(Online::from),
        summary: "How new the mean of the last n rows is, from 0 to 1: above 0.5 it is further from the nearest of the means before \
            than any was of late; 1 where all before were equal",
        formula: "d / (d + record), where d is the distance to the nearest of the last `memory` means that share no row with this one, \
            and record = max(d, record * 0.5^(1 / half_life)) of the rows before",
        source: "the left matrix profile of Lu et al. (2022), Matrix Profile XXIV, of means in the place of shapes",
        unit: "none",
        null_when: "it is one of the first `warmup` rows, or there is no mean before that shares no row with this one",
        ..BASE
    },
    OnlineFunction {
        name: "holdoff",
        parameters: &[LIMIT, HELD],
        make: |p, _| Some(Holdoff::new(p[0], whole(p[1])).into()),
        summary: "x where it exceeds a limit, and was not given within the last n rows: an alarm that does not repeat",
        formula: "x where x > limit and no value was given in the n rows before",
        source: "ANSI/ISA-18.2-2016, suppression of alarms, by a number of rows",
        null_when: "x does not exceed the limit, or is held off",
        ..BASE
    },
    OnlineFunction {
        name: "page_hinkley",
        parameters: &[THRESHOLD, TOLERANCE.or(0.005), FADING.or(0.9999), LEAST.or(30.0)],
        result: DataType::Boolean,
        make: |p, _| PageHinkley::new(p[0], p[1], p[2], whole(p[3])).map(Online::from),
        summary: "True where the mean has risen or fallen; it begins anew with the row after",
        formula: "up = alpha * up + x - mean - delta, down = alpha * down + x - mean + delta; \
            up - min(up) > threshold or max(down) - down > threshold",
        source: "Page (1954), Continuous inspection schemes; as river's PageHinkley",
        unit: "BOOLEAN",
        null_when: NEVER,
        ..BASE
    },
    OnlineFunction {
        name: "ddm",
        parameters: &[SIGMAS.or(3.0), WARMUP.or(30.0)],
        result: DataType::Boolean,
        make: |p, _| Ddm::new(p[0], whole(p[1])).map(Online::from),
        summary: "True where the rate of errors has risen, for rows that are 1 where a prediction was wrong and else 0; it begins anew with \
            the row after. With 2 sigmas it warns",
        formula: "p + s > p_min + sigmas * s_min, s = sqrt(p (1 - p) / n), where p_min + s_min was least",
        source: "Gama et al. (2004), Learning with drift detection; as river's DDM",
        unit: "BOOLEAN",
        null_when: "x is not between 0 and 1",
        ..BASE
    },
    OnlineFunction {
        name: "adwin",
        parameters: &[SIGNIFICANCE.or(0.002), CLOCK.or(32.0)],
        result: DataType::Boolean,
        make: |p, _| Adwin::new(Gives::Drift, p[0], whole(p[1])).map(Online::from),
        summary: "True where the mean of the newer part of an adaptive window differs from that of the older one, which is then \
            forgotten; it begins anew with the row after",
        formula: "|mean0 - mean1| > sqrt(2 m var ln(2 ln(n) / delta)) + 2/3 m ln(2 ln(n) / delta), \
            m = 1 / (n0 - 4) + 1 / (n1 - 4), for a cut between two buckets",
        source: "Bifet, Gavaldà (2007), Learning from time-changing data with adaptive windowing; as river's ADWIN",
        unit: "BOOLEAN",
        null_when: NEVER,
        ..BASE
    },
    OnlineFunction {
        name: "adwin_mean",
        parameters: &[SIGNIFICANCE.or(0.002), CLOCK.or(32.0)],
        make: |p, _| Adwin::new(Gives::Mean, p[0], whole(p[1])).map(Online::from),
        summary: "The mean of the window of `adwin`: of as many rows as there were since the last change",
        formula: "sum / n of the window",
        source: "Bifet, Gavaldà (2007); as river's ADWIN.estimation",
        null_when: NEVER,
        ..BASE
    },
    OnlineFunction {
        name: "kswin",
        parameters: &[ALPHA.or(0.005), WINDOW.or(100.0), LAST.or(30.0), SEED.or(42.0)],
        result: DataType::Boolean,
        make: |p, _| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, from 0 up")]
            let seed = p[3] as u64;
            Kswin::new(p[0], whole(p[1]), whole(p[2]), seed).map(Online::from)
        },
        needs: "a window of at least twice last",
        summary: "True where the last rows are distributed in another way than as many that are drawn from the rest of a window; it \
            begins anew with the row after. It sees changes of spread and shape, too",
        formula: "the exact two-sample test of Kolmogorov and Smirnov: p <= alpha, and a distance above 0.1",
        source: "Raab, Heusinger, Schleif (2020), Reactive soft prototype computing for concept drift streams; as river's KSWIN, with \
            another draw",
        unit: "BOOLEAN",
        null_when: NEVER,
        ..BASE
    },
];
