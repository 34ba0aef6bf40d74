//! Tests which settings of the handler `sql` are accepted, and which SQL its statements become.

use super::program::Slot;
use super::*;
use Dialect::{Postgres as Pg, Sqlite as Lite};
use parameter::Source;

const PARAMETERS: &str = r#""parameters":{"uid":{"pointer":"/uid","type":"text"},
    "score":{"pointer":"/score","type":"decimal","required":false}}"#;

/// Reads settings with this text of the statements. `others` are further keys, as JSON.
fn settings(text: &str, others: &str) -> Settings {
    let comma = if others.is_empty() { "" } else { "," };
    let json = format!(
        r#"{{"statements":{{"text":{}}}{comma}{others}}}"#,
        serde_json::Value::from(text)
    );
    serde_json::from_str(&json).expect("the settings must be readable")
}

fn program(text: &str, others: &str, dialect: Dialect) -> Result<Program, InvalidSettings> {
    Program::new(&settings(text, others), Path::new("."), dialect)
}

#[track_caller]
fn refused(text: &str, others: &str, dialect: Dialect, expect: &str) {
    let error = program(text, others, dialect).expect_err(text).to_string();
    assert!(error.contains(expect), "{error}");
}

#[test]
fn parameters_get_numbers_and_types() {
    let text = "insert into t values (:uid, :score, :body, :uid); select :score::text, :attempt";
    let program = program(text, PARAMETERS, Pg).expect("the settings must be valid");
    let [first, second] = &program.statements[..] else {
        panic!("there must be two statements");
    };
    assert_eq!(
        &*first.statement.sql,
        "insert into t values (($1), ($2::pg_catalog.numeric), ($3::pg_catalog.json), ($1))"
    );
    assert_eq!(
        &*second.statement.sql,
        "select ($1::pg_catalog.numeric)::text, ($2)"
    );
    // The handler's own parameters are in the order of their names.
    let own = |at, kind| Slot {
        source: Source::Own(at),
        kind,
    };
    let body = Slot {
        source: Source::Body,
        kind: Kind::Json,
    };
    assert_eq!(
        first.slots,
        [own(1, Kind::Text), own(0, Kind::Decimal), body]
    );
    let attempt = Slot {
        source: Source::Attempt,
        kind: Kind::Bigint,
    };
    assert_eq!(second.slots, [own(0, Kind::Decimal), attempt]);
}

#[test]
fn a_batch_has_arrays_on_postgres_and_text_on_sqlite() {
    let others = format!("{PARAMETERS},\"batch\":true");
    let on = |text, dialect| {
        let program = program(text, &others, dialect).expect("the settings must be valid");
        program.statements[0].statement.sql.to_string()
    };
    assert_eq!(
        on("select :uid, :score, :received_at", Pg),
        "select ($1), ($2::pg_catalog.numeric[]), ($3::pg_catalog.timestamptz[])"
    );
    assert_eq!(
        on("select :uid ->> 0, :score, :received_at", Lite),
        "select (?1) ->> 0, (?2), (?3)"
    );
}

#[test]
fn a_statement_for_one_event_is_refused_in_a_batch() {
    let text = "select 1;\n insert into t values (:uid, :score)";
    let others = format!("{PARAMETERS},\"batch\":true");
    refused(
        text,
        &others,
        Lite,
        "statements.text, line 2, column 2: with `batch = true` the statement runs once for all \
         events of a batch, and each parameter is the text of a JSON array with a value for each \
         event; read the values from json_each(:NAME), and",
    );
    refused(
        text,
        &others,
        Pg,
        "each parameter is an array with a value for each event; read the values from unnest(",
    );
    for dialect in [Pg, Lite] {
        assert!(program(text, PARAMETERS, dialect).is_ok());
    }
}

