//! Tests `queues`, which shows the depth of each queue beside what the store holds for its route.

use std::sync::{Arc, Mutex};

use expect_test::expect;
use hookbox_driver::{Backlog, Broker, Ledger, Queue};
use hookbox_operations::command::queues::queues;
use hookbox_operations::render::{Text, json};
use hookbox_operations::{Problem, Reach, Source};

use crate::world::{Depths, Memory, depth};

fn store() -> Reach<dyn Ledger> {
    let backlog = |route: &str, deferred| Backlog {
        route: route.parse().unwrap(),
        retrying: 2,
        due: 1,
        deferred,
        deferred_oldest_s: 90 * deferred,
        missing_right: 0,
        target_fault: 0,
        dead: 3,
    };
    Reach::Open(Arc::new(Memory {
        backlog: vec![backlog("old", 0), backlog("scores", 1)],
        ..Memory::default()
    }))
}

fn broker() -> Reach<dyn Broker> {
    let scores = depth(Queue::Route("scores".parse().unwrap()), 4, None, None);
    let depths = vec![scores, depth(Queue::Dead, 0, Some(0), Some(0))];
    Reach::Open(Arc::new(Depths(Mutex::new(vec![depths]))))
}

#[tokio::test]
async fn each_number_stands_under_its_source() {
    let report = queues(&broker(), &store()).await;
    expect![[r#"
        QUEUE         broker: READY  IN FLIGHT  EVENTS  CONSUMERS  store: RETRYING  DEFERRED  DEAD  NAME AT THE BROKER
        route.scores              4          ?       ?          ?                2         1     3  hookbox.test.route.scores
        dead                      0          0       0          ?                -         -     -  hookbox.test.dead
        route.old                 -          -       -          -                2         0     3  -
        ready and in flight are messages, each a batch of events; ? = not reported by the broker
        deferred = of the retrying events, those that wait for a lock, a right or a target, which costs no attempt; the oldest for 90 s; `events show` has the reason, and `targets list` why a target is not reached
    "#]].assert_eq(&report.text());
    expect![[r#"
        {
          "queues": [
            {
              "queue": "route.scores",
              "broker": {
                "name": "hookbox.test.route.scores",
                "ready": 4,
                "in_flight": null,
                "consumers": null,
                "events": null
              },
              "store": {
                "retrying": 2,
                "deferred": 1,
                "deferred_oldest_s": 90,
                "dead": 3
              },
              "paused": null
            },
            {
              "queue": "dead",
              "broker": {
                "name": "hookbox.test.dead",
                "ready": 0,
                "in_flight": 0,
                "consumers": null,
                "events": 0
              },
              "store": null,
              "paused": null
            },
            {
              "queue": "route.old",
              "broker": null,
              "store": {
                "retrying": 2,
                "deferred": 0,
                "deferred_oldest_s": 0,
                "dead": 3
              },
              "paused": null
            }
          ],
          "problems": []
        }
    "#]]
    .assert_eq(&json(&report));
}

#[tokio::test]
async fn with_one_source_unavailable_the_other_is_printed() {
    let report = queues(&Reach::Unavailable("no route to it".into()), &store()).await;
    expect![[r#"
        QUEUE         broker: READY  IN FLIGHT  EVENTS  CONSUMERS  store: RETRYING  DEFERRED  DEAD  NAME AT THE BROKER
        route.old                 -          -       -          -                2         0     3  -
        route.scores              -          -       -          -                2         1     3  -
        ready and in flight are messages, each a batch of events; ? = not reported by the broker
        deferred = of the retrying events, those that wait for a lock, a right or a target, which costs no attempt; the oldest for 90 s; `events show` has the reason, and `targets list` why a target is not reached
        problem at the broker: no route to it
    "#]].assert_eq(&report.text());
    let gone: Reach<dyn Broker> = Reach::Open(Arc::new(Depths(Mutex::default())));
    let report = queues(&gone, &Reach::Unavailable("the file is locked".into())).await;
    expect![[r#"
        QUEUE  broker: READY  IN FLIGHT  EVENTS  CONSUMERS  store: RETRYING  DEFERRED  DEAD  NAME AT THE BROKER
        ready and in flight are messages, each a batch of events; ? = not reported by the broker
        problem at the broker: failed to take a connection (unavailable): connection refused
        problem at the store: the file is locked
    "#]]
    .assert_eq(&report.text());
}

#[tokio::test]
async fn a_spool_that_cannot_be_read_hides_nothing_of_the_broker() {
    let Reach::Open(broker) = broker() else {
        panic!("the broker of this test is open");
    };
    let what = "the events in the spool spool.db are not counted".to_owned();
    let source = Source::Spool;
    let broker = Reach::Partial(broker, Problem { source, what });
    let report = queues(&broker, &store()).await;
    assert_eq!(report.queues.len(), 3);
    let scores = report.queues[0].broker.as_ref().unwrap();
    assert_eq!(scores.ready, Some(4));
    let text = report.text();
    let end = "problem at the spool: the events in the spool spool.db are not counted\n";
    assert!(text.ends_with(end), "{text}");
    assert!(json(&report).contains("\"source\": \"spool\""));
}
