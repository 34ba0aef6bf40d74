//! Checks that the page contains exactly the metrics of the list, and that the list is committed
//! and documented.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{Accounts, Backlog, Depth, Mismatch, OtherStore, Queue, RoutePause};
use hookbox_event::{Incarnation, Timestamp};

use super::*;
use crate::monitor::Needs;
use crate::monitor::exposition::Exposition;
use crate::monitor::families::FAMILIES;

/// The current time in these tests: 2026-11-24T00:00:00Z.
const NOW: Timestamp = Timestamp::from_unix_micros(1_795_478_400_000_000);

/// Returns the state of a process with every role, in which every metric has a value.
fn everything() -> Snapshot {
    let mut counters = worker::Counters::default();
    let route: hookbox_event::RouteName = "scores".parse().unwrap();
    counters
        .routes
        .insert(route.clone(), worker::RouteCounters::default());
    let ingest = ingest::Counters::default();
    ingest.refuse("too_large");
    ingest.add_unrouted("begini", 2);
    let end = Some(Timestamp::from_unix_micros(1_800_000_000_000_000));
    ingest.set_keys_end("begini", end);
    ingest.set_keys_end("endless", None);
    let queue = Queue::Route(route.clone());
    let depth = Depth {
        queue,
        name: "hookbox.test.route.scores".into(),
        ready: Some(3),
        unsettled: None,
        consumers: Some(1),
        events: None,
    };
    let backlog = Backlog {
        route,
        retrying: 2,
        due: 1,
        deferred: 1,
        deferred_oldest_s: 40,
        missing_right: 0,
        target_fault: 1,
        dead: 7,
    };
    Snapshot {
        parts: Parts {
            ingest: Some(Arc::new(ingest)),
            spool: Some(Arc::default()),
            worker: Some(Arc::new(counters)),
            needs: Needs {
                store: true,
                witness: true,
            },
            ..Parts::default()
        },
        seen: Observed {
            accounts: Some(Accounts {
                reported: vec![("scores".parse().unwrap(), 3)],
                ..Accounts::default()
            }),
            sqlite_log: Some(4_096),
            contradictions: Some(0),
            witness: Some(Some(restored())),
            ends_held_back_s: Some(7),
            store: None,
            depths: Some(vec![depth]),
            backlog: Some(vec![backlog]),
        },
    }
}

#[test]
fn the_page_has_every_family_and_no_other() {
    let page = write(everything()).unwrap();
    let shown: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let listed: Vec<String> = FAMILIES
        .iter()
        .map(|family| format!("hookbox_{}", family.name))
        .collect();
    let listed: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    assert_eq!(shown, listed, "{page}");
    for line in [
        "hookbox_requests_not_accepted_total{reason=\"too_large\"} 1",
        "hookbox_requests_unrouted_total{source=\"begini\"} 2",
        "hookbox_receipts_total{route=\"scores\",outcome=\"done\"} 0",
        "hookbox_queue_messages{queue=\"route.scores\"} 3",
        "hookbox_retries_due{route=\"scores\"} 1",
        "hookbox_publish_confirm_seconds_bucket{le=\"+Inf\"} 0",
        "hookbox_store_up 0",
        "hookbox_log_lines_dropped_total 0",
        "hookbox_source_keys_end_timestamp_seconds{source=\"begini\"} 1800000000",
        "hookbox_connections{state=\"open\"} 0",
        "hookbox_connections_closed_total{reason=\"to_make_room\"} 0",
        "hookbox_witness_mismatch 1",
    ] {
        assert!(page.lines().any(|one| one == line), "{line}: {page}");
    }
    assert!(page.ends_with("# EOF\n"));
}

