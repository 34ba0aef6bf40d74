//! An HTTP/1.1 connection without a task of its own: the task that waits for an answer on it also
//! reads and writes its socket. So a call that is given up leaves nothing behind, and a drain waits
//! for no task of a connection.

use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use crate::answer::{Answer, EXCERPT_BYTES_MAX};
use crate::connect::Stream;

/// The largest head of an answer, in bytes. Servers send far less.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How much of the body of an answer is read, in bytes, so that the connection can be used again.
/// If the body is longer, it is cheaper to open another connection.
const BODY_BYTES_MAX: usize = 64 * 1024;

type Sending = http1::SendRequest<Full<Bytes>>;

/// Reads and writes the socket. It is dropped when the connection has ended (see [`drive`]).
type Driving = Option<Pin<Box<http1::Connection<TokioIo<Box<dyn Stream>>, Full<Bytes>>>>>;

/// A connection on which no request is under way.
pub(crate) struct Connection {
    sending: Sending,
    driving: Driving,
    /// When the connection was opened.
    pub opened: Instant,
}

/// The time limits of one exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    /// The deadline for the head of the answer.
    pub head: Instant,
    /// The deadline for the body of the answer.
    pub body: Instant,
    /// How long the body may take after the head.
    pub body_wait: std::time::Duration,
}

/// Why there is no answer to a request. The service may have received the request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("the connection was lost before the answer arrived")]
    Lost(#[source] hyper::Error),
    #[error("the answer is not HTTP")]
    Malformed(#[source] hyper::Error),
    #[error("no answer in time")]
    Late,
}

impl Connection {
    pub async fn open(stream: Box<dyn Stream>) -> Result<Self, ExchangeError> {
        let (sending, driving) = http1::Builder::new()
            .max_header_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(ExchangeError::Lost)?;
        Ok(Self {
            sending,
            driving: Some(Box::pin(driving)),
            opened: Instant::now(),
        })
    }

    /// Returns at once whether the connection can take a request. It cannot if the service has
    /// closed it, or has sent bytes that no request asked for.
    pub async fn is_alive(&mut self) -> bool {
        std::future::poll_fn(|context| {
            if let Some(driving) = &mut self.driving
                && driving.as_mut().poll(context).is_ready()
            {
                self.driving = None;
            }
            Poll::Ready(self.driving.is_some() && self.sending.is_ready())
        })
        .await
    }

    /// Sends a request and reads its answer. Returns the connection if it can be used again.
    pub async fn exchange(
        mut self,
        request: Request<Full<Bytes>>,
        deadlines: Deadlines,
    ) -> Result<(Answer, Option<Self>), ExchangeError> {
        let head = self.head(request);
        let response = timeout_at(deadlines.head, head)
            .await
            .map_err(|_| ExchangeError::Late)??;
        let (parts, mut body) = response.into_parts();
        let retry_after = parts.headers.get(RETRY_AFTER);
        let mut answer = Answer {
            status: parts.status,
            retry_after: retry_after.and_then(|value| value.to_str().ok().map(str::to_owned)),
            body: Vec::new(),
            is_cut: false,
        };
        let deadline = deadlines.body.min(Instant::now() + deadlines.body_wait);
        let whole = self.body(&mut body, &mut answer);
        // The status decides what becomes of the event, so a late or broken body changes nothing.
        let is_whole = timeout_at(deadline, whole).await.unwrap_or(false);
        answer.is_cut |= !is_whole;
        drop(body);
        let is_reusable = is_whole && self.is_idle(deadline).await;
        Ok((answer, is_reusable.then_some(self)))
    }

    async fn head(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ExchangeError> {
        let sent = self.sending.send_request(request);
        tokio::pin!(sent);
        loop {
            tokio::select! {
                biased;
                response = &mut sent => return response.map_err(failed),
                () = drive(&mut self.driving), if self.driving.is_some() => {}
            }
        }
    }

    /// Reads the body, and keeps its beginning. Returns whether all of it was read.
    async fn body(&mut self, body: &mut Incoming, answer: &mut Answer) -> bool {
        let mut read = 0_usize;
        loop {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = drive(&mut self.driving), if self.driving.is_some() => continue,
            };
            let data = match frame {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            let room = EXCERPT_BYTES_MAX.saturating_sub(answer.body.len());
            let kept = data.get(..room).unwrap_or(&data);
            answer.body.extend_from_slice(kept);
            answer.is_cut |= kept.len() < data.len();
            read = read.saturating_add(data.len());
            if read > BODY_BYTES_MAX {
                return false;
            }
        }
    }

    /// Waits until the connection can take another request. Returns `false` if the service closes
    /// the connection.
    async fn is_idle(&mut self, deadline: Instant) -> bool {
        if self.driving.is_none() {
            return false;
        }
        let idle = async {
            tokio::select! {
                biased;
                () = drive(&mut self.driving) => false,
                ready = self.sending.ready() => ready.is_ok(),
            }
        };
        timeout_at(deadline, idle).await.unwrap_or(false)
    }
}

/// Runs a connection until it has ended, and then drops it. Without the drop, a request would get
/// no error if the service closes the connection at the moment when the request is handed to it.
async fn drive(driving: &mut Driving) {
    if let Some(connection) = driving {
        // The error can be ignored, because the request on the connection gets it, too.
        let _ = connection.as_mut().await;
        *driving = None;
    }
}

fn failed(error: hyper::Error) -> ExchangeError {
    if error.is_parse() {
        ExchangeError::Malformed(error)
    } else {
        ExchangeError::Lost(error)
    }
}

#[cfg(test)]
mod tests;
