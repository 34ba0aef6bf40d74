//! A byte-level TCP proxy in front of a real server. It knows no protocol. It forwards, drops or
//! delays bytes, in one direction or in both. It cuts connections at once, in the middle of a
//! frame, or when a client sends certain bytes.
//!
//! The proxy uses only threads and the standard library, so that a defect of the async runtime that
//! hookbox uses cannot hide a defect of hookbox.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::servers::process::wait_until;

/// How bytes are forwarded. The mode that is set when the proxy reads some bytes applies to these
/// bytes, even if they were sent before the mode was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All bytes are forwarded.
    Pass,
    /// All bytes are read and dropped in both directions, and neither side is notified.
    Hole,
    /// Bytes to the server are forwarded, bytes to the client are dropped.
    LoseAnswers,
    /// Bytes to the client are forwarded, bytes to the server are dropped.
    LoseRequests,
    /// Every connection is closed, old and new.
    Cut,
    /// All bytes are forwarded. Bytes to the client are delayed by this time.
    Late(Duration),
}

/// What happens to a connection when a client sends the bytes that a trap waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snap {
    /// The bytes reach the server, its reply is lost, and the connection is cut. The server acts on
    /// the request, but the client does not know that.
    After,
    /// The bytes never reach the server, and the connection is cut. The server does nothing, but
    /// the client does not know that.
    Before,
    /// The first half of the bytes that the trap waits for reaches the server, after everything
    /// that was sent before them. Then the connection is cut.
    Amid,
}

/// The longest wait for the reply that [`Snap::After`] drops. Only a server that is frozen, or has
/// ended, takes as long.
const REPLY_MAX: Duration = Duration::from_secs(10);

/// The time limit for connecting to the server.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// A TCP proxy. Dropping it cuts all connections.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Trap {
    words: Vec<u8>,
    snap: Snap,
    left: u64,
}

struct Shared {
    server: Vec<SocketAddr>,
    mode: Mutex<Mode>,
    over: AtomicBool,
    snapped: AtomicU64,
    forgotten: AtomicU64,
    connections: AtomicU64,
    /// The open connections: the socket of the client, and that to the server.
    open: Mutex<BTreeMap<u64, (TcpStream, TcpStream)>>,
    trap: Mutex<Option<Trap>>,
}

impl Proxy {
    /// Starts a proxy in front of the server of this URL, or of this `host:port`.
    ///
    /// # Errors
    /// When the server has no address, or no port can be opened.
    pub fn before(url: &str) -> io::Result<Self> {
        let server = address_of(url).to_socket_addrs()?.collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            server,
            mode: Mutex::new(Mode::Pass),
            over: AtomicBool::new(false),
            snapped: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            open: Mutex::default(),
            trap: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        spawn("proxy", move || accepting.accept(&listener))?;
        Ok(Self { port, shared })
    }

    /// Returns the port on which the proxy listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the URL of the server with the address of the proxy instead.
    #[must_use]
    pub fn url(&self, url: &str) -> String {
        let own = format!("{}:{}", Ipv4Addr::LOCALHOST, self.port);
        url.replacen(address_of(url), &own, 1)
    }

    /// Sets the mode for open connections and new ones.
    pub fn set(&self, mode: Mode) {
        *lock(&self.shared.mode) = mode;
        if mode == Mode::Cut {
            self.cut();
        }
    }

    /// Cuts every open connection, and returns how many there were. The mode that [`Proxy::set`]
    /// has set decides what happens to new connections.
    pub fn cut(&self) -> u64 {
        let mut cut = 0;
        for (client, server) in lock(&self.shared.open).values() {
            // `shutdown` fails for a connection that has already ended. Such a connection is not
            // counted.
            cut += u64::from(client.shutdown(Shutdown::Both).is_ok());
            let _ = server.shutdown(Shutdown::Both);
        }
        cut
    }

    /// Sets a trap: the next `times` times that a client sends `words`, its connection is cut.
    pub fn arm(&self, words: &[u8], snap: Snap, times: u64) {
        *lock(&self.shared.trap) = Some(Trap {
            words: words.to_vec(),
            snap,
            left: times,
        });
    }

    /// Removes the trap.
    pub fn disarm(&self) {
        *lock(&self.shared.trap) = None;
    }

    /// Returns how often a trap has cut a connection.
    #[must_use]
    pub fn snapped(&self) -> u64 {
        self.shared.snapped.load(Ordering::SeqCst)
    }

