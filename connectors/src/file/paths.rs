//! Which files a `path` means.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use lineshaft_engine::declaration::OptionError;

use super::options::{near_name, unreadable};
use crate::history::named;

/// The files of a file, a folder or a glob, in natural order of their names; hidden ones are left out, and of a history those that
/// do not count.
pub(super) fn find(path: &str, folder: &Path) -> Result<Vec<PathBuf>, OptionError> {
    let full = folder.join(path);
    if full.is_file() {
        return Ok(vec![full]);
    }
    let files = if full.is_dir() { in_folder(&full)? } else { by_glob(&full)? };
    let mut files = named(files).map_err(|error| OptionError::of("path", error.to_string()))?;
    files.sort_by(|a, b| natural(&a.to_string_lossy(), &b.to_string_lossy()));
    if files.is_empty() {
        return Err(nothing(path, &full));
    }
    Ok(files)
}

/// The same, where it is no error that nothing is there (yet).
pub(super) fn find_again(path: &str, folder: &Path) -> Vec<PathBuf> {
    find(path, folder).unwrap_or_default()
}

/// The files of a folder, and of those in it that part it, such as `day=2026-03-01`.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, OptionError> {
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, error))?;
    let mut files = Vec::new();
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let is_part = path.file_name().is_some_and(|name| name.to_string_lossy().contains('='));
        if is_part && path.is_dir() {
            files.extend(in_folder(&path)?);
        } else if path.is_file() && !is_hidden(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

fn by_glob(pattern: &Path) -> Result<Vec<PathBuf>, OptionError> {
    let text = pattern.to_string_lossy();
    let paths = glob::glob(&text).map_err(|error| {
        OptionError::of("path", format!("path {text:?} is not a glob: {}", error.msg)).help("use *, ** and ?")
    })?;
    Ok(paths.filter_map(Result::ok).filter(|path| path.is_file() && !is_hidden(path)).collect())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn nothing(path: &str, full: &Path) -> OptionError {
    if full.is_dir() {
        return OptionError::of("path", format!("no file is in the folder {}", full.display()));
    }
    if path.contains(['*', '?', '[']) {
        return OptionError::of("path", format!("no file matches {}", full.display()));
    }
    let error = OptionError::of("path", format!("no file {}", full.display()));
    let parent = full.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (in_folder(parent), full.file_name()) {
        (Ok(files), Some(name)) if !files.is_empty() && files.len() <= 50 => {
            let names: Vec<String> = files
                .iter()
                .filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned()))
                .collect();
            error.help(near_name(&name.to_string_lossy(), &names))
        }
        (Err(_), _) => error.help(format!("the folder {} is not there", parent.display())),
        _ => error.help("a relative path begins at the folder of the query file"),
    }
}

/// Numbers in names compare as numbers: `run_2` comes before `run_10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    while let (Some(x), Some(y)) = (left.chars().next(), right.chars().next()) {
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (number, rest) = leading_number(left);
            let (other, other_rest) = leading_number(right);
            (left, right) = (rest, other_rest);
            number.len().cmp(&other.len()).then_with(|| number.cmp(other))
        } else {
            (left, right) = (&left[x.len_utf8()..], &right[y.len_utf8()..]);
            x.cmp(&y)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// The digits at the beginning, without leading zeros, and the rest.
fn leading_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].trim_start_matches('0'), &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    fn names(paths: &[PathBuf]) -> Vec<String> {
        paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn files_come_in_natural_order_without_hidden_ones() {
        let folder = folder(&["run_10.csv", "run_2.csv", "run_02b.csv", ".run_1.csv", "a.txt"]);
        let root = folder.path();
        assert_eq!(names(&find("", root).unwrap()), ["a.txt", "run_2.csv", "run_02b.csv", "run_10.csv"]);
        assert_eq!(names(&find("run_*.csv", root).unwrap()), ["run_2.csv", "run_02b.csv", "run_10.csv"]);
        assert_eq!(names(&find("a.txt", root).unwrap()), ["a.txt"]);
    }

    #[test]
    fn a_folder_that_is_parted_is_read_as_a_whole() {
        let folder = folder(&["part-0.csv"]);
        for part in ["day=2026-03-02/line=a", "day=2026-03-01", "old"] {
            let part = folder.path().join(part);
            fs::create_dir_all(&part).unwrap();
            fs::write(part.join("part-0.csv"), "").unwrap();
        }
        let found = find("", folder.path()).unwrap();
        let relative = found.iter().map(|path| path.strip_prefix(folder.path()).unwrap().to_string_lossy());
        assert_eq!(
            relative.collect::<Vec<_>>(),
            ["day=2026-03-01/part-0.csv", "day=2026-03-02/line=a/part-0.csv", "part-0.csv"]
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named_with_its_neighbour() {
        let folder = folder(&["readings.csv"]);
        let error = find("reading.csv", folder.path()).unwrap_err();
        assert_eq!(error.option.as_deref(), Some("path"));
        assert!(error.message.starts_with("no file ") && error.message.ends_with("reading.csv"), "{error}");
        assert_eq!(error.help.as_deref(), Some("did you mean \"readings.csv\"?"));
        assert!(find("x/*.csv", folder.path()).unwrap_err().message.starts_with("no file matches "));
        assert!(find("x/y.csv", folder.path()).unwrap_err().help.unwrap().ends_with("is not there"));
    }
}
