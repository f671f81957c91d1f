//! Mistakes beside each other: wrong names, options, and clauses of actuators.

use super::check;

#[test]
fn all_wrong_names_of_a_query_are_told() {
    let said = check(
        "CREATE VIEW v AS SELECT machin, avg(spd + y) AS a, rmss(x) AS f FROM readings WHERE xx > 3 AND z = 1 GROUP BY machne;
CREATE VIEW w AS SELECT count(*) AS n FROM TUMBLE(readings, tz, INTERVAL '5' SECOND) WHERE xz > 1 GROUP BY window_start HAVING nn > 3;
CREATE VIEW u AS SELECT r.xx FROM (SELECT machn, xx FROM readings) AS r WHERE r.machn = 'a' ORDER BY yy;
CREATE SINK s FROM nothing WITH (connector = 'stdout', fromat = 'csv', partition_by = 'day');",
    );
    let places = [
        "5:25", "5:37", "5:43", "5:52", "5:85", "5:96", "5:111", "6:61", "6:92", "6:128", "7:43", "7:50",
        "7:102", "8:20", "8:56", "8:72",
    ];
    let told: Vec<&str> = said.err.lines().filter_map(|line| line.strip_prefix("  --> plant.sql:")).collect();
    assert_eq!(told, places, "{}", said.err);
}

#[test]
fn options_are_looked_at_beside_other_mistakes_and_a_mistake_is_told_once() {
    let said = check(
        "CREATE TABLE t (a INT, PRIMARY KEY (b)) WITH (connector = 'fil', path = 'x');
CREATE ACTUATOR p WITH (connector = 'mqtt', topc = 'x') (speed DOUBLE BETWEEN 40 AND 10);
CREATE ACTUATOR q WITH (connector = 'mqtt', url = 'mqtt://h', topic = 'x/{recipe}') (line TEXT, recipe TEXT, speed DOUBLE BETWEEN 10 AND 40) KEY (line) FAILSAFE (speed = 10);
INSERT INTO q SELECT x AS speed FROM nothing;",
    );
    let said = said
        .tells("column \"b\" not found\n  --> plant.sql:5:37")
        .tells("there is no connector \"fil\"\n  --> plant.sql:5:47")
        .tells("mqtt sink has no option \"topc\"\n  --> plant.sql:6:45")
        .tells("range from 40 to 10 is empty\n  --> plant.sql:6:71")
        .tells("a failsafe has no value of \"recipe\" for the topic\n  --> plant.sql:7:")
        .tells("table or view \"nothing\" not found\n  --> plant.sql:8:38");
    assert_eq!(said.err.matches("error:").count(), 6, "{}", said.err);
}

#[test]
fn what_is_wrong_with_an_actuator_is_told_by_check() {
    let of = |declared: &str, insert: &str| {
        check(&format!(
            "CREATE ACTUATOR p WITH (connector = 'mqtt', url = 'mqtt://h', topic = 'x') {declared};
INSERT INTO p {insert};"
        ))
    };
    let plain = "(line TEXT, speed INT BETWEEN 0 AND 40) KEY (line)";
    let good = "SELECT machine AS line, x AS speed FROM readings";
    for (declared, insert, message) in [
        (
            "(time DOUBLE)",
            "SELECT x FROM readings",
            "column \"time\" has the name of one that every actuator has",
        ),
        ("(expires_at TIMESTAMP)", "SELECT ts FROM readings", "column \"expires_at\" has the name of one"),
        ("(line TEXT, speed INT) KEY (line, line)", good, "column \"line\" appears twice"),
        (
            "(line TEXT, speed INT) KEY (line) FAILSAFE (speed = 1, speed = 2)",
            good,
            "column \"speed\" appears twice",
        ),
        (
            "(line TEXT, speed INT) KEY (line) FAILSAFE (speed = 1.5)",
            good,
            "failsafe value 1.5 is no value of column \"speed\"",
        ),
        (
            "(line TEXT, speed INT) KEY (line) FAILSAFE (speed = 3000000000)",
            good,
            "is no value of column \"speed\"",
        ),
        ("(line INT, speed INT) KEY (line) FAILSAFE (line = 1)", good, "column \"line\" is the key"),
        (
            "(line TEXT, speed INT) FAILSAFE (line = 1)",
            good,
            "failsafe of column \"line\", which is no number",
        ),
        (
            plain,
            "SELECT x, machine FROM readings",
            "column \"speed\" of actuator \"p\" is TEXT, but must be INT",
        ),
        ("(speed INT) KEY (speed) KEY (speed)", "SELECT x FROM readings", "KEY appears twice"),
        (plain, "SELECT line, speed FROM p.log", "actuator \"p\" is commanded from its own log"),
    ] {
        let said = of(declared, insert).tells(message);
        assert_eq!(said.err.matches("error:").count(), 1, "{}", said.err);
    }
    let by_line = "CREATE ACTUATOR p WITH (connector = 'mqtt', url = 'mqtt://h', topic = 'x/{machine}')
    (line TEXT, machine TEXT, speed INT BETWEEN 0 AND 40 MAX STEP 2) KEY (line);
INSERT INTO p SELECT machine AS line, machine, x AS speed FROM readings;";
    check(by_line).tells("MAX STEP is per KEY, and column \"machine\" of the topic is not in it");
    let retained = "CREATE ACTUATOR p WITH (connector = 'mqtt', url = 'mqtt://h', topic = 'x', retain = true) (speed INT);
INSERT INTO p SELECT x AS speed FROM readings;";
    check(retained).tells("a command is not retained");
    let beyond = "CREATE ACTUATOR p WITH (connector = 'mqtt', url = 'mqtt://h', topic = 'x', beyond_step = 'clamp') (speed INT);
INSERT INTO p SELECT x AS speed FROM readings;";
    check(beyond).tells("beyond_step \"clamp\" is not known").tells("use 'reject' or 'approach'");
    let by_http = "CREATE ACTUATOR p WITH (connector = 'http', url = 'http://h/x') (speed INT);
INSERT INTO p SELECT x AS speed FROM readings;";
    check(by_http).tells("an http sink takes no commands");
}

#[test]
fn a_parquet_file_holds_no_interval() {
    let sink = "CREATE SINK o WITH (connector = 'parquet', path = 'o') AS SELECT ts, INTERVAL '1' MONTH AS v FROM readings;";
    check(sink).tells("column \"v\" is an INTERVAL, which a Parquet file cannot hold");
}
