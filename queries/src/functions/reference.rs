//! The reference page of the functions.

use super::FAMILIES;
use super::feature::Feature;
use super::figure::{FIGURES, Figure};
use super::online::{self, OnlineFunction};
use super::parameter::Parameter;
use super::tacho;

const INTRODUCTION: &str = "\
# Functions for signals

Generated from the code; `UPDATE_REFERENCE=1 cargo test -p lineshaft-queries reference` writes it anew.

Each function of samples `x` is an aggregate over the rows of a group, a window or an `OVER` frame, `rms(vibration)`, and a
function of an array column with one value per row, `rms(waveform)`. `x` is a number or an array of numbers; the result is
a `DOUBLE`, or a `DOUBLE[]` where the unit says list. `P_k` and `f_k` are the power `c_k * |X_k|^2 / n` and the frequency
`k * rate_hz / n` of the transform `X`, `k = 0 .. n / 2`, where `c_k` is 2 (1 for the mean and the Nyquist frequency).

- **NULL and NaN** are no samples: they are left out.
- **No wrong number**: where a function is not defined, or its result is not finite, it is NULL. Each entry says when.
- **Constants**: over rows, the arguments after `x` are constants, apart from the time. A constant out of its range is an
  error; in an array's row it gives NULL. Those in brackets have a default; where the time is an argument, all are given.
- **`ts`** is the time by which the rows are ordered; rows of one time stay in the order of their arrival. Over a window
  it is the event time unless you say otherwise; `lineshaft query` knows none, and takes rows as they are stored where you give
  none. For an array it is an array of times.
- **Memory**: functions marked *sums* keep a few numbers per group, the others all samples of the group.
";

/// The reference page, as Markdown.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (title, features) in FAMILIES {
        page.extend(["\n## ", title, "\n"]);
        page.extend(features.iter().map(entry));
    }
    page.push_str(&tacho::section());
    page.push_str(FROM_ROW_TO_ROW);
    page.extend(online::all().map(row_to_row));
    page.push_str(FIGURES_OF_NUMBERS);
    page.extend(FIGURES.iter().map(figure));
    page
}

const FROM_ROW_TO_ROW: &str = "
## From row to row

Used as `f(x, ...) OVER (PARTITION BY key ORDER BY ts)`: each row's value is made of the rows of its key up to it, in the order of
`ORDER BY`, which is needed; there is no frame. They go well with event time: a stream then keeps a few numbers per key, in its
checkpoints too, and gives what a query over all rows at once gives, to the bit.

- **NULL, NaN and infinity** are no samples: such a row is NULL and changes nothing.
- **What learns**, from `rls` on, takes the truth `y` and features `x`, an array of as many numbers in each row, `[speed, torque]`. A row is
  predicted from what was learned before it, and then its `y` is learned: so `avg(abs(y - predicted))` is a fair test (test-then-train). A
  row whose `y` is NULL is predicted only.
- The first arguments are of each row and may be columns, such as limits that are joined; those called constants are the same for
  all rows. Functions that compute with the time take that of `ORDER BY`.
";

fn row_to_row(function: &OnlineFunction) -> String {
    let constants =
        function.parameters.iter().map(|parameter| parameter.entry().replacen(": ", ": constant, ", 1));
    format!(
        "\n### `{}`\n\n{}.\n\n{}{}- Formula: `{}`\n- Source: {}\n- Unit: {}\n- NULL if {}\n",
        function.signature(),
        function.summary,
        function.inputs[1..].iter().map(Parameter::entry).collect::<String>(),
        constants.collect::<String>(),
        function.formula,
        function.source,
        function.unit,
        function.null_when,
    )
}

const FIGURES_OF_NUMBERS: &str = "
## Figures of single numbers

Functions of the columns of one row. NULL, NaN and a number out of its range give NULL; as a constant, one out of its range is
an error.
";

fn figure(figure: &Figure) -> String {
    format!(
        "\n### `{}`\n\n{}.\n\n{}- Formula: `{}`\n- Source: {}\n- Unit: {}\n",
        figure.signature(),
        figure.summary,
        figure.parameters.iter().map(Parameter::entry).collect::<String>(),
        figure.formula,
        figure.source,
        figure.unit,
    )
}

fn entry(feature: &Feature) -> String {
    let memory = if feature.sums.is_some() { "sums" } else { "all samples" };
    let parameters = feature.parameters.iter().map(Parameter::entry);
    format!(
        "\n### `{}`\n\n{}.\n\n{}- Formula: `{}`\n- Source: {}\n- Unit: {}\n- NULL if {}\n- Memory: {memory}\n",
        feature.signature(),
        feature.summary,
        parameters.collect::<String>(),
        feature.formula,
        feature.source,
        feature.unit,
        feature.null_when,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_page_is_that_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/functions.md");
        if std::env::var_os("UPDATE_REFERENCE").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(committed, reference(), "run again with UPDATE_REFERENCE=1");
    }
}
