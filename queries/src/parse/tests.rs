//! Every form of the language, and what is said about wrong ones.

use std::collections::HashMap;

use arrow::datatypes::DataType;
use lineshaft_engine::batch::TIMESTAMP;

use super::*;
use crate::span::StatementText;
use crate::statement::{CreateActuator, CreateOptimizer, CreateSource, Emit, Range};

const SECOND: i64 = 1_000_000;

const READINGS: &str = "
CREATE SOURCE readings (
    ts        TIMESTAMP NOT NULL,
    machine   TEXT NOT NULL,
    vibration DOUBLE,
    waveform  DOUBLE[],
    topic     TEXT METADATA,                          -- given by the connector
    WATERMARK FOR ts AS ts - INTERVAL '5' SECOND      -- optionally: PER machine
) WITH (connector = 'mqtt', url = 'mqtt://localhost:1883', topic = 'plant/+/readings', qos = 1, format = 'json');";

const SETPOINTS: &str = "
CREATE OPTIMIZER setpoints                             -- seeded, limited by iterations
    MINIMIZE energy(speed, heat) + 0.3 * power(predict('defect_rate', speed, heat, humidity), 2)
    OVER (speed DOUBLE BETWEEN 10 AND 40 MAX STEP 2, heat DOUBLE BETWEEN 180 AND 240)
    SUBJECT TO predict('throughput', speed, heat, humidity) >= 95
    PER line EVERY INTERVAL '1' MINUTE
    FROM line_state;";

const PRESS_DRIVE: &str = "
CREATE ACTUATOR press_drive WITH (connector = 'mqtt', topic = 'plant/{line}/press/set', mode = 'shadow')
    ( line TEXT, speed DOUBLE BETWEEN 10 AND 40 MAX STEP 2 )
    KEY (line)
    RATE 1 PER INTERVAL '10' SECOND
    TTL INTERVAL '2' SECOND
    INTERLOCK (SELECT line FROM open_guards)           -- keys that must not be commanded now
    FAILSAFE (speed = 10);";

fn file(text: &str) -> [SourceFile; 1] {
    [SourceFile::new("test.sql", text)]
}

fn parsed(text: &str) -> Vec<Statement> {
    let (statements, errors) = parse(&file(text));
    assert_eq!(errors, [], "{text}");
    statements
}

fn only(text: &str) -> Statement {
    let mut statements = parsed(text);
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0)
}

/// What is said, and the text it points at.
fn errors(text: &str) -> Vec<(String, String)> {
    let files = file(text);
    let (_, errors) = parse(&files);
    let place = |error: &QueryError| files[0].slice(error.span().unwrap()).to_owned();
    errors.iter().map(|error| (error.to_string(), place(error))).collect()
}

