//! The pages say what is so: reference pages are generated from the code, and every program on a page is checked.
//!
//! `UPDATE_REFERENCE=1 cargo test --test main pages` writes the generated pages anew.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use lineshaft::Engine;
use lineshaft::connectors::options::{COMMON_SINK_OPTIONS, COMMON_SOURCE_OPTIONS, OptionDoc};
use lineshaft::connectors::{CONNECTORS, Connector};

use crate::tidy::files;

/// Compares a committed page with the one that the code gives; with `UPDATE_REFERENCE` writes it.
fn assert_is_page(name: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(name);
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&path, generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        committed, generated,
        "docs/reference/{name} is out of date: run again with UPDATE_REFERENCE=1"
    );
}

const HOW: &str =
    "Generated from the code; `UPDATE_REFERENCE=1 cargo test --test main pages` writes it anew.";

#[test]
fn the_page_of_the_connectors_is_that_of_the_code() {
    let mut page = format!(
        "# Connectors\n\n{HOW}\n\n\
         The option `connector` of `CREATE SOURCE`, `CREATE TABLE`, `CREATE SINK` and `CREATE ACTUATOR` names one of \
         these.\n\nAn unknown option is an error that suggests the nearest name. A duration is a number with a unit, \
         `'500 ms'`, `'5 s'`, `'1 min'`, `'2 hours'`; a size is `'4096'`, `'64 KiB'`, `'1 MB'`. A relative path of a \
         source begins beside the query file, one of a sink in the data directory.\n\n\
         | connector | source | sink | |\n|---|---|---|---|\n"
    );
    let tick = |has: bool| if has { "yes" } else { "" };
    for Connector { name, summary, source, sink, .. } in CONNECTORS {
        let (source, sink) = (tick(source.is_some()), tick(sink.is_some()));
        writeln!(page, "| [`{name}`](#{name}) | {source} | {sink} | {summary} |").unwrap();
    }
    page.push_str("\n## Options of every source\n\n");
    page.push_str(&option_table(COMMON_SOURCE_OPTIONS));
    page.push_str("\n## Options of every sink\n\n");
    page.push_str(&option_table(COMMON_SINK_OPTIONS));
    for connector in CONNECTORS {
        page.push_str(&connector_entry(connector));
    }
    assert_is_page("connectors.md", &page);
}

fn connector_entry(connector: &Connector) -> String {
    let mut entry = format!("\n## {}\n\n{}\n", connector.name, connector.summary);
    for (role, options) in [("source", connector.source), ("sink", connector.sink)] {
        if let Some(options) = options {
            write!(entry, "\n### Options of a {} {role}\n\n{}", connector.name, option_table(options))
                .unwrap();
        }
    }
    if !connector.metadata.is_empty() {
        let columns = connector.metadata.iter();
        let columns: Vec<String> = columns
            .map(|column| format!("`{}` ({})", column.name, sql_type(&column.data_type.to_string())))
            .collect();
        write!(entry, "\nMetadata columns: {}.\n", columns.join(", ")).unwrap();
    }
    entry
}

fn option_table(options: &[OptionDoc]) -> String {
    let mut table = "| option | value | default | |\n|---|---|---|---|\n".to_owned();
    for OptionDoc { name, kind, default, meaning } in options {
        let default = default.map_or_else(|| "**required**".to_owned(), escape);
        writeln!(table, "| `{name}` | {} | {default} | {} |", escape(kind), escape(meaning)).unwrap();
    }
    table
}

/// The name that a query file has for a type of Arrow.
fn sql_type(arrow: &str) -> &str {
    match arrow {
        "Utf8" => "`TEXT`",
        "Int64" => "`BIGINT`",
        "Int32" => "`INT`",
        "Int16" => "`SMALLINT`",
        "Int8" | "UInt8" => "`TINYINT`",
        "Boolean" => "`BOOLEAN`",
        "Float64" => "`DOUBLE`",
        other if other.starts_with("Timestamp") => "`TIMESTAMP`",
        other => panic!("a name in SQL for {other}"),
    }
}

/// A bar would end the cell.
fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}

