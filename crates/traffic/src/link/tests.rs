//! Tests a connection that the server closes at any moment.

#![allow(clippy::unwrap_used)]

use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use super::*;

/// A connection on which the response to the first request arrives, and then its end.
struct Scripted {
    is_written: bool,
    is_answered: bool,
    /// How many reads find nothing between the response and the end.
    empty_reads: usize,
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_answered && self.is_written {
            self.is_answered = true;
            buffer.put_slice(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
            return Poll::Ready(Ok(()));
        }
        if self.is_answered {
            let Some(left) = self.empty_reads.checked_sub(1) else {
                return Poll::Ready(Ok(()));
            };
            self.empty_reads = left;
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_written = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn request() -> Request<Full<Bytes>> {
    let request = Request::post("/hooks/begini").header("host", "127.0.0.1");
    request.body(Full::default()).unwrap()
}

/// Checks a server that closes the connection just before a request is sent on it, or while it is
/// sent. The client must notice it at once, and not wait for a response that can't come.
#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_around_a_request_is_lost_at_once() {
    for empty_reads in 0..8 {
        let stream: Box<dyn Stream> = Box::new(Scripted {
            is_written: false,
            is_answered: false,
            empty_reads,
        });
        let opened = http1::handshake(TokioIo::new(stream)).await.unwrap();
        // A new connection can't be opened: nothing listens on port 9 (discard).
        let target = Target::new("http://127.0.0.1:9", "begini").unwrap();
        let mut link = Link::new(Arc::new(target)).unwrap();
        link.open = Some((opened.0, Some(Box::pin(opened.1))));
        let first = link.exchange(request()).await.unwrap();
        assert_eq!(first.status, 200);
        let second = link.exchange(request()).await.unwrap_err();
        assert!(
            matches!(second, LinkError::Lost(_) | LinkError::Unreachable { .. }),
            "with {empty_reads} reads before the end: {second:?}"
        );
    }
}
