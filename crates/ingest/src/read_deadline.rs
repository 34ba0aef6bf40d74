//! A stream with two read deadlines: one for an idle connection, and one for the head of a request,
//! which starts at the first byte of the head.
//!
//! hyper has a single deadline, from the end of the last answer to the end of the next head. If
//! this deadline is short, hyper closes connections that a load balancer is about to use, and the
//! request that the balancer has just sent is lost. If it is long, an attacker can keep a
//! connection busy with a head that arrives one byte at a time.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;

use crate::Limits;
use crate::places::Place;

/// Ends a connection that is idle for too long: reading returns the end of the stream, so that
/// hyper closes the connection without an error. If a head takes too long, reading fails. While a
/// request is under way, this type limits nothing: bodies and answers have deadlines of their own.
pub(crate) struct ReadDeadline<S> {
    stream: S,
    requests: Arc<Requests>,
    place: Option<Arc<Place>>,
    drain: CancellationToken,
    idle_deadline: Duration,
    head_deadline: Duration,
    wait: Wait,
    /// How many answers have been sent completely.
    flushed: u64,
    timer: Pin<Box<Sleep>>,
}

/// What the stream waits for while no request is under way.
#[derive(Clone, Copy)]
enum Wait {
    /// The first byte of a head, for which the stream has waited since this time.
    FirstByte { since: Instant },
    /// The rest of the head of a request. The connection had `after` earlier requests. If the first
    /// bytes of a head were read together with the previous request, the stream does not notice
    /// that head, and treats the connection as idle.
    Head { after: u64 },
}

/// How many requests of one connection were started and answered. The service that hyper calls
/// counts them, because only hyper knows where the head of a request ends.
#[derive(Default)]
pub(crate) struct Requests {
    begun: AtomicU64,
    answered: AtomicU64,
}

/// A request whose head was read. It ends when its answer is complete.
pub(crate) struct OpenRequest(Arc<Requests>);

impl Requests {
    pub fn open(self: &Arc<Self>) -> OpenRequest {
        self.begun.fetch_add(1, Ordering::Relaxed);
        OpenRequest(Arc::clone(self))
    }

    // Relaxed memory ordering is enough, because one task polls both the service and the stream.
    fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.answered.fetch_add(1, Ordering::Relaxed);
    }
}

impl<S> ReadDeadline<S> {
    pub fn new(
        stream: S,
        limits: &Limits,
        requests: Arc<Requests>,
        place: Option<Arc<Place>>,
        drain: CancellationToken,
    ) -> Self {
        let is_reserve = place.as_ref().is_some_and(|place| place.is_reserve());
        let idle_deadline = if is_reserve {
            limits.idle_deadline.min(limits.head_deadline)
        } else {
            limits.idle_deadline
        };
        let deadline = Self {
            stream,
            requests,
            place,
            drain,
            idle_deadline,
            head_deadline: limits.head_deadline,
            wait: Wait::FirstByte {
                since: Instant::now(),
            },
            flushed: 0,
            timer: Box::pin(sleep(limits.head_deadline.min(idle_deadline))),
        };
        deadline.show(false);
        deadline
    }

    /// Records whether a request is under way, which decides which connection is closed to make
    /// room.
    fn show(&self, is_busy: bool) {
        if let Some(place) = &self.place {
            place.set_busy(is_busy);
        }
    }

    /// Starts the deadline of a head when its first bytes have been read.
    fn bytes_came(&mut self) {
        let begun = self.requests.begun();
        if begun != self.requests.answered() {
            return;
        }
        match self.wait {
            Wait::Head { after } if after == begun => {}
            Wait::Head { .. } | Wait::FirstByte { .. } => {
                self.wait = Wait::Head { after: begun };
                self.show(true);
                self.timer
                    .as_mut()
                    .reset(Instant::now() + self.head_deadline);
            }
        }
    }

    /// Called when no byte can be read now. Returns `Ready` if the peer has sent nothing for too
    /// long: with an error if a head is incomplete, otherwise with `Ok`, which ends the stream.
    fn overdue(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let begun = self.requests.begun();
        if begun != self.requests.answered() || begun != self.flushed {
            return Poll::Pending;
        }
        match self.wait {
            Wait::Head { after } if after == begun => self
                .timer
                .as_mut()
                .poll(context)
                .map(|()| Err(io::ErrorKind::TimedOut.into())),
            // The head was completed, and its request has been answered, so the connection is idle
            // now.
            Wait::Head { .. } => {
                self.idle_from(Instant::now());
                self.idle(context)
            }
            Wait::FirstByte { .. } => self.idle(context),
        }
    }

    fn idle_from(&mut self, since: Instant) {
        self.wait = Wait::FirstByte { since };
        self.show(false);
        let next = self.head_deadline.min(self.idle_deadline);
        self.timer.as_mut().reset(since + next);
    }

    /// Returns `Ready` when this idle connection must be closed; hyper then reads the end of the
    /// stream.
    fn idle(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Wait::FirstByte { since } = self.wait else {
            return Poll::Pending;
        };
        if self.drain.is_cancelled() {
            return Poll::Ready(Ok(()));
        }
        while self.timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let is_wanted = self.place.as_ref().is_some_and(|place| place.is_wanted());
            if now >= since + self.idle_deadline || is_wanted {
                return Poll::Ready(Ok(()));
            }
            // The timer is set again, for at most `head_deadline`, because a connection that
            // arrives later may need the place of this one.
            let next = (now + self.head_deadline).min(since + self.idle_deadline);
            self.timer.as_mut().reset(next);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadDeadline<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                if buffer.filled().len() > before {
                    this.bytes_came();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // All bytes that have arrived so far were read above, so a timeout now loses only bytes
            // that arrive later.
            Poll::Pending => this.overdue(context),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadDeadline<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        // hyper calls this function when its own buffer is empty. So once it succeeds, every answer
        // so far has been sent completely.
        let answered = this.requests.answered();
        if matches!(flushed, Poll::Ready(Ok(()))) && this.flushed != answered {
            this.flushed = answered;
            if let Wait::FirstByte { .. } = this.wait {
                this.idle_from(Instant::now());
            }
            // While the request was under way, hyper tried to read the next one and found nothing.
            // It tries again only when its task is woken. So the task is woken here if the
            // connection must end.
            if this.overdue(context).is_ready() {
                context.waker().wake_by_ref();
            }
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
