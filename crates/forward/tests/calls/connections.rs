//! Tests how connections are used again, and how many calls can run at the same time.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use hookbox_forward::{CallClass, Client, Resolve};
use hookbox_testkit::eventually::eventually;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time;

use crate::service::{Reply, Service, Then};
use crate::world::{Names, call, client, client_of, failure, localhost, settings};

/// How many calls may be in flight to one target at the same time.
const IN_FLIGHT: usize = 256;

/// How many calls the test of idle connections makes at the same time.
const BURST: usize = 8;

/// A time after which a connection that waits for its next request is closed.
const TOO_LONG: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_connection_is_used_again_after_an_answer() {
    let replies = |number: usize| match number % 3 {
        0 => Reply::ok(),
        1 => Reply::answer("500 Internal Server Error", "", "no"),
        _ => Reply::answer("204 No Content", "", ""),
    };
    let service = Service::new(replies).await;
    let client = client(&service);
    for number in 0..12 {
        let result = client.call(&call()).await;
        assert_eq!(result.is_err(), number % 3 == 1, "{result:?}");
    }
    assert_eq!((service.received().len(), service.opened()), (12, 1));
}

#[tokio::test]
async fn a_connection_that_the_service_closes_is_replaced() {
    let closing = Reply::answer("200 OK", "connection: close\r\n", "{}");
    let silently = Reply::new(Reply::ok().bytes, Then::Close);
    for reply in [closing, silently] {
        let service = Service::new(move |_| reply.clone()).await;
        let client = client(&service);
        for calls in 1..=5 {
            client.call(&call()).await.unwrap();
            assert_eq!(service.received().len(), calls);
        }
        assert_eq!(service.opened(), 5);
    }
}

/// The service closes the connection when the second request has arrived. The client cannot
/// distinguish this from a request that never arrived.
#[tokio::test]
async fn a_used_connection_that_is_lost_costs_no_attempt() {
    let replies = |number| match number {
        1 => Reply::new("", Then::Close),
        _ => Reply::ok(),
    };
    let service = Service::new(replies).await;
    let client = client(&service);
    client.call(&call()).await.unwrap();
    client.call(&call()).await.unwrap();
    let received = service.received();
    assert_eq!((received.len(), service.opened()), (3, 2));
    for name in [
        "idempotency-key",
        "webhook-id",
        "webhook-signature",
        "hookbox-epoch",
    ] {
        assert_eq!(received[1].headers[name], received[2].headers[name]);
    }
}

/// An answer without a request must not be taken for the answer to the next event.
#[tokio::test]
async fn a_connection_with_a_further_answer_is_not_used_again() {
    let further = Reply::answer("410 Gone", "", "").bytes;
    let both = [Reply::ok().bytes, further].concat();
    let service = Service::new(move |_| Reply::new(both.clone(), Then::Next)).await;
    let client = client(&service);
    for _ in 0..3 {
        client.call(&call()).await.unwrap();
    }
    assert_eq!((service.received().len(), service.opened()), (3, 3));
}

#[tokio::test]
async fn a_new_connection_that_is_lost_is_not_tried_again() {
    let service = Service::new(|_| Reply::new("", Then::Close)).await;
    let error = failure(&client(&service)).await;
    assert_eq!(error.class, CallClass::Unanswered);
    assert_eq!((service.received().len(), service.opened()), (1, 1));
}

#[tokio::test]
async fn many_calls_run_at_the_same_time() {
    let service = Service::together(IN_FLIGHT).await;
    let names = Names::local();
    let client = client_of(&settings(service.address.port()), names.clone());
    let client: Arc<Client> = client.into();
    // The loop runs twice. The second time, the calls use the connections that the calls of the
    // first time have opened.
    for _ in 0..2 {
        call_at_once(&client, IN_FLIGHT).await;
    }
    assert_eq!(service.received().len(), 2 * IN_FLIGHT);
    assert!(service.opened() <= 2 * IN_FLIGHT, "{}", service.opened());
    assert!(names.lookups() <= service.opened());
}

/// A resolver that answers when the test opens its gate.
struct SlowNames {
    gate: Semaphore,
    lookups: AtomicUsize,
}

#[async_trait]
impl Resolve for SlowNames {
    async fn resolve(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let _passed = self.gate.acquire().await.unwrap();
        Ok(vec![localhost()])
    }
}

#[tokio::test]
async fn calls_at_the_same_time_share_a_lookup() {
    let service = Service::new(|_| Reply::ok()).await;
    let names = Arc::new(SlowNames {
        gate: Semaphore::new(0),
        lookups: AtomicUsize::new(0),
    });
    let client = client_of(&settings(service.address.port()), Arc::clone(&names) as _);
    let event = call();
    let mut calls: Vec<_> = (0..20).map(|_| Box::pin(client.call(&event))).collect();
    poll_fn(|context| {
        for call in &mut calls {
            assert!(call.as_mut().poll(context).is_pending());
        }
        Poll::Ready(())
    })
    .await;
    names.gate.add_permits(1);
    for call in calls {
        call.await.unwrap();
    }
    // The first call makes the first lookup. The other calls need a lookup that begins after they
    // have asked for one, so one of them makes a second lookup for all of them.
    assert_eq!(names.lookups.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_call_that_is_given_up_closes_its_connection() {
    let service = Service::new(|_| Reply::new("", Then::Hang)).await;
    let client = client(&service);
    let (event, received) = (call(), async || !service.received().is_empty());
    let calling = client.call(&event);
    tokio::select! {
        result = calling => panic!("the call must wait for an answer: {result:?}"),
        () = eventually("the service must receive the request", received) => {}
    }
    eventually("the client must close the connection", async || {
        service.open() == 0
    })
    .await;
}

/// No call is made meanwhile, so only the client itself can close the connections. In the second
/// round, connections wait again after all connections before them were closed.
#[tokio::test]
async fn connections_that_wait_for_too_long_are_closed_without_another_call() {
    let service = Service::together(BURST).await;
    let client: Arc<Client> = client(&service).into();
    for round in 1..=2 {
        call_at_once(&client, BURST).await;
        assert_eq!(service.opened(), round * BURST);
        // The service waits for no timer, so the test may pause the clock and move it forward.
        time::pause();
        time::advance(TOO_LONG).await;
        time::resume();
        eventually("the client must close the connections", async || {
            service.open() == 0
        })
        .await;
    }
}

#[tokio::test]
async fn the_task_of_a_client_ends_with_it() {
    let alive = || Handle::current().metrics().num_alive_tasks();
    let service = Service::new(|_| Reply::ok()).await;
    let client = client(&service);
    let before = alive();
    client.call(&call()).await.unwrap();
    drop(client);
    eventually(
        "only the task of the service must be left",
        async || match alive() {
            left if left == before => Ok(()),
            left => Err(left),
        },
    )
    .await;
}

/// Makes so many calls at the same time, all of which must succeed.
async fn call_at_once(client: &Arc<Client>, count: usize) {
    let mut calls = JoinSet::new();
    for _ in 0..count {
        let client = Arc::clone(client);
        calls.spawn(async move { client.call(&call()).await });
    }
    while let Some(result) = calls.join_next().await {
        result.unwrap().unwrap();
    }
}
