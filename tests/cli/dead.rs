//! `hookbox dead` with real dead letters: listing, changing and exporting.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::development::Development;

/// Starts a `hookbox dev` with `count` dead letters: it receives that many events, all malformed.
fn with_dead(test: &str, count: usize) -> Development {
    let dev = Development::start(test);
    let events = count.to_string();
    dev.generate(&["--count", &events, "--malformed", "100", "--seed", "3"])
        .well();
    dev.settle();
    assert_eq!(total(&dev, "dead"), count as u64);
    dev
}

fn total(dev: &Development, state: &str) -> u64 {
    let list = dev.json(&["dead", "list", "--state", state, "--limit", "1", "--total"]);
    list["total"].as_u64().unwrap()
}

/// Checks that every command reports the same number of dead letters. A conflict is stored as a
/// dead letter, so it counts.
#[test]
fn dead_letters_have_one_number_everywhere() {
    let dev = Development::start("dead_letters_have_one_number_everywhere");
    let shares = [
        "--malformed",
        "20",
        "--conflicts",
        "40",
        "--duplicates",
        "10",
    ];
    let load = [&["--count", "100", "--seed", "7"][..], &shares].concat();
    dev.generate(&load).well();
    dev.settle();
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let all_agree = || {
        let listed = total(&dev, "dead");
        let groups = dev.json(&["dead", "groups"]);
        let groups = groups["groups"].as_array().unwrap().iter();
        assert_eq!(
            groups.map(|group| number(&group["count"])).sum::<u64>(),
            listed
        );
        let queues = dev.json(&["queues"]);
        let queues = queues["queues"].as_array().unwrap().iter();
        assert_eq!(
            queues
                .map(|queue| number(&queue["store"]["dead"]))
                .sum::<u64>(),
            listed
        );
        assert_eq!(number(&dev.json(&["reconcile"])["dead_letters"]), listed);
        listed
    };
    let before = all_agree();
    let conflicts = ["dead", "list", "--reason", "conflict", "--limit", "1"];
    let conflicts = dev.json(&[&conflicts[..], &["--total"]].concat());
    assert!(number(&conflicts["total"]) > 0, "{conflicts:#}");
    let id = conflicts["dead"][0]["id"].as_i64().unwrap().to_string();
    dev.run(&["dead", "discard", &id, "--yes"]).well();
    assert_eq!(all_agree(), before - 1);
}

