//! `queues declare`: what is known of queues that are missing.

use std::sync::{Arc, Mutex};

use expect_test::expect;
use hookbox_console::command::declare::{DeclareReport, missing_queues};
use hookbox_console::render::{Text, json};
use hookbox_console::{Reach, Source};
use hookbox_driver::{Accounts, Ledger, Queue, RouteBooks};

use crate::world::Memory;

fn missing() -> Vec<(Queue, String)> {
    let route = |name: &str| Queue::Route(name.parse().unwrap());
    let queues = [
        route("scores"),
        route("quiet"),
        route("new"),
        Queue::Accounts,
    ];
    let name = |queue: Queue| (queue.clone(), format!("hookbox.test.{queue}"));
    queues.into_iter().map(name).collect()
}

fn store() -> Reach<dyn Ledger> {
    let books = |route: &str, done| RouteBooks {
        route: route.parse().unwrap(),
        done,
        duplicate: 0,
        conflict: 0,
        retrying: 0,
        dead: 0,
    };
    let scores = || "scores".parse().unwrap();
    Reach::Open(Arc::new(Memory {
        books: Mutex::new(vec![vec![books("quiet", 3)]]),
        accounts: Accounts {
            told: vec![(scores(), 943)],
            open_by_route: vec![(scores(), 943)],
            ..Accounts::default()
        },
        ..Memory::default()
    }))
}

#[tokio::test]
async fn what_the_store_knows_of_a_missing_queue_is_said() {
    let (missing, problems) = missing_queues(missing(), &store()).await;
    let declared = missing.iter().map(|queue| queue.name.clone()).collect();
    let report = DeclareReport {
        declared,
        missing,
        problems,
    };
    expect![[r#"
        declared hookbox.test.route.scores: it was used, so it was deleted; 943 receipts of its route were answered 200 and have no outcome: what of them was in the queue is lost
        declared hookbox.test.route.quiet: it was used, so it was deleted; the store knows of no receipt that was in it
        declared hookbox.test.route.new: not used before, as far as the store knows
        declared hookbox.test.accounts: it was used, so it was deleted; what was in it is lost
        `hookbox reconcile` lists the receipts that are known to be lost
    "#]].assert_eq(&report.text());
    expect![[r#"
        {
          "declared": [
            "hookbox.test.route.scores",
            "hookbox.test.route.quiet",
            "hookbox.test.route.new",
            "hookbox.test.accounts"
          ],
          "missing": [
            {
              "name": "hookbox.test.route.scores",
              "queue": "route.scores",
              "was_used": true,
              "open": 943
            },
            {
              "name": "hookbox.test.route.quiet",
              "queue": "route.quiet",
              "was_used": true,
              "open": 0
            },
            {
              "name": "hookbox.test.route.new",
              "queue": "route.new",
              "was_used": false,
              "open": 0
            },
            {
              "name": "hookbox.test.accounts",
              "queue": "accounts",
              "was_used": true,
              "open": null
            }
          ],
          "problems": []
        }
    "#]]
    .assert_eq(&json(&report));
}

#[tokio::test]
async fn without_a_store_nothing_is_known_and_that_is_said() {
    let away = Reach::Away("it is away".to_owned());
    let (missing, problems) = missing_queues(missing(), &away).await;
    assert!(
        missing
            .iter()
            .all(|queue| (queue.was_used, queue.open) == (None, None))
    );
    assert_eq!(
        (problems[0].source, &*problems[0].what),
        (Source::Store, "it is away")
    );
    assert!(missing[0].line().contains("could not be read"));
    // Of nothing that is missing, nothing needs to be known.
    let (missing, problems) = missing_queues(Vec::new(), &away).await;
    assert!(missing.is_empty() && problems.is_empty());
}
