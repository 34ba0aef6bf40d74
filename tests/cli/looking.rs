//! Commands that only read: `events`, `queues` and `reconcile`.

use crate::binary::run;
use crate::development::Development;

#[test]
fn events_are_listed_and_shown() {
    let dev = Development::start("events_are_listed_and_shown");
    dev.generate(&["--count", "30", "--duplicates", "100", "--seed", "1"])
        .well();
    dev.settle();
    let list = dev.json(&["events", "list", "--limit", "5"]);
    assert_eq!(list["source"], "store");
    assert_eq!(list["more"], true);
    let events = list["events"].as_array().unwrap();
    assert_eq!(events.len(), 5);
    let of_route = dev.json(&["events", "list", "--route", "scores", "--limit", "100"]);
    let of_route = of_route["events"].as_array().unwrap();
    assert!(!of_route.is_empty() && of_route.len() < 30);
    assert!(of_route.iter().all(|event| event["route"] == "scores"));
    let topic = ["events", "list", "--topic", "begini.application.complete"];
    let of_topic = dev.json(&topic);
    let of_topic = of_topic["events"].as_array().unwrap();
    assert!(
        of_topic
            .iter()
            .all(|event| event["topic"] == "begini.application.complete")
    );
    let dead = dev.json(&["events", "list", "--state", "dead"]);
    assert_eq!(dead["events"].as_array().unwrap().len(), 0);
    assert_eq!(dev.run(&["events", "list", "--state", "lost"]).code, 2);

    let id = events[0]["event"].as_str().unwrap();
    let shown = dev.json(&["events", "show", &id[..12]]);
    assert_eq!(shown["event"], id);
    assert_eq!(shown["receipts"].as_array().unwrap().len(), 2);
    assert_eq!(shown["claims"][0]["state"], "done");
    assert!(shown.get("body").is_none());
    let text = dev.run(&["events", "show", id]).well().out;
    assert!(
        text.starts_with("store: event ") && !text.contains("uid"),
        "{text}"
    );
    // `events show` also takes the id of a receipt, which `reconcile` and the logs print.
    let receipt = shown["receipts"][0]["receipt"].as_str().unwrap();
    let of_receipt = dev.json(&["events", "show", receipt]);
    assert_eq!(of_receipt["event"], id);
    assert_eq!(of_receipt["receipt"], receipt);
    let text = dev.run(&["events", "show", receipt]).well().out;
    let first = format!("store: receipt {receipt} is of event {id}\n");
    assert!(text.starts_with(&first), "{text}");
    let unknown = dev.run(&["events", "show", "01990000-0000-7000-8000-000000000000"]);
    assert_eq!(unknown.code, 1);
    assert!(
        unknown.err.contains("has no outcome in the store"),
        "{unknown:?}"
    );
    let revealed = dev.json(&["events", "show", id, "--body", "--by", "ada"]);
    let body = revealed["body"]["body"].as_str().unwrap();
    assert!(body.starts_with(r#"{"uid":"SIM"#), "{body}");
    assert_eq!(revealed["body"]["encoding"], "text");

    let nothing = dev.run(&["events", "show", "0123456789abcdef"]);
    assert_eq!(nothing.code, 1);
    assert!(
        nothing.err.contains("no event, or more than one"),
        "{nothing:?}"
    );
    let no_prefix = dev.run(&["--json", "events", "show", "xyz"]);
    assert_eq!(no_prefix.code, 1);
    let error: serde_json::Value = serde_json::from_str(no_prefix.err.lines().last().unwrap())
        .unwrap_or_else(|_| panic!("{no_prefix:?}"));
    assert!(error["error"].as_str().unwrap().contains("hex digits"));
}

#[test]
fn queues_and_reconcile_name_their_sources() {
    let dev = Development::start("queues_and_reconcile_name_their_sources");
    dev.run(&["send", "--url", dev.url()]).well();
    dev.settle();
    let queues = dev.json(&["queues"]);
    let lines = queues["queues"].as_array().unwrap();
    let names: Vec<&str> = lines
        .iter()
        .map(|line| line["queue"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "route.scores",
            "route.applications",
            "route.unrouted",
            "dead",
            "accounts"
        ]
    );
    assert_eq!(lines[0]["broker"]["ready"], 0);
    assert_eq!(lines[0]["broker"]["name"], "hookbox.dev.route.scores");
    assert_eq!(lines[0]["store"]["retrying"], 0);
    assert_eq!(queues["problems"].as_array().unwrap().len(), 0);
    let text = dev.run(&["queues"]).well().out;
    assert!(
        text.contains("broker: READY") && text.contains("store: RETRYING"),
        "{text}"
    );
    let text = dev.run(&["reconcile"]).well().out;
    assert!(
        text.ends_with("balanced: every receipt has its outcome\n"),
        "{text}"
    );
    assert_eq!(
        dev.run(&["reconcile", "--wait", "5"]).code,
        2,
        "a duration without a unit must be refused"
    );
}

#[test]
fn a_command_without_a_config_names_the_remedy() {
    let folder = std::env::temp_dir().join(format!("hookbox-cli-bare-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    for command in [
        &["queues"][..],
        &["events", "list"],
        &["dead", "groups"],
        &["retries", "list"],
        &["refusals", "groups"],
        &["audit", "list"],
        &["reconcile"],
        &["send"],
        &["generate"],
    ] {
        let refused = run(&folder, command);
        assert_eq!(refused.code, 64, "{command:?}: {refused:?}");
        assert!(refused.err.contains("hookbox dev"), "{refused:?}");
    }
    std::fs::remove_dir(&folder).unwrap();
}