#[test]
fn dead_letters_are_grouped_listed_and_shown() {
    let dev = with_dead("dead_letters_are_grouped_listed_and_shown", 40);
    let groups = dev.json(&["dead", "groups"]);
    let groups = groups["groups"].as_array().unwrap();
    let counts: Vec<u64> = groups
        .iter()
        .map(|g| g["count"].as_u64().unwrap())
        .collect();
    assert_eq!(counts.iter().sum::<u64>(), 40);
    assert!(
        counts.is_sorted_by(|a, b| a >= b),
        "the largest group must be listed first: {counts:?}"
    );

    let first = dev.json(&["dead", "list", "--limit", "3"]);
    let ids = |list: &Value| -> Vec<i64> {
        let rows = list["dead"].as_array().unwrap().iter();
        rows.map(|row| row["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids(&first).len(), 3);
    let after = ids(&first)[2].to_string();
    let next = dev.json(&["dead", "list", "--limit", "3", "--after", &after]);
    assert!(ids(&next)[0] > ids(&first)[2]);
    let malformed = dev.json(&["dead", "list", "--reason", "malformed"]);
    let malformed = malformed["dead"].as_array().unwrap();
    assert!(malformed.iter().all(|row| row["reason"] == "malformed"));

    let id = ids(&first)[0].to_string();
    let shown = dev.run(&["dead", "show", &id]).well().out;
    assert!(
        shown.starts_with(&format!("store: dead letter {id} of route ")),
        "{shown}"
    );
    assert!(
        !shown.contains("SIM"),
        "`dead show` without --body must not show the body: {shown}"
    );
    let shown = dev.json(&["dead", "show", &id, "--body"]);
    assert_eq!(shown["history"]["body"]["encoding"], "text");
    let missing = dev.run(&["dead", "show", "999999"]);
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains("no dead letter 999999"), "{missing:?}");
}

#[test]
fn a_change_shows_its_count_and_needs_a_yes() {
    let dev = with_dead("a_change_shows_its_count_and_needs_a_yes", 12);
    let all = dev.run(&["dead", "replay"]);
    assert_eq!(all.code, 1);
    assert!(all.err.contains("give --all"), "{all:?}");
    let unasked = dev.run(&["dead", "discard", "--all"]);
    assert_eq!(unasked.code, 1);
    assert!(
        unasked.err.contains("discard 12 dead letters (all)"),
        "{unasked:?}"
    );
    assert!(unasked.err.contains("--yes"), "{unasked:?}");
    let dry = dev.json(&["dead", "discard", "--all", "--dry-run"]);
    assert_eq!((&dry["matched"], &dry["changed"]), (&12.into(), &0.into()));
    assert_eq!(total(&dev, "dead"), 12, "a dry run must change nothing");

    let discarded = dev.json(&["dead", "discard", "--route", "scores", "--yes"]);
    let count = discarded["changed"].as_u64().unwrap();
    assert!(count > 0 && discarded["matched"] == discarded["changed"]);
    assert_eq!(
        (total(&dev, "discarded"), total(&dev, "dead")),
        (count, 12 - count)
    );
    let restored = dev.json(&["dead", "restore", "--all", "--yes"]);
    assert_eq!(restored["changed"], count);
    assert_eq!(total(&dev, "dead"), 12);
    let missing = dev.run(&["dead", "discard", "999999", "--yes"]);
    assert_eq!(
        missing.code, 1,
        "discarding a dead letter that does not exist must fail: {missing:?}"
    );
}

/// Returns each route with the counts that the store has for it. The counts of the accept reports
/// are left out, because a report may be recorded a moment after the last event.
fn books(reconciled: &Value) -> Vec<(&Value, &Value)> {
    let routes = reconciled["routes"].as_array().unwrap();
    routes
        .iter()
        .map(|route| (&route["route"], &route["store"]))
        .collect()
}

#[test]
fn a_replay_dies_again_while_its_cause_remains_and_the_accounting_balances() {
    // `dead replay` changes up to 500 dead letters in one transaction. Here it needs a second
    // transaction, because there are 620 dead letters.
    let dev = with_dead(
        "a_replay_dies_again_while_its_cause_remains_and_the_accounting_balances",
        620,
    );
    let before = dev.settle();
    let replayed = dev.json(&["dead", "replay", "--all", "--yes"]);
    assert_eq!(
        (&replayed["matched"], &replayed["changed"]),
        (&620.into(), &620.into())
    );
    let outcome = &replayed["outcome"];
    let decided = outcome["dead_again"].as_u64().unwrap();
    assert_eq!(decided + outcome["undecided"].as_u64().unwrap(), 620);
    assert_eq!(outcome["done"], 0);
    let after = dev.settle();
    assert_eq!(after["verdict"], "balanced");
    assert_eq!(
        books(&before),
        books(&after),
        "every replayed event must become a dead letter again and be counted once"
    );
    assert_eq!(total(&dev, "dead"), 620);
}

#[test]
fn an_export_is_readable_by_its_owner_only_and_overwrites_nothing() {
    let dev = with_dead(
        "an_export_is_readable_by_its_owner_only_and_overwrites_nothing",
        15,
    );
    let lines = dev.run(&["dead", "export"]).well();
    assert!(
        lines.err.contains("exported 15 of 15 dead letters"),
        "{lines:?}"
    );
    let lines: Vec<Value> = lines
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 15);
    assert!(lines.iter().all(|line| line["body_base64"].is_string()));
    let id = lines[0]["dead"]["id"].to_string();
    let missing = dev.run(&["dead", "export", &id, "999999"]);
    assert_eq!(missing.code, 1, "{missing:?}");
    assert_eq!(missing.out.lines().count(), 1, "{missing:?}");
    assert!(
        missing.err.contains("1 id is no dead letter that matches"),
        "{missing:?}"
    );

    let report = dev.json(&["dead", "export", "--output", "dead.jsonl"]);
    assert_eq!(report["exported"], 15);
    let file = dev.folder().join("dead.jsonl");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(written.lines().count(), 15);
    let again = dev.run(&["dead", "export", "--output", "dead.jsonl"]);
    assert_eq!(again.code, 1);
    assert!(
        again.err.contains("an existing file is not overwritten"),
        "{again:?}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
}

/// Checks that all dead letters with the same cause form one group, even where the numbers and ids
/// in their error texts differ. Also checks that `list`, `discard`, `replay` and `export` accept a
/// group as a filter.
#[test]
fn a_group_is_matched_and_changed_by_itself() {
    let dev = Development::start("a_group_is_matched_and_changed_by_itself");
    let shares = [
        "--malformed",
        "40",
        "--conflicts",
        "60",
        "--duplicates",
        "10",
    ];
    let load = [&["--count", "100", "--seed", "7"][..], &shares].concat();
    dev.generate(&load).well();
    dev.settle();
    let report = dev.json(&["dead", "groups"]);
    let groups = report["groups"].as_array().unwrap();
    assert!(
        (2..=12).contains(&groups.len()),
        "{} groups: {report:#}",
        groups.len()
    );
    let group = &groups[0];
    let (id, count) = (group["group"].as_str().unwrap(), &group["count"]);
    assert!(count.as_u64().unwrap() > 1);
    let text = dev.run(&["dead", "groups"]).well().out;
    assert!(text.contains(id) && text.contains("<"), "{text}");

    let listed = dev.json(&["dead", "list", "--group", id, "--limit", "1000"]);
    let listed = listed["dead"].as_array().unwrap();
    assert_eq!(listed.len() as u64, count.as_u64().unwrap());
    let newest = listed.last().unwrap();
    assert_eq!(newest["id"], group["newest"]);
    let exported = dev.run(&["dead", "export", "--group", id]).well();
    assert_eq!(exported.out.lines().count(), listed.len());
    let rehearsed = dev
        .run(&["dead", "replay", "--group", id, "--dry-run"])
        .well();
    assert!(
        rehearsed.out.contains(&format!("(group {id})")),
        "{rehearsed:?}"
    );
    let discarded = dev.json(&["dead", "discard", "--group", id, "--yes"]);
    assert_eq!(&discarded["changed"], count);
    let left = dev.json(&["dead", "groups"]);
    assert_eq!(left["groups"].as_array().unwrap().len(), groups.len() - 1);
    let malformed = dev.run(&["dead", "list", "--group", "xyz"]);
    assert_eq!(malformed.code, 2, "{malformed:?}");
    assert!(malformed.err.contains("12 hex digits"), "{malformed:?}");
}

/// Checks what the audit log records as the actor when the environment has no user name, as under
/// cron and in containers. It must be the numeric id of the user, and not "unknown".
#[test]
fn the_audit_records_a_user_without_a_name() {
    let dev = with_dead("the_audit_records_a_user_without_a_name", 3);
    let folder = dev.folder().to_owned();
    let discard = |id: &str, names: &[(&str, &str)]| {
        let mut command = crate::binary::command(&folder, &["dead", "discard", id, "--yes"]);
        command.env_remove("USER").env_remove("LOGNAME");
        let status = command.envs(names.iter().copied()).output().unwrap().status;
        assert_eq!(status.code(), Some(0), "{id}");
        let newest = dev.json(&["audit", "list", "--limit", "1"]);
        newest["audit"][0]["actor"].as_str().unwrap().to_owned()
    };
    let number = discard("1", &[]);
    let number = number.strip_prefix("uid ").unwrap();
    number.parse::<u32>().unwrap();
    assert_eq!(discard("2", &[("LOGNAME", "ada")]), "ada");
    assert_eq!(discard("3", &[("USER", "eve"), ("LOGNAME", "ada")]), "eve");
}
