//! `CREATE RULES` in a program: who has the last word, and what is told of rules that are wrong.

use std::fs;
use std::path::Path;

use crate::support::{Said, lineshaft};

/// What a model may have said of a press, beside what was measured.
const SCORED: &str = "n,temperature,vibration,alarm,state
1,20,3,true,worn
2,2,3,true,worn
3,2,12,false,good
4,20,12,false,good
5,,3,true,worn
6,20,,,\n";

const SOURCE: &str =
    "CREATE SOURCE scored (n BIGINT, temperature DOUBLE, vibration DOUBLE, alarm BOOLEAN, state TEXT)
    WITH (connector = 'file', path = 'scored.csv', format = 'csv');\n";

fn program(folder: &Path, statements: &str) {
    fs::write(folder.join("scored.csv"), SCORED).unwrap();
    fs::write(folder.join("plant.sql"), format!("{SOURCE}{statements}")).unwrap();
}

/// The rows of the sink `seen`, as CSV.
fn rows(statements: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    program(folder.path(), statements);
    lineshaft(folder.path(), &["run", "plant.sql", "--data", "data"]).exits(0);
    let sql = "SELECT * FROM seen ORDER BY n";
    lineshaft(folder.path(), &["query", sql, "--data", "data", "--format", "csv"]).exits(0).out
}

#[test]
fn a_veto_and_a_rule_decide_by_their_priority() {
    let of = |veto: i32, limit: i32| {
        rows(&format!(
            "CREATE RULES decided FROM scored DECIDE alarm (
                beyond_limit WHEN vibration > 11 THEN SET TRUE PRIORITY {limit},
                cold_start   WHEN temperature < 5 THEN VETO PRIORITY {veto});
             CREATE SINK seen WITH (connector = 'parquet', path = 'seen') AS
             SELECT n, decision, decided_by, array_to_string(fired, ' ') AS fired FROM decided;"
        ))
    };
    let expected = "n,decision,decided_by,fired\n\
        1,true,model,\n\
        2,false,cold_start,cold_start\n\
        3,false,cold_start,cold_start beyond_limit\n\
        4,true,beyond_limit,beyond_limit\n\
        5,true,model,\n\
        6,,model,\n";
    assert_eq!(of(2, 1).replace("\"\"", ""), expected);
    assert_eq!(of(0, 0).replace("\"\"", ""), expected, "a veto stands above a rule of its priority");
    let limit_first = expected
        .replace("3,false,cold_start,cold_start beyond_limit", "3,true,beyond_limit,beyond_limit cold_start");
    assert_eq!(of(1, 2).replace("\"\"", ""), limit_first);
}

#[test]
fn rules_stand_above_classes_and_numbers_and_ask_models() {
    let seen = rows(
        "CREATE VIEW normal AS SELECT temperature, vibration FROM scored WHERE vibration IS NOT NULL AND temperature IS NOT NULL;
         CREATE MODEL usual WITH (algorithm = 'pca', components = 1, test_fraction = 0) AS SELECT * FROM normal;
         CREATE RULES states FROM scored DECIDE state (
             unlike_anything WHEN model_value('usual', 'score', temperature, vibration) > 1e9 THEN SET 'unknown' PRIORITY 9,
             not_when_cold WHEN temperature < 5 THEN VETO ('worn', 'broken'),
             limit_of_vibration WHEN vibration > 11 THEN SET 'broken' PRIORITY -1) ON VETO 'cold';
         CREATE RULES speeds FROM scored DECIDE vibration (halved WHEN NOT alarm THEN SET 5);
         CREATE SINK seen WITH (connector = 'parquet', path = 'seen') AS
         SELECT n, decision AS state, decided_by AS state_by, 0.0 AS speed FROM states
         UNION ALL SELECT n + 10, '', decided_by, decision FROM speeds WHERE n < 4;",
    );
    let expected = "n,state,state_by,speed\n\
        1,worn,model,0.0\n\
        2,cold,not_when_cold,0.0\n\
        3,cold,not_when_cold,0.0\n\
        4,broken,limit_of_vibration,0.0\n\
        5,worn,model,0.0\n\
        6,,model,0.0\n\
        11,,model,3.0\n\
        12,,model,3.0\n\
        13,,halved,5.0\n";
    assert_eq!(seen.replace("\"\"", ""), expected);
}

#[track_caller]
fn check(rules: &str) -> Said {
    let folder = tempfile::tempdir().unwrap();
    program(folder.path(), rules);
    lineshaft(folder.path(), &["check", "plant.sql"]).exits(1)
}

#[test]
fn what_is_wrong_with_a_rule_is_told_at_its_place() {
    let of = |rule: &str| check(&format!("CREATE RULES decided FROM scored DECIDE alarm (\n  {rule});"));
    of("hot WHEN temperature THEN SET TRUE").tells("the condition of rule \"hot\"").tells("plant.sql:4:12");
    of("hot WHEN temperature > 5 THEN SET 'yes'").tells("the value of rule \"hot\"").tells("plant.sql:4:37");
    of("hot WHEN temprature > 5 THEN VETO").tells("temprature").tells("did you mean").tells("plant.sql:4:12");
    of("hot WHEN temperature > 5 THEN TRUE").tells("VETO or SET").tells("plant.sql:4:33");
    of("hot WHEN alarm THEN VETO, hot WHEN alarm THEN VETO").tells("hot").tells("plant.sql:4:29");
    of("model WHEN alarm THEN VETO").tells("give the rule another name").tells("plant.sql:4:3");
    check("CREATE RULES decided FROM scored DECIDE alrm (hot WHEN alarm THEN VETO);")
        .tells("alrm")
        .tells("plant.sql:3:41");
    check("CREATE RULES decided FROM scored DECIDE state (hot WHEN alarm THEN VETO) ON VETO 7;")
        .tells("the value of ON VETO")
        .tells("plant.sql:3:82");
    check("CREATE RULES decided FROM away DECIDE state (hot WHEN alarm THEN VETO);").tells("away");
    check(
        "CREATE RULES decided FROM scored DECIDE alarm (hot WHEN alarm THEN VETO);
         CREATE RULES again FROM decided DECIDE alarm (hot WHEN alarm THEN VETO);",
    )
    .tells("already have a column \"decision\"");
}
