//! The options of a source that say what becomes of its input when it comes faster than it is worked on.

use lineshaft_engine::declaration::OptionError;
use lineshaft_engine::plan::Overload;

use crate::error::QueryError;
use crate::statement::CreateSource;

/// What a source may be told.
const POLICIES: [&str; 5] = ["block", "spill", "latest", "sample", "drop_oldest"];
/// Of what is sampled, one message in so many is kept.
const ONE_IN: u64 = 10;
/// What may wait of a source that drops the oldest: 64 MiB.
const LIMIT: u64 = 64 << 20;

/// Reads `on_overload` and the options that belong to it; adds to `errors` what is wrong.
pub(crate) fn read(statement: &CreateSource, is_bounded: bool, errors: &mut Vec<QueryError>) -> Overload {
    let told = statement.options.text("on_overload").map(|text| text.trim().to_lowercase());
    let policy = told.as_deref().unwrap_or("spill");
    let mut wrong = |name: &str, message: String, help: &str| {
        errors.push(statement.options.error(OptionError::of(name, message).help(help)));
    };
    if is_bounded && told.is_some() {
        let message = "on_overload is for sources that are live: one that ends waits".to_owned();
        wrong("on_overload", message, "leave it out");
        return Overload::default();
    }
    let belongs =
        [("overload_key", "latest"), ("overload_sample", "sample"), ("overload_limit", "drop_oldest")];
    for (option, of) in belongs.into_iter().filter(|(_, of)| *of != policy) {
        if statement.options.get(option).is_some() {
            let help = format!("add on_overload = '{of}', or leave it out");
            wrong(option, format!("{option} has no meaning with on_overload = '{policy}'"), &help);
        }
    }
    match policy {
        "block" => Overload::Block,
        "spill" => Overload::Spill,
        "latest" => match keys(statement) {
            Ok(keys) if !keys.is_empty() => Overload::Latest { keys },
            Ok(_) => {
                let help = "add overload_key = 'machine', a PRIMARY KEY, or WATERMARK ... PER key";
                let message = "on_overload = 'latest' needs to know whose newest row counts".to_owned();
                wrong("on_overload", message, help);
                Overload::default()
            }
            Err(name) => {
                let columns: Vec<&str> =
                    statement.columns.iter().map(|column| column.name.value.as_str()).collect();
                let help = format!("the columns are {}", columns.join(", "));
                wrong("overload_key", format!("source has no column {name:?}"), &help);
                Overload::default()
            }
        },
        "sample" => {
            let text = statement.options.text("overload_sample");
            let one_in = text.map_or(Some(ONE_IN), |text| text.trim().parse().ok().filter(|n| *n > 0));
            if one_in.is_none() {
                let message = format!("option \"overload_sample\" is {:?}", text.unwrap_or_default());
                wrong(
                    "overload_sample",
                    message,
                    "write a whole number such as '10': one message in ten is kept",
                );
            }
            Overload::Sample { one_in: one_in.unwrap_or(ONE_IN) }
        }
        "drop_oldest" => Overload::DropOldest {
            limit: statement.options.text("overload_limit").and_then(bytes).unwrap_or(LIMIT),
        },
        other => {
            let help = format!("choose one of {}", POLICIES.join(", "));
            wrong("on_overload", format!("option \"on_overload\" cannot be {other:?}"), &help);
            Overload::default()
        }
    }
}

/// A size; connectors refuse what is none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in the range")]
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let unit = match text[end..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1_048_576.0,
        "gib" => 1_073_741_824.0,
        _ => return None,
    };
    let size = (text[..end].parse::<f64>().ok()? * unit).round();
    (0.0..=1e15).contains(&size).then_some(size as u64)
}

/// The columns whose values together are the key; the name of one that is not there.
fn keys(statement: &CreateSource) -> Result<Vec<usize>, String> {
    let Some(text) = statement.options.text("overload_key") else {
        let per = statement.watermark.iter().flat_map(|watermark| watermark.per.iter().copied());
        let per: Vec<usize> = per.collect();
        return Ok(if per.is_empty() { statement.primary_key.clone() } else { per });
    };
    let find = |name: &str| statement.columns.iter().position(|column| column.name.value == name);
    text.split(',').map(str::trim).map(|name| find(name).ok_or_else(|| name.to_owned())).collect()
}
