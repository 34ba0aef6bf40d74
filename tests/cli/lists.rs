//! Commands that list: paging, filters and mistyped names.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::development::Development;

#[test]
fn a_list_is_read_to_its_end() {
    let dev = Development::start("a_list_is_read_to_its_end");
    dev.generate(&["--count", "40", "--malformed", "50", "--seed", "5"])
        .well();
    dev.settle();
    let ids = |list: &Value, rows: &str, id: &str| -> Vec<String> {
        let rows = list[rows].as_array().unwrap().iter();
        rows.map(|row| row[id].to_string()).collect()
    };
    for (command, rows, id) in [("events", "events", "event"), ("dead", "dead", "id")] {
        let whole = dev.json(&[command, "list", "--limit", "10000"]);
        assert_eq!(whole["next"], Value::Null);
        let (mut listed, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
        loop {
            let mut arguments = vec![command, "list", "--limit", "7"];
            if let Some(after) = &after {
                arguments.extend(["--after", after.as_str()]);
            }
            let page = dev.json(&arguments);
            listed.extend(ids(&page, rows, id));
            let next = match &page["next"] {
                Value::Null => break,
                Value::String(next) => next.clone(),
                next => next.to_string(),
            };
            let text = dev.run(&arguments).well().out;
            assert!(text.ends_with(&format!("next: --after {next}\n")), "{text}");
            after = Some(next);
        }
        assert_eq!(listed, ids(&whole, rows, id), "{command}");
        let distinct: BTreeSet<_> = listed.iter().collect();
        assert_eq!(distinct.len(), listed.len());
    }
    let total = dev.json(&["dead", "list", "--limit", "1"]);
    assert_eq!(
        total["total"],
        Value::Null,
        "a list must show no total when --total is not given"
    );
    let refused = dev.run(&["events", "list", "--after", "7"]);
    assert_eq!(refused.code, 2, "{refused:?}");
}

#[test]
fn times_and_errors_narrow_a_list() {
    let dev = Development::start("times_and_errors_narrow_a_list");
    dev.generate(&["--count", "20", "--malformed", "50", "--seed", "5"])
        .well();
    dev.settle();
    let count = |arguments: &[&str]| {
        let list = dev.json(&[arguments, &["--limit", "100"]].concat());
        list[arguments[0]].as_array().unwrap().len()
    };
    assert_eq!(count(&["events", "list", "--since", "1h"]), 20);
    assert_eq!(count(&["events", "list", "--until", "1h"]), 0);
    assert_eq!(count(&["events", "list", "--since", "+1h"]), 0);
    assert_eq!(count(&["events", "list", "--until", "2999-01-01"]), 20);
    let dead = count(&["dead", "list"]);
    assert_eq!(
        count(&["dead", "list", "--since", "2026-01-01T00:00:00Z"]),
        dead
    );
    assert_eq!(count(&["dead", "list", "--until", "2026-01-01"]), 0);
    assert_eq!(count(&["dead", "list", "--source", "begini"]), dead);
    assert_eq!(count(&["dead", "list", "--error", "%"]), 0);
    let with_text = count(&["dead", "list", "--error", "the body"]);
    assert!((1..dead).contains(&with_text));
    assert_eq!(count(&["events", "list", "--error", "the body"]), with_text);
    let refused = dev.run(&["events", "list", "--since", "yesterday"]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.err.contains("how long ago, such as 2h"),
        "{refused:?}"
    );
}

#[test]
fn a_mistyped_name_is_refused_with_the_known_ones() {
    let dev = Development::start("a_mistyped_name_is_refused_with_the_known_ones");
    dev.run(&["send", "--url", dev.url()]).well();
    dev.settle();
    for (arguments, known) in [
        (
            &["events", "list", "--route", "score"][..],
            "applications, scores, unrouted",
        ),
        (
            &["dead", "list", "--route", "score"],
            "applications, scores, unrouted",
        ),
        (&["dead", "groups", "--route", "score"], "scores"),
        (&["dead", "replay", "--route", "score", "--yes"], "scores"),
        (&["retries", "list", "--route", "score"], "scores"),
        (&["retries", "hurry", "--route", "score"], "scores"),
        (&["events", "list", "--source", "stripe"], "begini"),
        (&["refusals", "list", "--source", "stripe"], "begini"),
        (
            &["events", "list", "--topic", "begini.score"],
            "begini.ios_score.complete",
        ),
        (
            &["dead", "export", "--topic", "begini.score"],
            "begini.ios_score.complete",
        ),
    ] {
        let refused = dev.run(arguments);
        assert_eq!(refused.code, 2, "{refused:?}");
        let (_, names) = refused.err.split_once("the store know ").unwrap();
        assert!(names.contains(known), "{refused:?}");
        assert!(refused.out.is_empty());
    }
    // The store does not know these two names, because nothing has been received for them yet. The
    // commands must accept both as filters nevertheless, because the config has them.
    let of_config = ["events", "list", "--route", "unrouted"];
    dev.run(&of_config).well();
    dev.run(&["dead", "list", "--topic", "begini.application.expired"])
        .well();
}

#[test]
fn refusals_and_the_audit_are_listed() {
    let dev = Development::start("refusals_and_the_audit_are_listed");
    let shares = ["--tampered", "50", "--malformed", "20"];
    let load = [&["--count", "30", "--seed", "5"][..], &shares].concat();
    let tally = dev.generate(&load).well().json();
    let refused = tally["refused"].as_u64().unwrap();
    assert!(refused > 10, "{tally:#}");
    dev.settle();
    let began = Instant::now();
    // The test polls, because refusals are stored a moment after the request was answered.
    let groups = loop {
        let groups = dev.json(&["refusals", "groups"]);
        if groups["groups"][0]["count"] == refused {
            break groups;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{groups:#}");
    };
    let group = &groups["groups"][0];
    assert_eq!(
        (&group["source"], &group["peers"]),
        (&"begini".into(), &1.into())
    );
    let first = dev.json(&["refusals", "list", "--limit", "10"]);
    assert_eq!(first["refusals"].as_array().unwrap().len(), 10);
    let next = first["next"].as_str().unwrap();
    let rest = dev.json(&["refusals", "list", "--limit", "100", "--after", next]);
    let rest = rest["refusals"].as_array().unwrap().len() as u64;
    assert_eq!(rest + 10, group["count"].as_u64().unwrap());
    let none = dev.json(&["refusals", "list", "--until", "1h", "--source", "begini"]);
    assert_eq!(none["refusals"].as_array().unwrap().len(), 0);
    let text = dev.run(&["refusals", "list", "--limit", "1"]).well().out;
    assert!(
        text.contains("127.0.0.1") && text.contains("next: --after"),
        "{text}"
    );

    let discarded = dev.json(&["dead", "discard", "--all", "--yes", "--by", "ada"]);
    dev.run(&["dead", "restore", "--all", "--yes"]).well();
    let of_ada = dev.json(&["audit", "list", "--actor", "ada", "--limit", "100"]);
    let rows = of_ada["audit"].as_array().unwrap();
    assert_eq!(rows.len() as u64, discarded["changed"].as_u64().unwrap());
    assert!(rows.iter().all(|row| row["action"] == "dead.discard"));
    let page = dev.json(&["audit", "list", "--limit", "1"]);
    let next = page["next"].to_string();
    let older = dev.json(&["audit", "list", "--limit", "1", "--after", &next]);
    assert!(older["audit"][0]["id"].as_i64() < page["audit"][0]["id"].as_i64());
    let none = dev.json(&["audit", "list", "--until", "1h"]);
    assert_eq!(none["audit"].as_array().unwrap().len(), 0);
}

/// Checks that control characters in a sender's body never reach the terminal of an operator,
/// neither in plain output nor in JSON.
#[test]
fn what_a_sender_wrote_is_escaped_also_in_json() {
    let dev = Development::start("what_a_sender_wrote_is_escaped_also_in_json");
    let body = "{\"uid\":\"\u{9b}31m\u{202e}\u{85}\",\"integration_id\":\"i\",\
                \"event\":{\"type\":\"new.type\"}}";
    std::fs::write(dev.folder().join("body.json"), body).unwrap();
    dev.run(&["send", "--url", dev.url(), "--file", "body.json"])
        .well();
    dev.settle();
    let listed = dev.json(&["events", "list"]);
    let event = listed["events"][0]["event"].as_str().unwrap().to_owned();
    let is_obeyed = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}');
    for arguments in [
        &["events", "show", &event, "--body"][..],
        &["events", "show", &event, "--body", "--json"],
    ] {
        let shown = dev.run(arguments).well().out;
        assert!(shown.contains("integration_id"), "{shown}");
        assert!(!shown.contains(is_obeyed), "{shown:?}");
    }
    let shown = dev.json(&["events", "show", &event, "--body"]);
    assert_eq!(
        shown["body"]["body"], body,
        "the escaped JSON must decode to the body that was sent"
    );
}