    /// Returns the number of bytes that were read and dropped.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.shared.forgotten.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.cut();
        // The thread of the proxy waits in `accept` for a connection. The connection that is opened
        // here wakes the thread, which then finds that the proxy has ended.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let Ok(client) = client else { continue };
            let shared = Arc::clone(&self);
            // When the server refuses the connection, the connection of the client is closed as
            // well.
            let _ = spawn("proxy there", move || {
                let _ = shared.forward(client);
            });
        }
    }

    /// Forwards the bytes of one connection until it ends.
    fn forward(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let server = self.connect()?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let id = self.connections.fetch_add(1, Ordering::SeqCst);
        let sockets = (client.try_clone()?, server.try_clone()?);
        if !self.open(id, sockets) {
            return Ok(());
        }
        let fate = Arc::<Fate>::default();
        let copier = |from: &TcpStream, to: &TcpStream, from_client| {
            Ok::<_, io::Error>(Copier {
                shared: Arc::clone(self),
                id,
                from: from.try_clone()?,
                to: to.try_clone()?,
                from_client,
                fate: Arc::clone(&fate),
            })
        };
        let back = copier(&server, &client, false)?;
        spawn("proxy back", move || back.run())?;
        copier(&client, &server, true)?.run();
        Ok(())
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut refused = io::ErrorKind::AddrNotAvailable.into();
        for address in &self.server {
            match TcpStream::connect_timeout(address, CONNECT_MAX) {
                Ok(server) => return Ok(server),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// Adds an open connection, so that a later cut closes it too. Returns whether the connection
    /// may stay open.
    fn open(&self, id: u64, sockets: (TcpStream, TcpStream)) -> bool {
        let mut open = lock(&self.open);
        let may = !self.over.load(Ordering::SeqCst) && *lock(&self.mode) != Mode::Cut;
        if may {
            open.insert(id, sockets);
        }
        may
    }

    /// Returns how the trap cuts the connection and at which byte, if these bytes contain those
    /// that the trap waits for.
    fn springs(&self, bytes: &[u8]) -> Option<(Snap, usize)> {
        let mut trap = lock(&self.trap);
        let set = trap.as_mut()?;
        let words = &set.words;
        let place = bytes.windows(words.len()).position(|it| it == words)?;
        let half = place + words.len() / 2;
        let snap = set.snap;
        set.left -= 1;
        if set.left == 0 {
            *trap = None;
        }
        Some((snap, half))
    }
}

/// What a trap has done to one connection.
#[derive(Default)]
struct Fate {
    /// Whether the trap has cut the connection. After the cut, replies of the server are dropped.
    is_lost: AtomicBool,
    /// Whether the server has replied after the cut. [`Snap::After`] waits for this reply, which is
    /// dropped, before it closes the connection.
    has_replied: AtomicBool,
}

/// Copies the bytes of one direction of one connection.
struct Copier {
    shared: Arc<Shared>,
    id: u64,
    from: TcpStream,
    to: TcpStream,
    from_client: bool,
    fate: Arc<Fate>,
}

impl Copier {
    fn run(mut self) {
        // An error on one side closes both sides. The error is not reported here, because the
        // clients notice the closed connection.
        let _ = self.copy();
        let _ = self.from.shutdown(Shutdown::Both);
        let _ = self.to.shutdown(Shutdown::Both);
        lock(&self.shared.open).remove(&self.id);
    }

    fn copy(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = match self.from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let bytes = buffer.get(..read).unwrap_or_default();
            if self.from_client
                && let Some((snap, half)) = self.shared.springs(bytes)
            {
                return self.snap(snap, bytes, half);
            }
            if self.passes() {
                self.to.write_all(bytes)?;
            } else {
                let forgotten = &self.shared.forgotten;
                forgotten.fetch_add(read as u64, Ordering::SeqCst);
            }
        }
    }

    /// Returns whether the bytes that were just read are to be forwarded. If the mode delays them,
    /// returns only after the delay.
    fn passes(&self) -> bool {
        if self.fate.is_lost.load(Ordering::SeqCst) {
            self.fate.has_replied.store(true, Ordering::SeqCst);
            return false;
        }
        let mode = *lock(&self.shared.mode);
        match mode {
            Mode::Pass => true,
            Mode::Hole | Mode::Cut => false,
            Mode::LoseAnswers => self.from_client,
            Mode::LoseRequests => !self.from_client,
            Mode::Late(by) => {
                if !self.from_client {
                    delay(by);
                }
                true
            }
        }
    }

    fn snap(&mut self, snap: Snap, bytes: &[u8], half: usize) -> io::Result<()> {
        self.fate.is_lost.store(true, Ordering::SeqCst);
        self.shared.snapped.fetch_add(1, Ordering::SeqCst);
        match snap {
            Snap::Before => {}
            Snap::Amid => self.to.write_all(bytes.get(..half).unwrap_or(bytes))?,
            Snap::After => {
                self.to.write_all(bytes)?;
                wait_until(REPLY_MAX, || {
                    let is_over = self.shared.over.load(Ordering::SeqCst);
                    is_over || self.fate.has_replied.load(Ordering::SeqCst)
                });
            }
        }
        Ok(())
    }
}

/// Returns `host:port` of a URL.
#[must_use]
pub fn address_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    authority.rsplit('@').next().unwrap_or(authority)
}

/// Blocks for the time that a slow network takes.
fn delay(by: Duration) {
    let until = Instant::now() + by;
    // A parked thread may wake early, so it is parked again until the time has passed.
    while Instant::now() < until {
        thread::park_timeout(until.saturating_duration_since(Instant::now()));
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map(drop)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
