//! A program as text: sources with their watermarks, steps, sinks.

use std::fmt::Write;

use arrow::util::display::array_value_to_string;
use lineshaft_engine::declaration::{Comparison, Condition, SourceDeclaration};
use lineshaft_engine::plan::{Input, Origin, Plan, Route, SinkNode, WatermarkRule};

use crate::plan::PlannedProgram;
use crate::program::Program;
use crate::window_function::show;

/// What `lineshaft explain` prints. With `view`, only what leads to that relation was planned.
pub fn explain(program: &Program, planned: &PlannedProgram) -> String {
    let mut text = String::new();
    let plan = &planned.plan;
    for (source, declaration) in plan.sources.iter().zip(&planned.sources) {
        let kind = if source.is_table { "table" } else { "source" };
        let connector = declaration.options.get("connector").map_or("?", String::as_str);
        line(&mut text, format_args!("{kind} {} ({connector})", source.name));
        let columns: Vec<&str> = source.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let all = declaration.schema.fields().len();
        line(&mut text, format_args!("    columns    {} of {all}: {}", columns.len(), columns.join(", ")));
        if declaration.table.as_ref().is_some_and(|table| table.reads_again) {
            let rows = if source.is_changelog { "its rows are replaced" } else { "new rows are added" };
            line(&mut text, format_args!("    changes    it is read again when it changes: {rows}"));
        }
        if !declaration.wanted.is_empty() {
            line(&mut text, format_args!("    reads      rows with {}", wanted(declaration)));
        }
        if let Some(rule) = &source.watermark {
            line(&mut text, format_args!("    watermark  {}", watermark(rule, &columns)));
        }
        if let Some(rule) = &source.deduplicate {
            let keys: Vec<&str> = rule.keys.iter().map(|key| columns[*key]).collect();
            let (keys, within) = (keys.join(", "), show(rule.within));
            line(
                &mut text,
                format_args!("    repeated   rows with equal {keys} within {within} are dropped"),
            );
        }
    }
    for (number, node) in plan.nodes.iter().enumerate() {
        let state = if node.is_stateless { "no state" } else { state(&node.name) };
        let rows = if node.is_changelog { "changelog" } else { "append-only" };
        line(&mut text, format_args!("{number:>3} {} [{rows}, {state}]", node.name));
        for input in &node.inputs {
            line(&mut text, format_args!("      <- {}{}", origin(plan, input.from), route(plan, input)));
        }
    }
    for (sink, declaration) in plan.sinks.iter().zip(&planned.sinks) {
        let connector = declaration.options.get("connector").map_or("?", String::as_str);
        line(&mut text, format_args!("sink {} ({connector})", sink.name));
        line(&mut text, format_args!("      <- {}", origin(plan, sink.from)));
        line(&mut text, format_args!("    columns    {}", columns(sink)));
    }
    for model in &program.models {
        let algorithm = model.training.algorithm.name();
        line(
            &mut text,
            format_args!("model {} ({algorithm}), trained before the program starts", model.training.name),
        );
    }
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    writeln!(text, "{arguments}").ok();
}

/// The conditions by which rows need not be read.
fn wanted(declaration: &SourceDeclaration) -> String {
    let one = |condition: &Condition| {
        let name = declaration.schema.field(condition.column).name();
        let value = array_value_to_string(&condition.value, 0).unwrap_or_default();
        let comparison = match condition.comparison {
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Equal => "=",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Greater => ">",
        };
        format!("{name} {comparison} {value}")
    };
    let all = |conditions: &Vec<Condition>| conditions.iter().map(one).collect::<Vec<_>>().join(" and ");
    declaration.wanted.iter().map(all).collect::<Vec<_>>().join(", or ")
}

fn watermark(rule: &WatermarkRule, columns: &[&str]) -> String {
    let mut shown = format!("{} - {}", columns[rule.column], show(rule.disorder));
    if !rule.per_key.is_empty() {
        let keys: Vec<&str> = rule.per_key.iter().map(|key| columns[*key]).collect();
        shown += &format!(" per {}", keys.join(", "));
    }
    if rule.allowed_lateness > 0 {
        shown += &format!(", rows may be {} late", show(rule.allowed_lateness));
    }
    if let Some(idle) = rule.idle_after {
        shown += &format!(", idle after {}", show(idle));
    }
    if let Some(future) = rule.max_future {
        shown += &format!(", at most {} ahead of the clock", show(future));
    }
    shown
}

/// What an operator remembers, by its kind.
fn state(name: &str) -> &'static str {
    match name.rsplit(": ").next().unwrap_or(name) {
        "TUMBLE aggregate" | "HOP aggregate" | "CUMULATE aggregate" | "event time aggregate" => {
            "state: a partial result per key and open pane"
        }
        "SESSION aggregate" => "state: a partial result per key, and the rows above the watermark",
        "STATE_WINDOW aggregate" => "state: a partial result per key, and the rows above the watermark",
        "over" => {
            "state: per key the rows of the frames, or an accumulator; and the rows above the watermark"
        }
        "resample" => "state: the newest row per key, and the rows above the watermark",
        "functions of all rows" => "state: all rows, by partition",
        "functions per window" => "state: the rows of the windows that are open",
        "COUNT_WINDOW aggregate" => "state: the rows of the windows that are not full",
        "GROUP BY" => "state: a partial result per key, and the row that it gave",
        "DISTINCT" => "state: every distinct row that may come again",
        "window join" | "interval join" => "state: the rows of both sides that can still meet another",
        "as-of join" => "state: the newest row per key, and the rows above the watermark",
        "lookup join" | "lookup semi join" | "lookup anti join" | "lookup mark join" => "state: the table",
        "join" => "state: all rows of both sides by key",
        "top-k" => "state: all rows by group",
        "first rows" => "state: the first rows of each group",
        "recursion" => "state: all rows of its inputs and of each round",
        "table" => "state: the row of each key",
        "upserts" => "state: the rows of each key",
        "optimize" => "state: the newest row and the last choice per key",
        "gate" => "state: the last command per key",
        _ => "no state",
    }
}

fn origin(plan: &Plan, origin: Origin) -> String {
    match origin {
        Origin::Source(source) => plan.sources[source].name.clone(),
        Origin::Late(source) => format!("{}.late", plan.sources[source].name),
        Origin::Quarantine(source) => format!("{}.quarantine", plan.sources[source].name),
        Origin::Node(node, 0) => format!("{node}"),
        Origin::Node(node, port) => format!("{node} (output {port})"),
    }
}

fn route(plan: &Plan, input: &Input) -> String {
    match &input.route {
        Route::Local => String::new(),
        Route::Gather => ", all rows to one worker".to_owned(),
        Route::Broadcast => ", all rows to every worker".to_owned(),
        Route::ByKey(keys) => {
            let schema = plan.schema(input.from);
            let names: Vec<&str> = keys.iter().map(|key| schema.field(*key).name().as_str()).collect();
            format!(", by key {}", names.join(", "))
        }
    }
}

fn columns(sink: &SinkNode) -> String {
    let columns: Vec<String> =
        sink.schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    columns.join(", ")
}
