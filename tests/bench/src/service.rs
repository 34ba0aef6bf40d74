//! The service to which the handler `forward` posts: it reads each request to its end, and answers
//! with status 204, at once or after a time. It runs in a thread of the bench and does as little as
//! possible, because it shares the machine with the build that is measured.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::load::content_length;

const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// The largest request that is read, in bytes. The requests of the bench have fewer than 2,000.
const REQUEST_MAX: usize = 64 * 1024;

/// A running service. Dropping it ends its thread.
pub(crate) struct Service {
    pub port: u16,
    counts: Arc<Counts>,
    /// The service ends when this sender is dropped.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The numbers of requests of a service.
#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    in_flight: AtomicU64,
    most_in_flight: AtomicU64,
}

impl Service {
    /// Starts a service that takes this long for each request, and works on any number of requests
    /// at the same time.
    pub fn start(takes: Duration) -> Result<Service> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("starting a service")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("service".to_owned());
        let thread = thread.spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    ended = accept(listener, takes, shared) => {
                        if let Err(error) = ended {
                            eprintln!("the service of the bench has ended: {error:#}");
                        }
                    }
                    // An error means that the service was dropped.
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Service {
            port,
            counts,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Returns how many requests were answered so far.
    pub fn answered(&self) -> u64 {
        self.counts.answered.load(Ordering::Relaxed)
    }

    /// Returns the highest number of requests that were not answered yet at the same time.
    pub fn most_in_flight(&self) -> u64 {
        self.counts.most_in_flight.load(Ordering::Relaxed)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // An error means that the thread has panicked. The panic is already printed.
            let _ = thread.join();
        }
    }
}

impl Counts {
    fn begin(&self) {
        let now = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_in_flight.fetch_max(now, Ordering::Relaxed);
    }

    fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.answered.fetch_add(1, Ordering::Relaxed);
    }
}

async fn accept(listener: TcpListener, takes: Duration, counts: Arc<Counts>) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let counts = Arc::clone(&counts);
        connections.spawn(async move {
            // An error is ignored, because the worker may close its connections at any time.
            let _ = serve(stream, takes, &counts).await;
        });
        // The tasks of connections that have ended are removed.
        while connections.try_join_next().is_some() {}
    }
}

/// Answers the requests of a connection until its end.
async fn serve(mut stream: TcpStream, takes: Duration, counts: &Counts) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4096);
    while let Some(length) = read(&mut stream, &mut buffer).await? {
        counts.begin();
        if !takes.is_zero() {
            sleep(takes).await;
        }
        counts.end();
        stream.write_all(ANSWER).await?;
        buffer.drain(..length);
    }
    Ok(())
}

/// Reads until the buffer has a whole request, and returns the length of this request; `None` at
/// the end of the connection.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Option<usize>> {
    loop {
        if let Some(length) = request_length(buffer)?
            && length <= buffer.len()
        {
            return Ok(Some(length));
        }
        ensure!(
            buffer.len() < REQUEST_MAX,
            "a request to the service is too long"
        );
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Returns the length of the request with which the bytes begin; `None` while its head is
/// incomplete.
fn request_length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).context("the head of a request is not UTF-8")?;
    let body = content_length(head).context("a request to the service has no content-length")?;
    Ok(Some(end + 4 + body))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_request_is_answered_when_it_is_complete() {
        let service = Service::start(Duration::ZERO).expect("a service");
        let stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, service.port));
        let mut stream = stream.expect("a connection");
        let (head, body) = ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", "abc");
        for answered in [1, 2] {
            for part in [&head[..20], &head[20..], &body[..1], &body[1..]] {
                stream.write_all(part.as_bytes()).expect("written");
            }
            let mut answer = [0; ANSWER.len()];
            stream.read_exact(&mut answer).expect("an answer");
            assert_eq!(&answer[..], ANSWER);
            assert_eq!(service.answered(), answered);
        }
        assert_eq!(service.most_in_flight(), 1);
    }

    #[test]
    fn the_length_of_a_request_is_that_of_its_head_and_body() {
        let text = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST";
        assert_eq!(
            request_length(text.as_bytes()).expect("a length"),
            Some(text.len() - 4)
        );
        assert_eq!(request_length(&text.as_bytes()[..20]).expect("none"), None);
        assert!(request_length(b"POST / HTTP/1.1\r\n\r\n").is_err());
    }
}
