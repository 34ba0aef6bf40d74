//! Tests connections on which no request is under way. The ingest keeps them open longer than a
//! load balancer does, unless another connection needs their place.

use std::time::Duration;

use hookbox_ingest::Limits;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::client::{PATIENCE, head};
use crate::world::{EVENT, World, begini, hasty};

/// Advances the paused clock by `seconds` and lets every task run whose timer expired.
async fn pass(seconds: f64) {
    sleep(self::seconds(seconds)).await;
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_outlives_that_of_a_balancer() {
    let (world, mut served) = (World::new().await, JoinSet::new());
    let mut client = world.piped(&mut served).await;
    for idle in [0.0, 4.95, 5.0, 5.05, 60.0, 74.9] {
        pass(idle).await;
        let answer = client.ask(&begini(EVENT)).await;
        assert_eq!(answer.status, 200, "after {idle} s");
    }
    let since = Instant::now();
    pass(70.0).await;
    assert!(client.closes().await);
    let idle = since.elapsed();
    assert!(idle >= seconds(75.0) && idle < seconds(76.0), "{idle:?}");
    served.join_next().await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_be_opened_before_it_is_used() {
    let (world, mut served) = (World::new().await, JoinSet::new());
    let mut client = world.piped(&mut served).await;
    let mut unused = world.piped(&mut served).await;
    pass(74.9).await;
    assert_eq!(client.ask(&begini(EVENT)).await.status, 200);
    assert!(unused.closes_within(seconds(1.0)).await);
}

#[tokio::test(start_paused = true)]
async fn a_head_has_its_time_from_its_first_byte() {
    let (world, mut served) = (World::new().await, JoinSet::new());
    let request = begini(EVENT);
    for idle in [0.0, 70.0, 74.9] {
        let mut client = world.piped(&mut served).await;
        assert_eq!(client.ask(&request).await.status, 200);
        pass(idle).await;
        client.send(&request[..10]).await;
        pass(4.9).await;
        let answer = client.ask(&request[10..]).await;
        assert_eq!(answer.status, 200, "after {idle} s");
        // The deadline covers the whole head: sending the head byte by byte does not extend it.
        pass(idle).await;
        let since = Instant::now();
        let mut bytes = 0;
        while client.offer(&request[bytes..=bytes]).await
            && !client.closes_within(seconds(0.5)).await
        {
            bytes += 1;
            assert!(
                bytes < 11,
                "single bytes must not extend the deadline of the head ({idle} s idle before)"
            );
        }
        let cut = since.elapsed();
        assert!(cut >= seconds(5.0) && cut < seconds(6.0), "{cut:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_sent_together_are_answered_before_the_connection_is_idle() {
    let (world, mut served) = (World::new().await, JoinSet::new());
    let mut client = world.piped(&mut served).await;
    let health = head("GET", "/healthz", &[]);
    client.send(&[begini(EVENT), health].concat()).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(client.answer().await.unwrap().status, 200);
    pass(74.0).await;
    assert_eq!(client.ask(&begini(EVENT)).await.status, 200);
    drop(client);
    served.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_place_that_is_wanted_is_given_up() {
    let world = World::with(Limits {
        connections_per_address_max: 2,
        idle_deadline: PATIENCE * 3,
        ..hasty()
    })
    .await;
    let mut first = world.client().await;
    let mut second = world.client().await;
    assert_eq!(first.ask(&begini(EVENT)).await.status, 200);
    assert_eq!(second.ask(&begini(EVENT)).await.status, 200);
    assert!(first.closes().await);
    assert_eq!(world.begini(EVENT).await.status, 200);
}

#[tokio::test]
async fn a_head_that_has_begun_is_answered_while_it_drains() {
    let mut world = World::new().await;
    let request = begini(EVENT);
    let mut client = world.client().await;
    assert_eq!(client.ask(&request).await.status, 200);
    client.send(&request[..10]).await;
    // The answer to this request, on another connection, shows that the ingest has also read the
    // start of the head: those bytes were sent earlier.
    assert_eq!(world.begini(EVENT).await.status, 200);
    world.shutdown.cancel();
    let answer = client.ask(&request[10..]).await;
    assert_eq!(answer.header("connection"), Some("close"));
    assert!([200, 503].contains(&answer.status), "{}", answer.status);
    assert!(client.closes().await);
    world.until_stopped().await;
    let accepted = 2 + usize::from(answer.status == 200);
    assert_eq!(world.broker.envelopes().len(), accepted);
}
