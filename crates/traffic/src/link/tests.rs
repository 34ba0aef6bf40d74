//! Tests a connection that the server closes at any moment.

#![allow(clippy::unwrap_used)]

use hookbox_testkit::closing_stream::ClosingStream;

use super::*;

fn request() -> Request<Full<Bytes>> {
    let request = Request::post("/hooks/begini").header("host", "127.0.0.1");
    request.body(Full::default()).unwrap()
}

/// The server closes the connection just before a request is sent on it, or while the request is
/// sent. The client must notice at once that no response can come, and must not wait for one.
#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_around_a_request_is_lost_at_once() {
    for empty_reads in 0..8 {
        let stream: Box<dyn Stream> = Box::new(ClosingStream::after(empty_reads));
        let opened = http1::handshake(TokioIo::new(stream)).await.unwrap();
        // A new connection cannot be opened: nothing listens on port 9 (discard).
        let target = Target::new("http://127.0.0.1:9", "begini").unwrap();
        let mut link = Link::new(Arc::new(target)).unwrap();
        link.open = Some((opened.0, Some(Box::pin(opened.1))));
        let first = link.exchange(request()).await.unwrap();
        assert_eq!(first.status, 200);
        let second = link.exchange(request()).await.unwrap_err();
        assert!(
            matches!(second, LinkError::Lost(_) | LinkError::Unreachable { .. }),
            "the second request must fail as lost with {empty_reads} empty reads: {second:?}"
        );
    }
}
