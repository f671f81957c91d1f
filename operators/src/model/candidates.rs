//! The options among which a search chooses: `search = 'grid'` tries all combinations of options that are lists, such as
//! `max_depth = '4, 8'`; `search = 'random'` tries `trials` of them, drawn by the seed; `search = 'halving'` begins with all of them,
//! or with `trials`.

use lineshaft_engine::declaration::{OptionError, Options};

use super::random::Random;

/// Trials of a random search if nothing is said.
pub(crate) const TRIALS: usize = 10;
/// A grid above this is a mistake, or takes days.
const MOST_COMBINATIONS: usize = 1_000;
/// Options that name something, so that a comma in them is no list.
const NAMES: [&str; 4] = ["algorithm", "target", "group", "time"];

/// The options that are lists, with their values; empty without a search.
pub(crate) fn lists(options: &Options) -> Vec<(String, Vec<String>)> {
    if !matches!(options.get("search").map(String::as_str), Some("grid" | "random" | "halving")) {
        return Vec::new();
    }
    let is_list = |(name, value): &(&String, &String)| !NAMES.contains(&name.as_str()) && value.contains(',');
    let values = |value: &String| value.split(',').map(|part| part.trim().to_owned()).collect();
    options.iter().filter(is_list).map(|(name, value)| (name.clone(), values(value))).collect()
}

/// The combinations to try: as they are written, and all options with them.
///
/// # Errors
/// If there are too many for a grid.
pub(crate) fn combinations(
    options: &Options,
    lists: &[(String, Vec<String>)],
) -> Result<Vec<(String, Options)>, Vec<OptionError>> {
    let total = lists.iter().try_fold(1_usize, |total, (_, values)| total.checked_mul(values.len()));
    let total = total.unwrap_or(usize::MAX);
    let is = |name: &str| options.get("search").is_some_and(|search| search == name);
    let is_random = is("random") || is("halving") && options.contains_key("trials");
    if !is_random && total > MOST_COMBINATIONS {
        let message =
            format!("the lists have {total} combinations, more than the {MOST_COMBINATIONS} of a grid");
        return Err(vec![OptionError::of("search", message).help("use search = 'random' with `trials`")]);
    }
    let numbers: Vec<usize> = if is_random { drawn(options, total) } else { (0..total).collect() };
    Ok(numbers.into_iter().map(|number| combination(options, lists, number)).collect())
}

/// Different numbers of combinations, ascending. What is wrong with `trials` and `seed` is told where they are read.
fn drawn(options: &Options, total: usize) -> Vec<usize> {
    let number = |name: &str| options.get(name).and_then(|text| text.trim().parse::<u64>().ok());
    let trials = number("trials").and_then(|trials| usize::try_from(trials).ok()).unwrap_or(TRIALS);
    let wanted = trials.clamp(1, MOST_COMBINATIONS).min(total);
    let mut random = Random::new(number("seed").unwrap_or(0));
    let mut chosen = std::collections::BTreeSet::new();
    while chosen.len() < wanted {
        chosen.insert(random.below(total));
    }
    chosen.into_iter().collect()
}

/// The combination of this number, the last list running fastest.
fn combination(options: &Options, lists: &[(String, Vec<String>)], mut number: usize) -> (String, Options) {
    let (mut chosen, mut written) = (options.clone(), Vec::new());
    for (name, values) in lists.iter().rev() {
        let value = &values[number % values.len()];
        number /= values.len();
        chosen.insert(name.clone(), value.clone());
        written.push(format!("{name} = {value}"));
    }
    written.reverse();
    (written.join(", "), chosen)
}
