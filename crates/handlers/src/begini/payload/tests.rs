//! Parses bodies that Begini sends today, and bodies that it might send.

use super::*;

fn row(body: &str) -> Result<Row, Unfit> {
    let body = bytes::Bytes::copy_from_slice(body.as_bytes());
    super::row(&Json::read(&body).expect("the body must be JSON"))
}

#[test]
fn a_score_is_read_exactly() {
    let body = r#"{"uid":"u-12345","integration_id":"12345678901234567890","event":{
        "type":"psychometric_score.complete","new":1e400,"details":{"scored_at":1764000000,
        "platform":"WEB","more":0.10,"calculated":{"score":712,"risk_band":"B",
        "score_confidence":"0.333333333333333","flags":["x"],
        "traits":[{"key":"a","value":7,"risk_band":null,"z":1.50},
                  {"key":"b","value":"0.90"}]}}}}"#;
    let Ok(Row::Score(score)) = row(body) else {
        panic!("the row must be a score")
    };
    assert_eq!(score.score, 712);
    assert_eq!(score.score_confidence.as_deref(), Some("0.333333333333333"));
    assert_eq!(
        score.other,
        r#"{"calculated":{"flags":["x"]},"details":{"more":0.10},"new":1e400}"#
    );
    let values: Vec<&str> = score.traits.iter().map(|t| t.value.as_str()).collect();
    assert_eq!(values, ["7", "0.90"]);
    assert_eq!(score.traits[0].other, r#"{"z":1.50}"#);
    assert_eq!(score.application_started_at, None);
}

/// A member without a column keeps its text: white space, escapes, and strings that are not Unicode
/// text.
#[test]
fn other_fields_keep_their_text() {
    let body = r#"{"uid":"u-12345","integration_id":"1","event":{"type":"ios_score.complete",
        "new":{ "b" : 1.0, "a" : "\u00e9" },"details":{"platform":"\ud800",
        "calculated":{"score":1,"traits":[{"key":"k","value":{ "x" : 1 }}]}}}}"#;
    let Ok(Row::Score(score)) = row(body) else {
        panic!("the row must be a score")
    };
    assert_eq!(score.other, r#"{"new":{ "b" : 1.0, "a" : "\u00e9" }}"#);
    assert_eq!(score.platform.as_deref(), Some(r#""\ud800""#));
    assert_eq!(score.traits[0].value, r#"{ "x" : 1 }"#);
}

/// A number that the JSON Schemas accept as an integer is parsed as that integer.
#[test]
fn a_whole_number_is_read_however_it_is_written() {
    let score = |score: &str, at: &str| {
        let body = format!(
            r#"{{"uid":"u-12345","integration_id":"1","event":{{
            "type":"ios_score.complete","details":{{"scored_at":{at},
            "application_started_at":{at},"application_completed_at":{at},
            "calculated":{{"score":{score}}}}}}}}}"#
        );
        match row(&body) {
            Ok(Row::Score(score)) => {
                assert_eq!(score.application_started_at, score.scored_at);
                assert_eq!(score.application_completed_at, score.scored_at);
                (score.score, score.scored_at)
            }
            other => panic!("{other:?}"),
        }
    };
    for text in ["712", "712.0", "7.12e2"] {
        assert_eq!(score(text, "null"), (712, None), "{text}");
    }
    // A 64-bit float cannot represent this integer exactly, so its two spellings must not be parsed
    // as floats.
    let large = 9_007_199_254_740_993;
    assert_eq!(
        score("9007199254740993.0", "9.007199254740993e15"),
        (large, Some(large))
    );
    for (kind, ended) in [
        ("complete", "application_completed_at"),
        ("expired", "application_expired_at"),
        ("incomplete", "application_ended_at"),
        ("cancelled", "application_cancelled_at"),
    ] {
        let body = format!(
            r#"{{"uid":"u-12345","integration_id":"1","event":{{
            "type":"application.{kind}","details":{{
            "application_started_at":1.0,"{ended}":2e0}}}}}}"#
        );
        let Ok(Row::Application(application)) = row(&body) else {
            panic!("the row must be an application")
        };
        let times = (application.started_at, application.ended_at);
        assert_eq!(times, (Some(1), Some(2)), "{kind}");
    }
}

#[test]
fn an_application_keeps_reasons_and_percentages() {
    let body = r#"{"uid":"u-12345","integration_id":"1","event":{
        "type":"application.incomplete","reasons":["LEFT"],"details":{
        "application_started_at":1,"percentage_complete":"0.333333333333333"}}}"#;
    let Ok(Row::Application(application)) = row(body) else {
        panic!("the row must be an application")
    };
    assert_eq!(application.status, "incomplete");
    assert_eq!(
        application.percentages,
        r#"{"percentage_complete":"0.333333333333333"}"#
    );
    assert_eq!(application.reasons.as_deref(), Some(r#"["LEFT"]"#));
    assert_eq!(application.other, "{}");
}

#[test]
fn an_unfit_body_is_refused_with_its_field() {
    let event =
        |event: &str| format!(r#"{{"uid":"u-12345","integration_id":"1","event":{event}}}"#);
    let unfit = |field: &str, problem| Unfit {
        field: field.into(),
        problem,
    };
    assert_eq!(
        row(&event(r#"{"type":"a.new.type","details":7e9}"#)).err(),
        Some(unfit("details", "is of another type"))
    );
    assert_eq!(row(&event(r#"{"type":"a.new.type"}"#)), Ok(Row::Unknown));
    let other = r#"{"uid":"u","integration_id":"1","more":1,"more":2,"event":{"type":"new"}}"#;
    assert_eq!(
        row(other),
        Ok(Row::Unknown),
        "a body must be accepted although it has a member twice that hookbox does not read"
    );
    assert_eq!(row(&event("{}")), Err(unfit("type", "is missing")));
    for (body, field, problem) in [
        ("[]", "the body", "is of another type"),
        (r#"{"integration_id":"1","event":{}}"#, "uid", "is missing"),
        (
            r#"{"uid":7,"integration_id":"1","event":{}}"#,
            "uid",
            "is of another type",
        ),
        (r#"{"uid":"u","integration_id":"1"}"#, "event", "is missing"),
        (
            r#"{"uid":"u","uid":"v","integration_id":"1","event":{}}"#,
            "uid",
            "occurs twice",
        ),
    ] {
        assert_eq!(row(body), Err(unfit(field, problem)), "{body}");
    }
    let no_score = r#"{"type":"ios_score.complete","details":{"calculated":{}}}"#;
    assert_eq!(row(&event(no_score)), Err(unfit("score", "is missing")));
    let float = r#"{"type":"ios_score.complete","details":{"calculated":{"score":1.5}}}"#;
    assert_eq!(
        row(&event(float)),
        Err(unfit("score", "is not a whole number of 64 bits"))
    );
    let text = r#"{"type":"ios_score.complete","details":{"calculated":{"score":"1"}}}"#;
    assert_eq!(row(&event(text)), Err(unfit("score", "is of another type")));
    let nul = r#"{"type":"ios_score.complete","details":{"calculated":{"score":1,
        "risk_band":"\u0000"}}}"#;
    assert_eq!(
        row(&event(nul)),
        Err(unfit("risk_band", "contains a NUL character"))
    );
}