fn error(text: &str) -> (String, String) {
    let mut errors = errors(text);
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

fn pair(message: &str, place: &str) -> (String, String) {
    (message.to_owned(), place.to_owned())
}

fn source(text: &str) -> CreateSource {
    match only(text) {
        Statement::CreateSource(source) | Statement::CreateTable(source) => source,
        other => panic!("{other:?}"),
    }
}

fn optimizer(text: &str) -> CreateOptimizer {
    match only(text) {
        Statement::CreateOptimizer(optimizer) => optimizer,
        other => panic!("{other:?}"),
    }
}

fn actuator(text: &str) -> CreateActuator {
    match only(text) {
        Statement::CreateActuator(actuator) => actuator,
        other => panic!("{other:?}"),
    }
}

fn query(text: &str) -> SelectQuery {
    match only(&format!("CREATE VIEW v AS {text}")) {
        Statement::CreateView(view) => view.query,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_source_has_columns_a_watermark_and_options() {
    let source = source(READINGS);
    let list = DataType::new_list(DataType::Float64, true);
    let types: Vec<_> = source.columns.iter().map(|column| column.data_type.clone()).collect();
    assert_eq!(types, [TIMESTAMP, DataType::Utf8, DataType::Float64, list, DataType::Utf8]);
    let nullable: Vec<_> = source.columns.iter().map(|column| column.nullable).collect();
    assert_eq!(nullable, [false, false, true, true, true]);
    assert_eq!(source.metadata(), [4]);
    let watermark = source.watermark.unwrap();
    assert_eq!((watermark.column, watermark.disorder_us, watermark.per), (0, 5 * SECOND, vec![]));
    assert_eq!(source.options.text("qos"), Some("1"));
    assert_eq!(source.options.text("topic"), Some("plant/+/readings"));
    assert_eq!(source.options.to_map().len(), 5);
}

#[test]
fn a_table_has_a_primary_key() {
    let table = source(
        "CREATE TABLE machines (machine TEXT PRIMARY KEY, line TEXT, vib_limit DOUBLE)
         WITH (connector = 'file', path = 'machines.csv', format = 'csv');",
    );
    assert_eq!(table.primary_key, [0]);
    assert!(!table.columns[0].nullable);
    let table = source("CREATE TABLE t (a INT, b DATE, PRIMARY KEY (b, a))");
    assert_eq!(table.primary_key, [1, 0]);
}

#[test]
fn a_watermark_may_be_per_key_and_without_disorder() {
    let watermark = |clause: &str| {
        let text = format!("CREATE SOURCE s (ts TIMESTAMP, a INT, b INT, {clause})");
        let watermark = source(&text).watermark.unwrap();
        (watermark.disorder_us, watermark.per)
    };
    assert_eq!(watermark("WATERMARK FOR ts"), (0, vec![]));
    assert_eq!(watermark("WATERMARK FOR ts AS ts"), (0, vec![]));
    assert_eq!(watermark("WATERMARK FOR ts AS ts - INTERVAL '1 minute' PER a, b"), (60 * SECOND, vec![1, 2]));
    assert_eq!(watermark("WATERMARK FOR ts PER (a, b)"), (0, vec![1, 2]));
    assert_eq!(watermark("WATERMARK FOR ts PER a, c TEXT, PRIMARY KEY (a)"), (0, vec![1]));
    assert_eq!(watermark("WATERMARK FOR ts PER a, c TEXT"), (0, vec![1]));
}

#[test]
fn duplicates_are_told_by_columns_for_a_time() {
    let text =
        "CREATE SOURCE s (device TEXT, seq BIGINT, DEDUPLICATE BY (device, seq) WITHIN INTERVAL '10' MINUTE)";
    let deduplicate = source(text).deduplicate.unwrap();
    assert_eq!((deduplicate.columns, deduplicate.within_us), (vec![0, 1], 600 * SECOND));
}

#[test]
fn every_type_of_a_column_has_one_of_arrow() {
    let types =
        "a REAL, b DOUBLE PRECISION, c INT, d INTEGER, e BIGINT, f SMALLINT, g BOOLEAN, h VARCHAR(20),
        i STRING, j DATE, k DECIMAL(10, 2), l INT[], m TINYINT, n TIMESTAMP(3), o DECIMAL";
    let columns = source(&format!("CREATE SOURCE s ({types})")).columns;
    use DataType::*;
    let expected = [
        Float32,
        Float64,
        Int32,
        Int32,
        Int64,
        Int16,
        Boolean,
        Utf8,
        Utf8,
        Date32,
        Decimal128(10, 2),
        DataType::new_list(Int32, true),
        Int8,
        TIMESTAMP,
        Decimal128(38, 10),
    ];
    assert_eq!(columns.iter().map(|column| column.data_type.clone()).collect::<Vec<_>>(), expected);
}

#[test]
fn a_view_is_a_query_and_may_be_materialized() {
    let statements = parsed("CREATE VIEW a AS SELECT 1; create materialized view B (x, y) as select 1, 2;");
    let [Statement::CreateView(a), Statement::CreateView(b)] = statements.as_slice() else {
        panic!("{statements:?}");
    };
    assert!(!a.materialized && b.materialized);
    assert_eq!((b.name.value.as_str(), b.columns.len()), ("b", 2));
    assert_eq!(b.query.text, "select 1, 2");
}

#[test]
fn emit_is_a_clause_and_never_the_name_of_a_table() {
    let emit = |text: &str| query(text).emit.map(|emit| emit.value);
    assert_eq!(emit("SELECT * FROM t EMIT ON WINDOW CLOSE"), Some(Emit::OnWindowClose));
    assert_eq!(emit("SELECT * FROM t EMIT EVERY INTERVAL '1' SECOND"), Some(Emit::Every(SECOND)));
    assert_eq!(
        emit("SELECT a FROM t GROUP BY a EMIT EVERY INTERVAL '2 seconds'"),
        Some(Emit::Every(2 * SECOND))
    );
    assert_eq!(emit("SELECT emit, t.emit FROM t WHERE emit > 1 ORDER BY emit"), None);
    let query = query("SELECT * FROM t EMIT ON WINDOW CLOSE");
    assert_eq!(
        (query.text.as_str(), query.query.to_string().as_str()),
        ("SELECT * FROM t", "SELECT * FROM t")
    );
    assert_eq!(
        error("CREATE VIEW v AS SELECT * FROM t EMIT;"),
        pair("expected ON WINDOW CLOSE or EVERY INTERVAL, found end of statement", "")
    );
}

#[test]
fn all_forms_of_queries_reach_the_planner() {
    for text in [
        "SELECT machine, max(bar) FROM TUMBLE(readings, ts, INTERVAL '10' SECOND) GROUP BY machine, window_start",
        "SELECT * FROM HOP(readings, ts, INTERVAL '5' SECOND, INTERVAL '1' MINUTE) AS w",
        "SELECT * FROM SESSION(readings, ts, INTERVAL '30 seconds', machine)",
        "SELECT * FROM COUNT_WINDOW(readings, ts, 1024, machine)",
        "SELECT * FROM RESAMPLE(readings, ts, INTERVAL '1' SECOND, machine)",
        "SELECT waveform[1], waveform[1:4] FROM readings",
        "SELECT a.x FROM a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.machine = b.machine",
        "SELECT * FROM a JOIN b ON a.ts BETWEEN b.ts - INTERVAL '5' SECOND AND b.ts",
        "SELECT avg(x) OVER (PARTITION BY machine ORDER BY ts ROWS BETWEEN 5 PRECEDING AND CURRENT ROW) FROM t",
        "SELECT avg(x) OVER (ORDER BY ts RANGE BETWEEN INTERVAL '5' SECOND PRECEDING AND CURRENT ROW) FROM t",
        "SELECT ewma(x, half_life => 5) OVER (PARTITION BY machine ORDER BY ts) FROM t",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r",
        "SELECT *, predict('wear', vib_rms, vib_kurtosis, temperature) AS will_fail FROM features",
        "SELECT * FROM readings.late UNION ALL SELECT * FROM readings.quarantine ORDER BY ts LIMIT 5",
        "SELECT CASE WHEN x > 1 THEN 'high' END, x::INT, CAST(x AS TEXT) FROM t WHERE \"Volume Flow\" IS NOT NULL",
        "SELECT DISTINCT machine FROM t WHERE s LIKE '%;%' -- a ; in a comment\n HAVING count(*) > 1",
    ] {
        assert_eq!(query(text).text, text);
    }
}

#[test]
fn a_model_is_trained_or_loaded() {
    let statements = parsed(
        "CREATE MODEL wear WITH (algorithm = 'random_forest_classifier', target = 'failed', trees = 100, seed = 7,
                                 test_fraction = 0.2) AS
         SELECT vib_rms, vib_kurtosis, temperature, failed FROM features_history;
         CREATE MODEL defects WITH (format = 'onnx', path = 'models/defects.onnx');",
    );
    let [Statement::CreateModel(wear), Statement::CreateModel(defects)] = statements.as_slice() else {
        panic!("{statements:?}");
    };
    assert_eq!(wear.options.text("test_fraction"), Some("0.2"));
    assert!(wear.training.is_some() && defects.training.is_none());
}

#[test]
fn an_optimizer_has_its_clauses() {
    let optimizer = optimizer(SETPOINTS);
    assert!(!optimizer.maximize);
    assert!(optimizer.objective.text.starts_with("energy(speed, heat) + 0.3 * power("));
    let ranges: Vec<_> = optimizer.variables.iter().map(|variable| variable.range.unwrap()).collect();
    assert!(matches!(ranges[0], Range { low: 10.0, high: 40.0, max_step: Some(2.0), .. }));
    assert!(matches!(ranges[1], Range { low: 180.0, high: 240.0, max_step: None, .. }));
    assert_eq!(optimizer.constraints[0].text, "predict('throughput', speed, heat, humidity) >= 95");
    assert_eq!(optimizer.per[0].value, "line");
    assert_eq!(optimizer.every_us.value, 60 * SECOND);
    assert_eq!(optimizer.input.query.to_string(), "SELECT * FROM line_state");
}

#[test]
fn clauses_of_an_optimizer_come_in_any_order_and_conditions_are_split() {
    let optimizer = optimizer(
        "CREATE OPTIMIZER o MAXIMIZE x - avg(y) OVER (PARTITION BY z) FROM t WITH (seed = 1) EVERY INTERVAL '5' SECOND
         PER a, b OVER (x INT BETWEEN -5 AND 5) SUBJECT TO x BETWEEN 1 AND 2 AND y < 3, z IS DISTINCT FROM 4",
    );
    assert!(optimizer.maximize);
    assert_eq!(optimizer.objective.text, "x - avg(y) OVER (PARTITION BY z)");
    let conditions: Vec<_> = optimizer.constraints.iter().map(|condition| condition.text.as_str()).collect();
    assert_eq!(conditions, ["x BETWEEN 1 AND 2", "y < 3", "z IS DISTINCT FROM 4"]);
    assert_eq!(optimizer.per.len(), 2);
    assert_eq!(optimizer.options.text("seed"), Some("1"));
}

#[test]
fn an_actuator_has_its_clauses() {
    let actuator = actuator(PRESS_DRIVE);
    assert_eq!(actuator.options.text("mode"), Some("shadow"));
    assert_eq!(actuator.columns.len(), 2);
    assert_eq!(actuator.columns[0].range, None);
    assert_eq!(actuator.key, [0]);
    let rate = actuator.rate.unwrap();
    assert_eq!((rate.commands, rate.per_us), (1, 10 * SECOND));
    assert_eq!(actuator.time_to_live_us.unwrap().value, 2 * SECOND);
    assert_eq!(actuator.interlock.unwrap().text, "SELECT line FROM open_guards");
    assert_eq!(actuator.failsafe[0].column, 1);
    assert_eq!(actuator.failsafe[0].value.text, "10");
}

#[test]
fn a_sink_takes_a_query_or_a_relation() {
    let statements = parsed(
        "CREATE SINK history WITH (connector = 'parquet', partition_by = 'day') AS SELECT * FROM features;
         CREATE SINK late FROM readings.late WITH (connector = 'stdout');
         INSERT INTO press_drive SELECT line, speed FROM setpoints WHERE feasible;
         INSERT INTO press_drive (line, speed) SELECT line, speed FROM setpoints;",
    );
    let [
        Statement::CreateSink(history),
        Statement::CreateSink(late),
        Statement::InsertInto(plain),
        Statement::InsertInto(named),
    ] = statements.as_slice()
    else {
        panic!("{statements:?}");
    };
    assert_eq!(history.query.text, "SELECT * FROM features");
    assert_eq!(late.query.query.to_string(), "SELECT * FROM readings.late");
    assert_eq!(
        (plain.target.value.as_str(), plain.columns.len(), named.columns.len()),
        ("press_drive", 0, 2)
    );
}

#[test]
fn names_fold_to_lower_case_unless_quoted_and_may_be_keywords() {
    let source =
        source("CREATE SOURCE \"Pump 1\" (Value DOUBLE, \"Volume Flow\" DOUBLE, \"order\" INT, time TEXT)");
    assert_eq!(source.name.value, "Pump 1");
    let names: Vec<_> = source.columns.iter().map(|column| column.name.value.as_str()).collect();
    assert_eq!(names, ["value", "Volume Flow", "order", "time"]);
}

#[test]
fn places_point_into_the_file_behind_tabs_and_other_statements() {
    let text = "CREATE VIEW ä AS SELECT 1;\n\t/* Ω */ CREATE VIEW b AS\n\tSELECT größe FROM \"Ω\";";
    let files = file(text);
    let (statements, _) = parse(&files);
    let Statement::CreateView(view) = &statements[1] else { panic!() };
    assert_eq!(files[0].slice(view.query.span), "SELECT größe FROM \"Ω\"");
    let select = view.query.query.body.as_select().unwrap();
    use datafusion::sql::sqlparser::ast::Spanned;
    let place = StatementText::new(&files, view.span).span_of(select.projection[0].span()).unwrap();
    assert_eq!(files[0].slice(place), "größe");
}

#[test]
fn five_mistakes_give_five_messages_each_at_its_place() {
    let text = "
        CREATE SOURCE a (ts TIMESTAMP, x DUBLE, WATERMARK FOR tss);
        CREATE VIEW b AS SELECT x FROM a WHERE > 3;
        CREATE SINK c WITH (connector = 'file' path = ';') AS SELECT 1;
        DROP VIEW b;
        CREATE VIEW fine AS SELECT 'it''s; fine';";
    assert_eq!(
        errors(text),
        [
            pair("type \"DUBLE\" not found", "DUBLE"),
            pair("column \"tss\" not found", "tss"),
            pair("expected an expression, found \">\"", ">"),
            pair("expected \",\" or \")\", found \"path\"", "path"),
            pair("expected CREATE or INSERT INTO, found \"DROP\"", "DROP"),
        ]
    );
    let (statements, _) = parse(&file(text));
    let names: Vec<_> = statements.iter().map(|statement| statement.name().value.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "fine"]);
    assert!(matches!(statements[0], Statement::Broken(_)));
    assert!(matches!(statements[3], Statement::CreateView(_)));
}

#[test]
fn a_quote_or_comment_that_is_never_closed_loses_one_statement_only() {
    let text = "CREATE VIEW a AS SELECT 1; CREATE VIEW b AS SELECT 'x; CREATE VIEW c AS SELECT 2; CREATE VIEW c AS SELECT;";
    let files = file(text);
    let (statements, errors) = parse(&files);
    let names: Vec<_> = statements.iter().map(|statement| statement.name().value.as_str()).collect();
    assert_eq!(names, ["a", "c", "c"]);
    assert_eq!(errors[0].to_string(), "this quote is never closed");
    assert_eq!(files[0].position(errors[0].span().unwrap().start).column, 52);
    assert_eq!(errors[1].to_string(), "expected an expression, found end of statement");
    assert_eq!(error("CREATE VIEW a AS SELECT 1; /* x").0, "a comment is never closed");
}

#[test]
fn wrong_statements_say_what_is_allowed() {
    for (text, message, place) in [
        ("SELECT 1", "expected CREATE or INSERT INTO, found \"SELECT\"", "SELECT"),
        ("CREATE OR REPLACE VIEW v AS SELECT 1", "not supported yet: OR REPLACE", "OR REPLACE"),
        ("CREATE SOURCE IF NOT EXISTS s (a INT)", "not supported yet: IF NOT EXISTS", "IF NOT EXISTS"),
        (
            "CREATE INDEX i",
            "expected SOURCE, TABLE, VIEW, MODEL, RULES, OPTIMIZER, ACTUATOR or SINK, found \"INDEX\"",
            "INDEX",
        ),
        ("CREATE TABLE t AS SELECT 1", "expected \"(\" and the columns, found \"AS\"", "AS"),
        ("CREATE VIEW v AS SELECT (1 FROM t", "expected \")\", found \"FROM\"", "FROM"),
        ("CREATE SOURCE s (a INT", "\"(\" is never closed", "("),
        ("CREATE SOURCE s (a)", "expected a type, found \")\"", ")"),
        (
            "CREATE VIEW a AS SELECT 1 FROM t CREATE VIEW b AS SELECT 1",
            "expected end of statement, found \"VIEW\"",
            "VIEW",
        ),
        ("CREATE SOURCE s (a TIME)", "not supported yet: type TIME", "TIME"),
        ("CREATE SOURCE s (a INT, A TEXT)", "column \"a\" is declared twice", "A"),
        ("CREATE SOURCE s (a INT, WATERMARK FOR a)", "event time \"a\" is Int32, but must be TIMESTAMP", "a"),
        ("CREATE SOURCE s (a INT) WITH (qos = 1, qos = 2)", "option \"qos\" is declared twice", "qos"),
        ("CREATE SOURCE s (a INT) WITH (format = json)", "expected a value, found \"json\"", "json"),
        (
            "CREATE VIEW v AS SELECT 1 EMIT EVERY INTERVAL '1' MONTH",
            "interval \"1 MONTH\" has no fixed length",
            "INTERVAL '1' MONTH",
        ),
        (
            "CREATE VIEW v AS SELECT 1 EMIT EVERY INTERVAL '0' SECOND",
            "interval \"0 SECOND\" is not longer than zero",
            "INTERVAL '0' SECOND",
        ),
        (
            "CREATE SINK s WITH (connector = 'x')",
            "expected AS and a query, or FROM and a view before WITH, found end of statement",
            "",
        ),
        (
            "CREATE VIEW v AS SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY m PATTERN (A B+) DEFINE A AS x > 1 WITHIN INTERVAL '1' MINUTE)",
            "not supported yet: MATCH_RECOGNIZE",
            "MATCH_RECOGNIZE",
        ),
        (
            "CREATE OPTIMIZER o MINIMIZE x FROM t EVERY INTERVAL '1' SECOND OVER (x DOUBLE)",
            "variable \"x\" has no range",
            "x DOUBLE",
        ),
        (
            "CREATE OPTIMIZER o MINIMIZE x OVER (x DOUBLE BETWEEN 1 AND 2) FROM t",
            "optimizer \"o\" is not complete",
            "o",
        ),
        ("CREATE ACTUATOR a (x DOUBLE BETWEEN 9 AND 1)", "range from 9 to 1 is empty", "BETWEEN 9 AND 1"),
        (
            "CREATE ACTUATOR a (x TEXT BETWEEN 1 AND 9)",
            "column \"x\" with a range is Utf8, but must be a number",
            "x TEXT BETWEEN 1 AND 9",
        ),
        (
            "CREATE ACTUATOR a (x DOUBLE BETWEEN 1 AND 9) FAILSAFE (x = -1)",
            "failsafe value -1 of column \"x\" is outside of 1 to 9",
            "-1",
        ),
        ("CREATE ACTUATOR a (x DOUBLE) KEY (y)", "column \"y\" not found", "y"),
        ("CREATE ACTUATOR a (x DOUBLE) KEY (x) KEY (x)", "KEY appears twice", "KEY"),
    ] {
        assert_eq!(error(text), pair(message, place), "{text}");
    }
}

#[test]
fn a_name_is_declared_once_in_all_files() {
    let files = [
        SourceFile::new("a.sql", "CREATE SOURCE s (a INT); CREATE SINK s FROM s WITH (connector = 'stdout')"),
        SourceFile::new("b.sql", "CREATE VIEW s AS SELECT 1"),
    ];
    let (statements, errors) = parse(&files);
    assert_eq!(statements.len(), 3);
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].to_string(), "table or view \"s\" is declared twice");
    assert_eq!((errors[0].span().unwrap().file, errors[0].notes()[0].span.unwrap().file), (1, 0));
}