#[test]
fn a_parameter_must_exist_and_be_used() {
    refused(
        "select :uid;\n select :scores, :score",
        PARAMETERS,
        Pg,
        "statements.text, line 2, column 9: there is no parameter :scores; set \
         parameters.scores, or use one of :event_id, :event_number, :receipt_id, :topic, \
         :received_at, :attempt, :round, :body, :score, :uid",
    );
    refused(
        "select :uid",
        PARAMETERS,
        Pg,
        "parameters.score: no statement uses it",
    );
    let own = |name: &str| format!(r#""parameters":{{"{name}":{{"pointer":"/a","type":"json"}}}}"#);
    refused(
        "select 1",
        &own("body"),
        Lite,
        "every event has a parameter of this name",
    );
    refused("select 1", &own("a-b"), Lite, "a name consists of");
}

#[test]
fn a_mistake_in_the_text_has_its_place() {
    let text = "select 1;\n -- here\n commit";
    refused(
        text,
        "",
        Pg,
        "statements.text, line 3, column 2: a statement must begin with",
    );
    refused(
        "select ?",
        "",
        Lite,
        "line 1, column 8: parameters are written by name",
    );
    let many = "select 1;".repeat(33);
    refused(&many, "", Pg, "33 statements, and at most 32 are allowed");
    let long = format!("select '{}'", "x".repeat(300_000));
    refused(&long, "", Pg, "statements.text is longer than 262144 bytes");
}

#[test]
fn a_role_is_only_for_postgres() {
    let program = program("select 1", r#""role":"app""#, Pg).expect("the settings must be valid");
    assert_eq!(program.role.as_deref(), Some("app"));
    refused("select 1", r#""role":"app""#, Lite, "SQLite has no roles");
    for role in ["", "none"] {
        refused(
            "select 1",
            &format!(r#""role":"{role}""#),
            Pg,
            "cannot be the name of a role",
        );
    }
}

#[test]
fn the_text_is_in_a_file_or_in_the_config() {
    let both: Settings =
        serde_json::from_str(r#"{"statements":{"text":"select 1","file":"a.sql"}}"#)
            .expect("the settings must be readable");
    let none: Settings =
        serde_json::from_str(r#"{"statements":{}}"#).expect("the settings must be readable");
    for settings in [both, none] {
        let error =
            Program::new(&settings, Path::new("."), Pg).expect_err("settings must name one text");
        assert!(matches!(error, InvalidSettings::NoText));
    }
    let file = |name: &str| -> Settings {
        serde_json::from_str(&format!(r#"{{"statements":{{"file":"{name}"}}}}"#))
            .expect("the settings must be readable")
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let error = Program::new(&file("src/absent.sql"), folder, Pg)
        .expect_err("an absent file must be refused");
    assert!(
        error.to_string().contains("src/absent.sql cannot be read"),
        "{error}"
    );
    // Any text file of this folder will do: the error shows that the path is relative to the
    // folder.
    let error = Program::new(&file("Cargo.toml"), folder, Pg)
        .expect_err("a file without SQL must be refused");
    assert!(
        error
            .to_string()
            .starts_with("Cargo.toml, line 1, column 1: "),
        "{error}"
    );
}

#[test]
fn a_parameter_is_required_unless_it_may_be_absent() {
    let program =
        program("select :uid, :score", PARAMETERS, Lite).expect("the settings must be valid");
    let own = program.own.iter();
    let own: Vec<_> = own.map(|it| (it.name.as_str(), it.is_required)).collect();
    assert_eq!(own, [("score", false), ("uid", true)]);
}

#[test]
fn an_unknown_key_is_refused() {
    for json in [
        r#"{"statements":{"text":"select 1"},"sql":1}"#,
        r#"{"statements":{"text":"select 1","path":"a"}}"#,
        r#"{"statements":{"text":"select 1"},"parameters":{"a":{"pointer":"/a","type":"int"}}}"#,
        r#"{"statements":{"text":"select 1"},"parameters":{"a":{"pointer":"a","type":"text"}}}"#,
        r#"{"statements":{"text":"select 1"},"errors":{"fatal":[]}}"#,
    ] {
        assert!(serde_json::from_str::<Settings>(json).is_err(), "{json}");
    }
}
