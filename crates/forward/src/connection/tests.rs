//! Tests a connection that the service closes at any moment.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use hookbox_testkit::closing_stream::ClosingStream;

use super::*;

fn request() -> Request<Full<Bytes>> {
    let request = Request::post("/").header("host", "127.0.0.1");
    request.body(Full::default()).unwrap()
}

fn deadlines() -> Deadlines {
    let head = Instant::now() + Duration::from_secs(10);
    Deadlines {
        head,
        body: head,
        body_wait: Duration::from_secs(1),
    }
}

/// The service closes the connection just before a request is sent on it, or while it is sent. The
/// call must fail at once with the error that the connection was lost, and not wait until its
/// deadline.
#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_around_a_request_is_lost_at_once() {
    for empty_reads in 0..8 {
        let stream = Box::new(ClosingStream::after(empty_reads));
        let connection = Connection::open(stream).await.unwrap();
        let first = connection.exchange(request(), deadlines()).await.unwrap();
        assert_eq!(first.0.status, 200);
        // The service may already have closed the connection before the second request. There is no
        // second request then.
        let Some(mut connection) = first.1 else {
            continue;
        };
        if !connection.is_alive().await {
            continue;
        }
        let second = connection.exchange(request(), deadlines()).await;
        assert!(
            matches!(second, Err(ExchangeError::Lost(_))),
            "the second request must fail as lost if the end comes after {empty_reads} empty reads"
        );
    }
}
