//! Tests requests that are refused before their body is read to its end. Most senders and proxies
//! read no answer before they have sent the whole body, and a connection that is closed with unread
//! bytes is reset. So ingest must read the rest of the body before it answers.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::interval;

use crate::client::head;
use crate::world::World;

/// One chunk of 64 KiB.
fn chunk() -> Vec<u8> {
    [b"10000\r\n", &[b' '; 0x10000][..], b"\r\n"].concat()
}

/// The body exceeds the limit of 1 MiB after 3.2 s, which is more than the two seconds for which
/// the rate of a body does not count.
#[tokio::test(start_paused = true)]
async fn chunks_over_the_limit_may_arrive_as_slowly_as_those_below_it() {
    let (world, mut served) = (World::new().await, JoinSet::new());
    let mut client = world.piped(&mut served).await;
    let headers = [("transfer-encoding", "chunked")];
    client.send(&head("POST", "/hooks/begini", &headers)).await;
    let mut ticks = interval(Duration::from_millis(200));
    for number in 1..=24 {
        ticks.tick().await;
        assert!(
            client.offer(&chunk()).await,
            "the connection must not be cut at chunk {number}, while the sender still sends"
        );
    }
    assert!(client.offer(b"0\r\n\r\n").await);
    assert_eq!(client.answer().await.unwrap().status, 413);
    assert!(client.closes().await);
    world.nothing_published();
    served.join_next().await.unwrap().unwrap();
}
