//! A service on this machine to which the handler `forward` posts events. It keeps every request,
//! answers as the test wants, and can be down.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::servers::ReservedPort;

/// How many connections may wait until the service accepts them: more than the calls that a worker
/// makes at once.
const BACKLOG: u32 = 1_024;

/// The time between two tries to listen on the port again, after the service was down.
const LISTEN_AGAIN: Duration = Duration::from_millis(20);

/// The service. Its connections end when it is dropped.
pub struct Receiver {
    port: ReservedPort,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

/// A request as the service got it.
#[derive(Debug, Clone)]
pub struct Received {
    /// The headers, whose names are in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

/// What the service answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A status such as `410 Gone`, which further headers may follow, each after a line break.
    Status(&'static str),
    /// The same as [`Answer::Status`], but after this time.
    Late(Duration, &'static str),
    /// The service does not answer, and keeps the connection open.
    Nothing,
}

/// Decides how a request is answered. The number says how many requests with the same body came
/// before.
type Script = Box<dyn Fn(&Received, usize) -> Answer + Send + Sync>;

struct Shared {
    script: Mutex<Script>,
    kept: Mutex<Kept>,
    is_down: watch::Sender<bool>,
}

#[derive(Default)]
struct Kept {
    requests: Vec<(Received, Answer)>,
    /// For each body, the number of requests that had it.
    bodies: HashMap<String, usize>,
}

impl Received {
    /// Returns the value of a header.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.unwrap_or_else(|| panic!("there must be a header {name}: {self:?}"))
    }
}

impl Receiver {
    /// Starts the service at a port of its own.
    ///
    /// # Errors
    /// When the service cannot listen.
    pub async fn start(
        script: impl Fn(&Received, usize) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let port = ReservedPort::choose()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
        let listener = listen(address)?;
        let shared = Arc::new(Shared {
            script: Mutex::new(Box::new(script)),
            kept: Mutex::default(),
            is_down: watch::Sender::new(false),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(address, listener, Arc::clone(&shared)));
        Ok(Self {
            port,
            shared,
            _tasks: tasks,
        })
    }

    /// Changes how the service answers requests that arrive from now on.
    pub fn answer(&self, script: impl Fn(&Received, usize) -> Answer + Send + Sync + 'static) {
        *lock(&self.shared.script) = Box::new(script);
    }

    /// Takes the service down, or up again. While it is down, connections are refused. Requests
    /// that have already arrived are answered.
    pub fn set_down(&self, is_down: bool) {
        self.shared.is_down.send_replace(is_down);
    }

    /// Returns the URL to which events are posted.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hooks", self.port.number())
    }

    /// Returns the requests so far.
    pub fn received(&self) -> Vec<Received> {
        let kept = lock(&self.shared.kept);
        kept.requests.iter().map(|(it, _)| it.clone()).collect()
    }

    /// Returns the requests so far whose body contains this text.
    pub fn received_with(&self, text: &str) -> Vec<Received> {
        let mut all = self.received();
        all.retain(|it| it.body.contains(text));
        all
    }

    /// Returns the number of requests so far.
    pub fn count(&self) -> usize {
        lock(&self.shared.kept).requests.len()
    }

    /// Returns the requests so far with what the service decided to answer, in the order of their
    /// arrival, and forgets them.
    pub fn take(&self) -> Vec<(Received, Answer)> {
        std::mem::take(&mut *lock(&self.shared.kept)).requests
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Decides how a request is answered, and keeps the request and the answer.
    fn decide(&self, received: Received) -> Answer {
        let mut kept = lock(&self.kept);
        let count = kept.bodies.entry(received.body.clone()).or_default();
        let earlier = *count;
        *count += 1;
        let answer = lock(&self.script)(&received, earlier);
        kept.requests.push((received, answer));
        answer
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections while the service is up.
async fn accept(address: SocketAddr, first: TcpListener, shared: Arc<Shared>) {
    let mut is_down = shared.is_down.subscribe();
    let mut connections = JoinSet::new();
    let begin = |connections: &mut JoinSet<io::Result<()>>, accepted: io::Result<TcpStream>| {
        // Connections that have ended are removed. Their errors mean nothing, because a client may
        // close a connection at any time, for example when it is killed.
        while connections.try_join_next().is_some() {}
        if let Ok(stream) = accepted {
            connections.spawn(serve(stream, Arc::clone(&shared)));
        }
    };
    let mut listener = first;
    loop {
        tokio::select! {
            accepted = listener.accept() => begin(&mut connections, accepted.map(|it| it.0)),
            () = becomes(&mut is_down, true) => {
                // Clients treat these connections as open, because the system has already accepted
                // them. So the service must accept them, too.
                while let Some(accepted) = accepted_already(&listener).await {
                    begin(&mut connections, accepted);
                }
                drop(listener);
                becomes(&mut is_down, false).await;
                listener = loop {
                    match listen(address) {
                        Ok(listener) => break listener,
                        Err(_another_socket_has_the_port) => sleep(LISTEN_AGAIN).await,
                    }
                };
            }
        }
    }
}

/// Returns the next connection that the system has accepted already; `None` if there is none.
async fn accepted_already(listener: &TcpListener) -> Option<io::Result<TcpStream>> {
    tokio::select! {
        biased;
        accepted = listener.accept() => Some(accepted.map(|it| it.0)),
        () = std::future::ready(()) => None,
    }
}

/// Waits until the service is down, or is up.
async fn becomes(is_down: &mut watch::Receiver<bool>, wanted: bool) {
    // An error means that the sender is gone, and with it the service.
    let _ = is_down.wait_for(|is_down| *is_down == wanted).await;
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut is_down = shared.is_down.subscribe();
    let (mut buffer, mut is_used) = (Vec::new(), false);
    loop {
        if buffer.is_empty() {
            let read = tokio::select! {
                biased;
                read = stream.read_buf(&mut buffer) => read?,
                // A service that goes down closes idle connections. A new connection is closed
                // after its request, so that no request is lost.
                () = becomes(&mut is_down, true), if is_used => 0,
            };
            if read == 0 {
                return Ok(());
            }
        }
        let Some(received) = read(&mut stream, &mut buffer).await? else {
            return Ok(());
        };
        is_used = true;
        match shared.decide(received) {
            Answer::Status(status) => respond(&mut stream, status).await?,
            Answer::Late(time, status) => {
                sleep(time).await;
                respond(&mut stream, status).await?;
            }
            Answer::Nothing => {
                while stream.read_buf(&mut buffer).await? > 0 {}
                return Ok(());
            }
        }
    }
}

async fn respond(stream: &mut TcpStream, status: &str) -> io::Result<()> {
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}");
    stream.write_all(text.as_bytes()).await
}

/// Reads one request; `None` at the end of the connection. What was read of the next request stays
/// in `buffer`.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Received>> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|it| it == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let headers = head.split("\r\n").skip(1).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    let headers: BTreeMap<String, String> = headers.collect();
    let length = headers.get("content-length");
    let length: Option<usize> = length.and_then(|length| length.parse().ok());
    let length = length.ok_or_else(|| io::Error::other("a request must have a content-length"))?;
    let whole = end + 4 + length;
    while buffer.len() < whole {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = String::from_utf8(buffer[end + 4..whole].to_vec()).map_err(io::Error::other)?;
    buffer.drain(..whole);
    Ok(Some(Received { headers, body }))
}

#[cfg(test)]
mod tests;