/// Checks what `promtool check metrics` requires of a page.
#[test]
fn the_older_format_is_as_prometheus_wants_it() {
    let page = Exposition::Text.of(write(everything()).unwrap());
    let mut families: Vec<(&str, &str)> = Vec::new();
    let mut help = None;
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').unwrap();
            assert!(text.len() > 1, "{name} must have a help text");
            help = Some(name);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(
                help,
                Some(name),
                "the HELP line of a metric must come before its TYPE line"
            );
            assert!(families.iter().all(|(other, _)| *other != name), "{name}");
            families.push((name, kind));
        } else {
            let (name, kind) = families.last().unwrap();
            let sample = line.split(['{', ' ']).next().unwrap();
            let suffix = sample.strip_prefix(name).unwrap_or("another family");
            let expected: &[&str] = match *kind {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(expected.contains(&suffix), "{line}");
            assert!(!line.contains("le=") || *kind == "histogram", "{line}");
        }
    }
    assert_eq!(families.len(), FAMILIES.len());
    const UNITS: [&str; 7] = [
        "milliseconds",
        "ms",
        "minutes",
        "hours",
        "kilobytes",
        "mb",
        "pct",
    ];
    for (name, kind) in families {
        let words: Vec<&str> = name.split('_').collect();
        let last = *words.last().unwrap();
        assert!(
            name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{name}"
        );
        assert_eq!(
            kind == "counter",
            last == "total",
            "the names of counters, and no others, must end with _total: {name} is a {kind}"
        );
        assert!(!["bucket", "sum", "count"].contains(&last), "{name}");
        assert!(!words.iter().any(|word| UNITS.contains(word)), "{name}");
        assert!(!words.contains(&kind), "{name}");
    }
}

#[test]
fn a_process_that_waits_for_its_dependencies_shows_that() {
    let monitor = Monitor::default();
    let (store, witness) = (true, true);
    monitor.change(|parts| parts.needs = Needs { store, witness });
    let page = of(&monitor).unwrap();
    assert!(page.contains("\nhookbox_broker_up 0\n"), "{page}");
    assert!(!page.contains("hookbox_receipts"), "{page}");
    let (is_ready, words) = readiness::answer(&monitor, NOW);
    assert!(!is_ready);
    assert_eq!(words["dependencies"][1]["name"], "store");
    assert_eq!(
        words["dependencies"][1]["why"],
        "the store has not been reached yet"
    );
}

/// Returns a mismatch that shows that the store was restored.
fn restored() -> Mismatch {
    Mismatch::OtherStore(OtherStore {
        store: Incarnation::from_bytes([1; 16]),
        broker: Incarnation::from_bytes([2; 16]),
        from: Timestamp::from_unix_micros(0),
        until: Timestamp::from_unix_micros(1_000_000),
        sequence: 3,
    })
}

#[test]
fn a_store_and_a_broker_that_contradict_each_other_are_shown() {
    let monitor = Monitor::default();
    let (store, witness) = (true, true);
    monitor.change(|parts| parts.needs = Needs { store, witness });
    let of_witness = || readiness::answer(&monitor, NOW).1["dependencies"][2].clone();
    assert_eq!(of_witness()["name"], "witness");
    assert_eq!(
        of_witness()["ready"],
        true,
        "before the first poll, the dependency `witness` must count as ready"
    );
    assert!(!of(&monitor).unwrap().contains("witness_mismatch"));
    monitor.seen().witness = Some(None);
    assert_eq!(of_witness()["ready"], true);
    let page = of(&monitor).unwrap();
    assert!(page.contains("\nhookbox_witness_mismatch 0\n"), "{page}");
    monitor.seen().witness = Some(Some(restored()));
    let why = of_witness()["why"].as_str().unwrap().to_owned();
    assert!(
        why.starts_with("the broker was used with another store"),
        "{why}"
    );
    assert!(
        why.ends_with("`hookbox reconcile` lists what to do"),
        "{why}"
    );
}

#[test]
fn what_the_broker_refuses_of_a_spool_is_shown() {
    let monitor = Monitor::default();
    let counters = Arc::new(hookbox_spool::SpoolCounters::default());
    let shown = Arc::clone(&counters);
    monitor.change(|parts| parts.spool = Some(shown));
    assert_eq!(
        readiness::answer(&monitor, NOW).1["dependencies"][1]["ready"],
        true
    );
    counters.refused.store(3, Ordering::Relaxed);
    let (_, words) = readiness::answer(&monitor, NOW);
    let why = "the broker refuses 3 events of the spool; see the log";
    assert_eq!(words["dependencies"][1]["why"], why);
    let page = of(&monitor).unwrap();
    assert!(
        page.contains("\nhookbox_spool_refused_events 3\n"),
        "{page}"
    );
}

