//! Tests which requests become one batch, and that the batcher refuses requests when too many wait
//! and after it was closed.

use std::net::IpAddr;

use async_trait::async_trait;
use bytes::Bytes;
use hookbox_driver::{
    Depth, Fault, FaultKind, PublishError, Queue as BrokerQueue, Readiness, Subscription,
};
use hookbox_event::{
    Account, Condition, ContentDigest, Digester, IdDigest, Selection, Test, Topic,
};
use hookbox_signature::{Key, Preset, sign, verify};
use tokio::sync::watch;

use super::*;
use crate::body_memory::BodyMemory;

const NOW: Timestamp = Timestamp::from_unix_micros(1_764_000_000_000_000);

fn verified(body: Bytes) -> Verified {
    let scheme = Preset::Begini.scheme();
    let key = Key::new("k", None, b"secret".to_vec()).unwrap();
    let headers = sign(&scheme, &key, &body, NOW, "").into_iter().collect();
    verify(&scheme, &[key], &headers, body, NOW).unwrap()
}

/// Returns the destination of an event of this type. A `!` at the end does not belong to the type:
/// it means that the condition of the route `matched` holds for the event.
fn destination(source: &SourceName, kind: &str) -> Destination {
    let (kind, holds) = match kind.strip_suffix('!') {
        Some(kind) => (kind, true),
        None => (kind, false),
    };
    let topic = Topic::of(source, Some(kind));
    let conditions = routing().conditions_of(source);
    let matched = conditions.matched(&topic, &[holds]);
    Destination { topic, matched }
}

fn routing() -> Routing {
    let condition = Condition {
        pointer: "/matches".parse().unwrap(),
        test: Test::Exists(true),
    };
    Routing {
        selections: vec![Selection {
            route: "matched".parse().unwrap(),
            topics: vec!["#".parse().unwrap()],
            conditions: vec![condition],
        }],
        unrouted: "unrouted".parse().unwrap(),
    }
}

fn request(kind: &str, bytes: usize) -> AcceptedRequest {
    let source: SourceName = "begini".parse().unwrap();
    let body = Bytes::from(vec![b'x'; bytes]);
    let digest = ContentDigest::of_raw_body(&Digester::Plain, &body);
    let peer = IpAddr::from([192, 0, 2, 1]);
    AcceptedRequest {
        receipt: ReceiptId::new(NOW, [0; 10]),
        identified: Identified {
            destination: destination(&source, kind),
            id: IdDigest::from_digest(&Digester::Plain, &source, &digest),
            digest,
        },
        source,
        received_at: NOW,
        traceparent: None,
        verified: verified(body),
        room: BodyMemory::new(&Limits::standard()).room(peer.into()),
    }
}

/// Builds a queue of requests, each with an event type and a body length.
fn queue(requests: &[(&str, usize)]) -> Queue {
    let mut queue = Queue::default();
    for (kind, bytes) in requests {
        let (answer, _gone) = oneshot::channel();
        let request = request(kind, *bytes);
        queue.push(QueuedRequest { request, answer });
    }
    queue
}

/// Takes all batches from a queue and returns the event type and the body lengths of each batch.
fn batches(mut queue: Queue, batch_max: usize, bytes_max: usize) -> Vec<(String, Vec<usize>)> {
    let mut batches = Vec::new();
    loop {
        let taken = queue.take(batch_max, bytes_max);
        let Some(first) = taken.first() else {
            assert_eq!(queue.count, 0);
            assert!(
                queue.by_destination.is_empty(),
                "a destination must leave the queue together with its last request"
            );
            return batches;
        };
        let destination = first.request.identified.destination.clone();
        let same = |one: &QueuedRequest| one.request.identified.destination == destination;
        assert!(
            taken.iter().all(same),
            "all requests of a batch must have the same topic and routes"
        );
        let Destination { topic, matched } = destination;
        let is_matched = matched != MatchedRoutes::default();
        let kind = format!(
            "{}{}",
            topic.event_type(),
            if is_matched { "!" } else { "" }
        );
        let lengths = taken.iter().map(|one| one.request.verified.body().len());
        batches.push((kind, lengths.collect()));
    }
}