#[test]
fn the_page_of_the_command_line_is_that_of_the_code() {
    let mut page = format!(
        "# Command line\n\n{HOW}\n\n\
         Exit codes: 0 done, 1 the program is wrong (nothing was started), 2 wrong usage, 3 it failed while running.\n\n\
         Log lines and the status line go to the standard error, rows to the standard output.\n"
    );
    let commands = ["", "run", "backfill", "check", "explain", "query", "history", "journal", "demo"];
    let parts = ["history ls", "history verify", "journal ls", "journal verify", "journal repair"];
    let with_parts = |command: &'static str| {
        let is_part = move |part: &&str| part.split(' ').next() == Some(command);
        [command].into_iter().chain(parts.into_iter().filter(is_part))
    };
    for command in commands.into_iter().flat_map(with_parts) {
        let title = format!("lineshaft {command}");
        write!(page, "\n## {}\n\n```text\n{}```\n", title.trim(), help(command)).unwrap();
    }
    let overview = help("");
    let listed = overview.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed: Vec<&str> = listed.map_while(|line| line.split_whitespace().next()).collect();
    let known: Vec<&str> = commands[1..].iter().copied().chain(["help"]).collect();
    assert_eq!(listed, known, "every command has its part of the page");
    assert_is_page("command-line.md", &page);
}

fn help(command: &str) -> String {
    let arguments: Vec<&str> = command.split(' ').chain(["--help"]).filter(|word| !word.is_empty()).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_lineshaft")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// The figures that a program counts, as `engine/src/metrics.rs` declares them.
#[test]
fn the_page_of_the_metrics_is_that_of_the_code() {
    let code = include_str!("../engine/src/metrics.rs");
    let mut page = format!(
        "# Metrics\n\n{HOW}\n\n\
         `Running::metrics` gives them while a program runs; the status line and the last log line show them. For every \
         source, received = processed + late + quarantined + deduplicated + shed, exactly. Counts only grow, and are in rows unless it says \
         otherwise; what is behind and state rise and fall.\n"
    );
    for (owner, title) in [
        ("SourceMetrics", "Of each source"),
        ("SinkMetrics", "Of each sink"),
        ("Metrics", "Of the program"),
        ("Lag", "How far the workers are behind"),
        ("StateSize", "State that can go to disk"),
    ] {
        let body =
            code.split_once(&format!("pub struct {owner} {{\n")).unwrap().1.split_once("\n}").unwrap().0;
        write!(page, "\n## {title}\n\n| metric | |\n|---|---|\n").unwrap();
        let mut meaning = "";
        for line in body.lines().map(str::trim) {
            if let Some(text) = line.strip_prefix("/// ") {
                meaning = text;
            } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|field| field.split_once(':'))
                && !["name", "sources", "sinks", "lag", "state"].contains(&name)
            {
                writeln!(page, "| `{name}` | {} |", escape(meaning)).unwrap();
            }
        }
    }
    assert_is_page("metrics.md", &page);
}

/// The blocks of a page that begin with exactly this fence.
fn blocks(page: &str, fence: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if language == fence {
            blocks.push(block.join("\n") + "\n");
        }
    }
    blocks
}

/// The blocks of SQL of one page are one program, as several query files are. A part of a statement, or what is not
/// a program by itself, stands in a block `sql fragment`, which is not checked.
#[test]
fn the_sql_of_every_page_is_a_program_that_can_be_run() {
    let mut checked = 0;
    for (path, text) in files("", "md") {
        let program = blocks(&text, "sql").join("\n");
        if program.is_empty() {
            continue;
        }
        if let Err(errors) = Engine::from_sql(&program) {
            panic!("{path}:\n{errors}");
        }
        checked += 1;
    }
    assert!(checked >= 2, "README and the page of the statements have programs");
}

#[test]
fn the_program_of_the_readme_gives_the_rows_that_it_shows() {
    let readme = include_str!("../README.md");
    let program = blocks(readme, "sql").remove(0);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("first.sql"), program).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_lineshaft"))
        .args(["--quiet", "run", "first.sql"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let printed = String::from_utf8(run.stdout).unwrap();
    let shown = blocks(readme, "text").into_iter().find(|block| block.contains("{\"")).unwrap();
    for line in shown.lines().filter(|line| line.starts_with('{')) {
        assert!(
            printed.lines().any(|row| row == line),
            "the README shows {line}, but the rows are\n{printed}"
        );
    }
}
