//! Tests what `queues declare` reports about missing queues, from what the store knows about them.

use std::sync::{Arc, Mutex};

use expect_test::expect;
use hookbox_driver::{Accounts, Ledger, Queue, RouteBooks};
use hookbox_operations::command::declare::{DeclareReport, missing_queues};
use hookbox_operations::render::{Text, json};
use hookbox_operations::{Reach, Source};

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
        stale: 0,
    };
    let scores = || "scores".parse().unwrap();
    Reach::Open(Arc::new(Memory {
        books: Mutex::new(vec![vec![books("quiet", 3)]]),
        accounts: Accounts {
            reported: vec![(scores(), 943)],
            open_by_route: vec![(scores(), 943)],
            ..Accounts::default()
        },
        ..Memory::default()
    }))
}

#[tokio::test]
async fn what_the_store_knows_about_a_missing_queue_is_reported() {
    let (missing, problems) = missing_queues(missing(), &store()).await;
    let declared = missing.iter().map(|queue| queue.name.clone()).collect();
    let report = DeclareReport {
        declared,
        missing,
        problems,
    };
    expect![[r#"
        declared hookbox.test.route.scores: the queue was used before, so it was deleted; 943 receipts of its route were answered 200 and have no outcome: those that were in the queue are lost
        declared hookbox.test.route.quiet: the queue was used before, so it was deleted; the store knows no receipt that was in it
        declared hookbox.test.route.new: the queue was not used before, as far as the store knows
        declared hookbox.test.accounts: the queue was used before, so it was deleted; what was in it is lost
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
async fn without_a_store_nothing_is_known_and_that_is_reported() {
    let unavailable = Reach::Unavailable("it is unavailable".to_owned());
    let (missing, problems) = missing_queues(missing(), &unavailable).await;
    assert!(
        missing
            .iter()
            .all(|queue| (queue.was_used, queue.open) == (None, None))
    );
    assert_eq!(
        (problems[0].source, &*problems[0].what),
        (Source::Store, "it is unavailable")
    );
    assert!(missing[0].line().contains("the store could not be read"));
    // If no queue is missing, the store must not be read, so that the command also works while the
    // store is unavailable.
    let (missing, problems) = missing_queues(Vec::new(), &unavailable).await;
    assert!(missing.is_empty() && problems.is_empty());
}