fn check(
    requests: &[(&str, usize)],
    batch_max: usize,
    bytes_max: usize,
    expect: &[(&str, &[usize])],
) {
    let expect: Vec<(String, Vec<usize>)> = expect
        .iter()
        .map(|(kind, lengths)| ((*kind).to_owned(), lengths.to_vec()))
        .collect();
    assert_eq!(batches(queue(requests), batch_max, bytes_max), expect);
}

#[test]
fn a_batch_is_bounded_in_bytes() {
    let requests = [("a", 40), ("a", 60), ("a", 1), ("a", 99), ("a", 1)];
    check(
        &requests,
        64,
        100,
        &[("a", &[40, 60]), ("a", &[1, 99]), ("a", &[1])],
    );
}

#[test]
fn a_request_over_the_bound_travels_alone() {
    let requests = [("a", 10), ("a", 500), ("a", 10), ("a", 10)];
    check(
        &requests,
        64,
        100,
        &[("a", &[10]), ("a", &[500]), ("a", &[10, 10])],
    );
}

#[test]
fn a_batch_is_bounded_in_number_even_when_bodies_are_empty() {
    check(
        &[("a", 0); 5],
        2,
        100,
        &[("a", &[0, 0]), ("a", &[0, 0]), ("a", &[0])],
    );
    check(&[], 2, 100, &[]);
}

#[test]
fn topics_take_turns() {
    let requests = [("a", 1), ("a", 1), ("a", 1), ("b", 2), ("a", 1), ("c", 3)];
    let expect: &[(&str, &[usize])] = &[("a", &[1, 1]), ("b", &[2]), ("c", &[3]), ("a", &[1, 1])];
    check(&requests, 2, 100, expect);
}

#[test]
fn events_of_one_topic_that_go_to_different_routes_have_different_batches() {
    let requests = [
        ("a", 1),
        ("a!", 2),
        ("a", 3),
        ("a!", 4),
        ("b!", 5),
        ("a", 6),
    ];
    let expect: &[(&str, &[usize])] = &[("a", &[1, 3]), ("a!", &[2, 4]), ("b!", &[5]), ("a", &[6])];
    check(&requests, 2, 100, expect);
}

/// A broker that confirms no publish until the test allows it.
struct Gate {
    open: watch::Sender<bool>,
    begun: watch::Sender<usize>,
}

#[async_trait]
impl Broker for Gate {
    async fn publish(&self, _: &[RouteName], _: &Batch) -> Result<(), PublishError> {
        self.begun.send_modify(|begun| *begun += 1);
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.unwrap();
        Ok(())
    }

    async fn publish_report(&self, _: &Account) -> Result<(), PublishError> {
        Ok(())
    }

    async fn subscribe(&self, _: &BrokerQueue, _: u16) -> Result<Box<dyn Subscription>, Fault> {
        Err(Fault::plain(FaultKind::Internal, "subscribe"))
    }

    async fn depths(&self) -> Result<Vec<Depth>, Fault> {
        Ok(Vec::new())
    }

    fn readiness(&self) -> Readiness {
        Readiness::Ready
    }

    async fn close(&self) {}
}

/// Starts a batcher on a broker that confirms at once.
fn open_batcher(tasks: &TaskTracker, counters: &Arc<Counters>, limits: &Limits) -> Batcher {
    let broker: Arc<dyn Broker> = Arc::new(Gate {
        open: watch::channel(true).0,
        begun: watch::channel(0).0,
    });
    let instance = InstanceId::new(NOW, [0; 10]);
    let accounting = Accounting::new(instance, Arc::clone(&broker), Arc::clone(counters));
    Batcher::start(
        tasks,
        broker,
        routing(),
        limits,
        (instance, Arc::new(accounting)),
        (Arc::clone(counters), Arc::default()),
    )
}