struct Given(HashMap<&'static str, &'static str>);

impl Environment for Given {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|text| (*text).to_owned())
    }

    fn secret(&self, name: &str) -> Option<String> {
        self.variable(name)
    }

    fn secret_help(&self, _name: &str) -> String {
        "write the file".into()
    }
}

#[test]
fn placeholders_are_replaced_and_missing_ones_reported() {
    let given = Given(HashMap::from([("HOST", "plant"), ("mqtt", "hunter2")]));
    let files = file(
        "CREATE TABLE t (a INT) WITH (url = 'mqtt://u:${secret:mqtt}@${env:HOST}/{line}', plain = '$5')",
    );
    let (statements, errors) = parse_with(&files, &given);
    assert_eq!(errors, []);
    let Statement::CreateTable(table) = &statements[0] else { panic!() };
    assert_eq!(table.options.text("url"), Some("mqtt://u:hunter2@plant/{line}"));
    assert_eq!(table.options.text("plain"), Some("$5"));
    assert!(!format!("{table:?}").contains("hunter2"));

    let files = file(
        "CREATE TABLE t (a INT) WITH (a = '${env:NONE}', b = '${secret:../passwd}', c = '${x', d = '${secret:no}')",
    );
    let (_, errors) = parse_with(&files, &given);
    let messages: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        messages,
        [
            "environment variable \"NONE\" is not set",
            "\"${secret:../passwd}\" is no placeholder",
            "\"${x\" is no placeholder",
            "secret \"no\" is not set",
        ]
    );
    assert_eq!(errors[3].help().unwrap(), "write the file");
}

#[test]
fn one_query_alone_can_be_read() {
    assert_eq!(parse_select(&file("SELECT 1;")[0]).unwrap().text, "SELECT 1");
    assert!(parse_select(&file("SELECT 1; SELECT 2")[0]).is_err());
    assert!(parse_select(&file("-- nothing")[0]).is_err());
}
