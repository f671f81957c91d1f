//! The repository checks itself: who may name whom, how long a file is, and that the pages lead somewhere.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Longer files are hard to keep in the head; take a part out into a file of its own.
const MOST_LINES: usize = 700;

/// Folders of other programs, and of what was built.
const LEFT_OUT: [&str; 4] = ["target", ".git", "lineshaft-data", "lineshaft-demo"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files below `folder` whose names end in `.<extension>`, in order, with their text.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !LEFT_OUT.contains(&name.as_str()) {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = std::fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push((path, text));
            }
        }
    }
    found.sort();
    found
}

/// The names in the tables of a `Cargo.toml` whose title ends in `dependencies`, those of tests included.
fn dependencies(member: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
    let mut names = BTreeSet::new();
    let mut is_inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(title) = line.strip_prefix('[') {
            let title = title.trim_end_matches(']');
            is_inside = title.ends_with("dependencies") && title != "workspace.dependencies";
        } else if let (true, Some((name, _))) = (is_inside, line.split_once(['.', '=', ' '])) {
            names.insert(name.trim().to_owned());
        }
    }
    assert!(!names.is_empty(), "{member} has dependencies");
    names
}

/// Panics with a line for each thing that is wrong.
fn assert_none(what: &str, wrong: &[String]) {
    let mut list = String::new();
    for line in wrong {
        write!(list, "\n  {line}").unwrap();
    }
    assert!(wrong.is_empty(), "{what}:{list}");
}

#[test]
fn crates_depend_on_each_other_in_one_direction_only() {
    const ENGINE: &str = "lineshaft-engine";
    const OPERATORS: &str = "lineshaft-operators";
    let may_name: [(&str, &[&str]); 4] = [
        ("engine", &[]),
        ("operators", &[ENGINE]),
        ("connectors", &[ENGINE]),
        ("queries", &[ENGINE, OPERATORS]),
    ];
    for (member, allowed) in may_name {
        let ours: Vec<String> =
            dependencies(member).into_iter().filter(|name| name.starts_with("lineshaft")).collect();
        assert_eq!(ours, allowed, "{member} names other crates of ours than it may");
    }
}

#[test]
fn each_large_dependency_belongs_to_one_crate() {
    // The root's tests compare with DataFusion, write Parquet, and speak MQTT.
    let owners: [(&str, &[&str]); 10] = [
        ("timely", &["engine", "operators"]),
        ("differential-dataflow", &["engine", "operators"]),
        ("datafusion", &["queries", "."]),
        ("smartcore", &["operators"]),
        ("rumqttc", &["connectors", "."]),
        ("rumqttd", &["connectors"]),
        ("hyper", &["connectors"]),
        ("parquet", &["connectors", "."]),
        ("clap", &["."]),
        ("indicatif", &["."]),
    ];
    let mut wrong = Vec::new();
    for member in ["engine", "operators", "connectors", "queries", "."] {
        let names = dependencies(member);
        for (dependency, owners) in owners {
            if names.contains(dependency) && !owners.contains(&member) {
                wrong.push(format!("{member} depends on {dependency}, which belongs to {}", owners[0]));
            }
        }
    }
    assert_none("dependencies in the wrong crate", &wrong);
}

#[test]
fn a_library_is_named_only_where_it_belongs() {
    // The facade's tests may name what they compare with; the crates may not.
    let homes: [(&str, &str, &[&str]); 10] = [
        ("engine", "differential_dataflow::", &["engine/src/dataflow/", "engine/src/changelog"]),
        ("operators", "differential_dataflow::", &["operators/src/changelog/"]),
        ("operators", "timely::", &["operators/src/changelog/"]),
        (
            "engine",
            "timely::",
            &[
                "engine/src/dataflow/",
                "engine/src/changelog/",
                "engine/src/run.rs",
                "engine/src/simulation.rs",
                "engine/src/control.rs",
                "engine/src/intake/feed.rs",
            ],
        ),
        ("operators", "smartcore::", &["operators/src/model/"]),
        (
            "operators",
            "std::fs",
            &[
                "operators/src/model/artifact.rs",
                "operators/src/model/artifact/",
                "operators/src/model/file.rs",
                "operators/src/model/safetensors/tests.rs",
                "operators/src/model/onnx/tests.rs",
                "operators/benches/",
            ],
        ),
        (
            "connectors",
            "rumqttc::",
            &["connectors/src/mqtt/", "connectors/src/plant/commands.rs", "connectors/src/broker.rs"],
        ),
        ("connectors", "rumqttd::", &["connectors/src/broker.rs"]),
        ("connectors", "hyper::", &["connectors/src/http/"]),
        ("connectors", "hyper_util::", &["connectors/src/http/"]),
    ];
    let mut wrong = Vec::new();
    for (member, name, homes) in homes {
        let named = files(member, "rs").into_iter().filter(|(_, text)| text.contains(name));
        let elsewhere = named.filter(|(path, _)| !homes.iter().any(|home| path.starts_with(home)));
        wrong.extend(elsewhere.map(|(path, _)| format!("{path} names {name}")));
    }
    assert_none("names outside their home", &wrong);
}