#[test]
fn the_list_is_as_committed_and_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = root.join("schemas/metrics.json");
    let list: Vec<serde_json::Value> = FAMILIES
        .iter()
        .map(|family| {
            let Family {
                kind, labels, help, ..
            } = family;
            let name = family.full_name();
            serde_json::json!({ "name": name, "kind": kind, "labels": labels, "help": help })
        })
        .collect();
    let list = format!("{:#}\n", serde_json::Value::Array(list));
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&file, &list).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == list,
        "the metrics differ from schemas/metrics.json; UPDATE_SCHEMAS=1 rewrites it:\n{list}"
    );
    let document = std::fs::read_to_string(root.join("docs/METRICS.md")).unwrap();
    for family in FAMILIES {
        let row = format!("| `{}` |", family.full_name());
        assert!(
            document.contains(&row),
            "docs/METRICS.md must have the row {row}"
        );
    }
    let table = document.lines().take_while(|line| !line.starts_with("## "));
    let rows = table.filter(|line| line.starts_with("| `hookbox_")).count();
    assert_eq!(
        rows,
        FAMILIES.len(),
        "docs/METRICS.md must have a row for each metric and no other rows"
    );
}

/// An alerting rule over a metric that does not exist would never fire.
#[test]
fn alerts_are_about_existing_metrics() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let rules = std::fs::read_to_string(root.join("docs/alerts.yaml")).unwrap();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    // Expressions may have several lines, so every word of the file is read, and not only lines
    // with `expr`.
    let names: Vec<&str> = rules
        .split(|c| !is_part(c))
        .filter(|word| word.starts_with("hookbox_"))
        .collect();
    assert!(names.contains(&"hookbox_requests_not_accepted_total"));
    assert!(names.contains(&"hookbox_deferred_oldest_seconds"));
    for name in names {
        let is_there = FAMILIES.iter().any(|family| family.full_name() == name);
        assert!(
            is_there,
            "docs/alerts.yaml must only use existing metrics, but uses {name}"
        );
    }
}

#[test]
fn a_source_without_a_valid_key_is_red_and_one_whose_last_key_ends_soon_has_a_warning() {
    let monitor = Monitor::default();
    let counters = Arc::new(ingest::Counters::default());
    let shown = Arc::clone(&counters);
    monitor.change(|parts| parts.ingest = Some(shown));
    let hour = Duration::from_secs(3_600);
    let of_source = |end| {
        counters.set_keys_end("begini", end);
        readiness::answer(&monitor, NOW).1["dependencies"][1].clone()
    };
    let plain = serde_json::json!({ "name": "source begini", "ready": true });
    assert_eq!(of_source(None), plain);
    assert_eq!(of_source(Some(NOW.saturating_add(15 * 24 * hour))), plain);
    let near = of_source(Some(NOW.saturating_add(13 * 24 * hour)));
    assert_eq!(near["ready"], true);
    assert!(near["warning"].as_str().unwrap().contains("in 13 days"));
    let over = of_source(Some(NOW));
    assert_eq!(over["ready"], false);
    assert!(
        over["why"]
            .as_str()
            .unwrap()
            .contains("requests to the source are answered 503")
    );
}

/// A pause by an operator is intended, so readiness shows it only as a warning.
#[test]
fn a_route_that_an_operator_has_paused_has_a_warning() {
    let monitor = Monitor::default();
    let route: hookbox_event::RouteName = "scores".parse().unwrap();
    let counters = worker::RouteCounters::default();
    let pause = RoutePause {
        by: "ann".into(),
        why: "the bank is down".into(),
        since: NOW,
    };
    counters.set_operator_pause(Some(&pause));
    let mut shown = worker::Counters::default();
    shown.routes.insert(route, counters);
    monitor.change(|parts| parts.worker = Some(Arc::new(shown)));
    let of_route = readiness::answer(&monitor, NOW).1["dependencies"][1].clone();
    assert_eq!(of_route["ready"], true);
    assert_eq!(
        of_route["warning"],
        "route scores is paused by ann since 2026-11-24T00:00:00Z: the bank is down"
    );
    let page = of(&monitor).unwrap();
    let line = "hookbox_route_paused{route=\"scores\",by=\"operator\"} 1";
    assert!(page.lines().any(|one| one == line), "{page}");
}