/// All publish slots are idle, and twenty connections have a request ready. The first request wakes
/// a publish slot. That slot must not publish a batch before the other connections have run. The
/// runtime is that of the binary, with one thread, so that the order in which tasks run is fixed.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn requests_that_are_ready_at_once_share_a_batch() {
    let (tasks, counters) = (TaskTracker::new(), Arc::new(Counters::default()));
    let batcher = Arc::new(open_batcher(&tasks, &counters, &Limits::standard()));
    let patience = Duration::from_secs(20);
    let (connections, of_batcher) = (TaskTracker::new(), Arc::clone(&batcher));
    let spawning = connections.clone();
    // On the thread of the runtime, none of these tasks runs before all of them are spawned.
    let spawned = connections.spawn(async move {
        for _ in 0..20 {
            let batcher = Arc::clone(&of_batcher);
            spawning.spawn(async move {
                let published = batcher.publish(request("a", 1), patience).await;
                assert_eq!(published, Ok(()));
            });
        }
    });
    spawned.await.unwrap();
    connections.close();
    connections.wait().await;
    assert_eq!(counters.batches.load(Ordering::Relaxed), 1);
    batcher.close();
    tasks.close();
    tokio::time::timeout(patience, tasks.wait()).await.unwrap();
}

#[tokio::test]
async fn nothing_is_taken_over_the_limit_or_after_closing() {
    let gate = Arc::new(Gate {
        open: watch::channel(false).0,
        begun: watch::channel(0).0,
    });
    let limits = Limits {
        publish_slots: 1,
        waiting_max: 2,
        ..Limits::standard()
    };
    let (tasks, counters) = (TaskTracker::new(), Arc::new(Counters::default()));
    let broker = Arc::clone(&gate) as Arc<dyn Broker>;
    let instance = InstanceId::new(NOW, [0; 10]);
    let accounting = Accounting::new(instance, Arc::clone(&broker), Arc::clone(&counters));
    let batcher = Batcher::start(
        &tasks,
        broker,
        routing(),
        &limits,
        (instance, Arc::new(accounting)),
        (Arc::clone(&counters), Arc::default()),
    );
    let batcher = &batcher;
    let patience = Duration::from_secs(20);
    let first = batcher.publish(request("a", 1), patience);
    let others = async {
        let mut begun = gate.begun.subscribe();
        begun.wait_for(|begun| *begun == 1).await.unwrap();
        let (second, third, over) = tokio::join!(
            biased;
            batcher.publish(request("a", 1), patience),
            batcher.publish(request("b", 1), patience),
            async {
                let over = batcher.publish(request("b", 1), patience).await;
                assert_eq!(counters.waiting.load(Ordering::Relaxed), 2);
                batcher.close();
                let late = batcher.publish(request("a", 1), patience).await;
                assert_eq!(late, Err(NotAccepted::Draining));
                gate.open.send_replace(true);
                over
            },
        );
        assert_eq!(over, Err(NotAccepted::TooBusy));
        (second, third)
    };
    let (first, others) = tokio::join!(first, others);
    assert_eq!((first, others), (Ok(()), (Ok(()), Ok(()))));
    // Requests that were taken before closing are published; then the publish slots end.
    tasks.close();
    tokio::time::timeout(patience, tasks.wait()).await.unwrap();
    assert_eq!(counters.batches.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn an_event_that_no_route_selects_is_counted_once_it_is_confirmed() {
    let (tasks, counters) = (TaskTracker::new(), Arc::new(Counters::default()));
    let batcher = open_batcher(&tasks, &counters, &Limits::standard());
    let patience = Duration::from_secs(20);
    for (kind, expect) in [
        ("a!", None),
        ("a", Some(1)),
        ("b!", Some(1)),
        ("c", Some(2)),
    ] {
        let published = batcher.publish(request(kind, 1), patience).await;
        assert_eq!(published, Ok(()));
        let unrouted = counters.unrouted_by_source();
        assert_eq!(unrouted.get("begini").copied(), expect, "{kind}");
    }
    batcher.close();
    tasks.close();
    tokio::time::timeout(patience, tasks.wait()).await.unwrap();
}