#[test]
fn operators_neither_wait_nor_read_a_clock() {
    let mut wrong = Vec::new();
    for (path, text) in files("operators/src", "rs") {
        for name in ["std::thread", "std::net", "tokio::", "clock::Clock"] {
            if text.contains(name) {
                wrong.push(format!("{path} names {name}"));
            }
        }
    }
    assert_none("an operator is a function of its input", &wrong);
}

#[test]
fn no_file_is_too_long_to_be_read_at_once() {
    let long = files("", "rs").into_iter().filter(|(_, text)| text.lines().count() > MOST_LINES);
    let long: Vec<String> =
        long.map(|(path, text)| format!("{path} has {} lines", text.lines().count())).collect();
    assert_none("files above 700 lines", &long);
}

#[test]
fn every_module_begins_with_a_page_that_says_what_it_is() {
    let is_test = |path: &str| path.ends_with("tests.rs");
    let without =
        files("", "rs").into_iter().filter(|(path, text)| !is_test(path) && !text.starts_with("//!"));
    assert_none("modules without a page", &without.map(|(path, _)| path).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_unfinished() {
    // In two parts, or this file would name them.
    let words: Vec<String> =
        ["to|do!(", "unimpl|emented!(", "#[ign|ore", "db|g!(", "TO|DO", "FIX|ME", "XX|X:"]
            .map(|word| word.replace('|', ""))
            .to_vec();
    let mut wrong = Vec::new();
    for (path, text) in files("", "rs") {
        for (number, line) in text.lines().enumerate() {
            wrong.extend(
                words
                    .iter()
                    .filter(|word| line.contains(word.as_str()))
                    .map(|word| format!("{path}:{} has {word}", number + 1)),
            );
        }
    }
    assert_none("what is begun is finished, or told in an issue", &wrong);
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let starts: Vec<String> =
        ["/ho|me/", "/Use|rs/", "/ro|ot/", "/wo|rk/"].map(|start| start.replace('|', "")).to_vec();
    let mut wrong = Vec::new();
    for extension in ["rs", "md", "sql", "toml", "yml"] {
        for (path, text) in files("", extension) {
            wrong.extend(
                starts
                    .iter()
                    .filter(|start| text.contains(start.as_str()))
                    .map(|start| format!("{path} has {start}")),
            );
        }
    }
    assert_none("paths of one machine", &wrong);
}

/// The targets of `[text](target)` in a page, without blocks of code.
fn links(page: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut is_code = false;
    for line in page.lines() {
        is_code ^= line.trim_start().starts_with("```");
        if is_code {
            continue;
        }
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else { break };
            links.push(target.to_owned());
            rest = after;
        }
    }
    links
}

/// The anchor that a heading gets on the web: lower case, blanks as dashes, without punctuation.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    let pages = files("", "md");
    assert!(pages.iter().any(|(path, _)| path == "README.md"), "there is a README");
    let mut wrong = Vec::new();
    for (path, text) in &pages {
        let folder = root().join(path).parent().map(Path::to_owned).unwrap();
        for link in links(text).iter().filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { root().join(path) } else { folder.join(file) };
            if !target.exists() {
                wrong.push(format!("{path} links to {link}, which is not there"));
            } else if !heading.is_empty() {
                let target = std::fs::read_to_string(target).unwrap();
                if !target.lines().any(|line| line.starts_with('#') && anchor(line) == heading) {
                    wrong.push(format!("{path} links to {link}, and there is no such heading"));
                }
            }
        }
    }
    assert_none("links that lead nowhere", &wrong);
}
