//! A service on this machine that answers as a test wants, even with bytes that are not HTTP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A service. Its connections end when it is dropped.
pub struct Service {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

/// A request as the service received it.
#[derive(Debug, Clone)]
pub struct Received {
    pub line: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// What the service sends, and what it does afterwards.
#[derive(Debug, Clone)]
pub struct Reply {
    pub bytes: Vec<u8>,
    pub then: Then,
}

#[derive(Debug, Clone, Copy)]
pub enum Then {
    /// Reads the next request of the connection.
    Next,
    /// Closes the connection.
    Close,
    /// Sends nothing, and keeps the connection open.
    Hang,
    /// Sends the reply again and again, until the client closes the connection.
    Repeat,
}

/// Returns the reply to the request with this number, counted from 0.
type Script = Box<dyn Fn(usize) -> Reply + Send + Sync>;

struct Shared {
    script: Script,
    tls: Option<TlsAcceptor>,
    /// If it is set, the service answers only when as many requests as the barrier counts have
    /// arrived.
    together: Option<Barrier>,
    received: Mutex<Vec<Received>>,
    opened: AtomicUsize,
    open: AtomicUsize,
}

impl Reply {
    pub fn new(bytes: impl Into<Vec<u8>>, then: Then) -> Self {
        let bytes = bytes.into();
        Self { bytes, then }
    }

    /// Returns an HTTP/1.1 answer with this status, these further headers, and this body.
    pub fn answer(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        let text = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}");
        Self::new(text, Then::Next)
    }

    pub fn ok() -> Self {
        Self::answer("200 OK", "", "{}")
    }
}

impl Service {
    pub async fn new(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into(), 0, script).await
    }

    /// Starts a service that listens at this address and port.
    pub async fn at(
        ip: IpAddr,
        port: u16,
        script: impl Fn(usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(ip, port, Box::new(script), None, None).await
    }

    pub async fn secured(
        tls: TlsAcceptor,
        script: impl Fn(usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let ip = Ipv4Addr::LOCALHOST.into();
        Self::start(ip, 0, Box::new(script), Some(tls), None).await
    }

    /// Starts a service that answers 200 to `count` requests when all of them have arrived.
    pub async fn together(count: usize) -> Self {
        let ip = Ipv4Addr::LOCALHOST.into();
        let script = Box::new(|_| Reply::ok());
        Self::start(ip, 0, script, None, Some(Barrier::new(count))).await
    }

    async fn start(
        ip: IpAddr,
        port: u16,
        script: Script,
        tls: Option<TlsAcceptor>,
        together: Option<Barrier>,
    ) -> Self {
        let listener = TcpListener::bind((ip, port)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script,
            tls,
            together,
            received: Mutex::default(),
            opened: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            _tasks: tasks,
        }
    }

    /// Returns the requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Returns the only request so far.
    pub fn only(&self) -> Received {
        let mut all = self.received();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// Returns how many connections were opened so far.
    pub fn opened(&self) -> usize {
        self.shared.opened.load(Ordering::SeqCst)
    }

    /// Returns how many connections are open.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.opened.fetch_add(1, Ordering::SeqCst);
        shared.open.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            match &shared.tls {
                None => serve(stream, &shared).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, &shared).await;
                    }
                }
            }
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, shared: &Shared) {
    let mut buffer = Vec::new();
    while let Some(received) = read(&mut stream, &mut buffer).await {
        let number = {
            let mut all = shared.received.lock().unwrap();
            all.push(received);
            all.len() - 1
        };
        if let Some(together) = &shared.together {
            together.wait().await;
        }
        let reply = (shared.script)(number);
        let mut sent = stream.write_all(&reply.bytes).await;
        match reply.then {
            Then::Next => {}
            Then::Close => {
                // An error means that the client has closed the connection already.
                let _ = stream.shutdown().await;
                return;
            }
            Then::Hang => {
                let _ = stream.read_to_end(&mut buffer).await;
                return;
            }
            Then::Repeat => {
                while sent.is_ok() {
                    sent = stream.write_all(&reply.bytes).await;
                }
                return;
            }
        }
    }
}

/// Reads a request; returns `None` at the end of the connection.
async fn read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<Received> {
    let head_ends = loop {
        let end = buffer.windows(4).position(|part| part == b"\r\n\r\n");
        if let Some(end) = end {
            break end + 4;
        }
        more(stream, buffer).await?;
    };
    let head = String::from_utf8(buffer.drain(..head_ends).collect()).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next().unwrap().to_owned();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        let name: http::HeaderName = name.parse().unwrap();
        headers.append(name, value.parse().unwrap());
    }
    let length = headers[CONTENT_LENGTH].to_str().unwrap();
    let length: usize = length.parse().unwrap();
    while buffer.len() < length {
        more(stream, buffer).await?;
    }
    let body = buffer.drain(..length).collect();
    Some(Received {
        line,
        headers,
        body,
    })
}

async fn more(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<()> {
    let read = stream.read_buf(buffer).await.ok()?;
    (read > 0).then_some(())
}
