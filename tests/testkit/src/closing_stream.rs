//! A connection in memory whose other side closes it after a given number of reads. With different
//! numbers of reads, a test makes a client meet the end of its connection at every moment around a
//! request.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection on which the response to the first request arrives, and which then ends.
pub struct ClosingStream {
    is_written: bool,
    is_answered: bool,
    /// How many reads find nothing between the response and the end.
    empty_reads: usize,
}

impl ClosingStream {
    /// Makes a connection that ends when this many reads after the response have found nothing.
    pub fn after(empty_reads: usize) -> Self {
        Self {
            is_written: false,
            is_answered: false,
            empty_reads,
        }
    }
}

impl AsyncRead for ClosingStream {
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

impl AsyncWrite for ClosingStream {
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
