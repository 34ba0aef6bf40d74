//! A byte-level TCP proxy in front of a real server. It knows no protocol: it forwards bytes, drops
//! them in one or both directions, and cuts connections: at once, in the middle of a frame, or when
//! a client sends certain bytes.
//!
//! The proxy uses only threads and the standard library, so that a defect of the async runtime that
//! hookbox uses cannot hide a defect of hookbox.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use hookbox_testkit::servers::process::wait_until;

/// How bytes are forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// All bytes are forwarded.
    Pass = 0,
    /// All bytes are read and dropped in both directions, and neither side is notified.
    Hole = 1,
    /// Bytes to the server are forwarded, bytes to the client are dropped.
    LoseAnswers = 2,
    /// Bytes to the client are forwarded, bytes to the server are dropped.
    LoseRequests = 3,
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
    /// Half of the bytes reach the server, after all that were sent before, and the connection is
    /// cut.
    Amid,
}

/// The time for which a connection stays open after its bytes reached the server, so that the
/// server acts on them. It is far longer than a commit takes.
const HEARD: Duration = Duration::from_millis(300);

/// The interval at which a thread that copies an idle connection checks whether the proxy has
/// ended.
const LOOK: Duration = Duration::from_millis(500);

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
    server: SocketAddr,
    mode: AtomicU8,
    over: AtomicBool,
    snapped: AtomicU64,
    forgotten: AtomicU64,
    links: Mutex<Vec<(TcpStream, TcpStream)>>,
    trap: Mutex<Option<Trap>>,
}

impl Proxy {
    /// Starts a proxy in front of a server on this machine.
    ///
    /// # Errors
    /// When no port can be opened.
    pub fn before(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let own = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            server: (Ipv4Addr::LOCALHOST, port).into(),
            mode: AtomicU8::new(Mode::Pass as u8),
            over: AtomicBool::new(false),
            snapped: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            links: Mutex::default(),
            trap: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::Builder::new()
            .name("proxy".into())
            .spawn(move || accepting.accept(&listener))?;
        Ok(Self { port: own, shared })
    }

    /// Returns the port on which the proxy listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets the mode for open connections and new ones.
    pub fn set(&self, mode: Mode) {
        self.shared.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Cuts every open connection, and returns how many there were. New connections are still
    /// accepted.
    pub fn cut(&self) -> u64 {
        let mut cut = 0;
        for (client, server) in lock(&self.shared.links).drain(..) {
            // The shutdown fails for a connection that has already ended. Such a connection is not
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
    pub fn snapped(&self) -> u64 {
        self.shared.snapped.load(Ordering::SeqCst)
    }

    /// Returns the number of bytes that were read and dropped.
    pub fn forgotten(&self) -> u64 {
        self.shared.forgotten.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.cut();
        // The thread of the proxy waits in `accept` for a connection. This connection wakes it, and
        // it then sees that the proxy has ended.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            if let Ok(client) = client {
                // When the server refuses the connection, the connection of the client is closed as
                // well.
                let _ = self.link(client);
            }
        }
    }

    fn link(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect_timeout(&self.server, Duration::from_secs(5))?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let kept = (client.try_clone()?, server.try_clone()?);
        {
            let mut links = lock(&self.links);
            links.retain(|(client, _)| client.peer_addr().is_ok());
            links.push(kept);
        }
        let lost = Arc::new(AtomicBool::new(false));
        let (there, back) = (
            Copier::new(self, &client, &server, true, &lost)?,
            Copier::new(self, &server, &client, false, &lost)?,
        );
        thread::Builder::new()
            .name("proxy there".into())
            .spawn(move || there.run())?;
        thread::Builder::new()
            .name("proxy back".into())
            .spawn(move || back.run())?;
        Ok(())
    }

    fn passes(&self, from_client: bool) -> bool {
        let mode = self.mode.load(Ordering::SeqCst);
        mode == Mode::Pass as u8
            || (from_client && mode == Mode::LoseAnswers as u8)
            || (!from_client && mode == Mode::LoseRequests as u8)
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

/// Copies the bytes of one direction of one connection.
struct Copier {
    shared: Arc<Shared>,
    from: TcpStream,
    to: TcpStream,
    from_client: bool,
    /// Set when a trap has cut the connection. From then on replies of the server are dropped.
    lost: Arc<AtomicBool>,
}

impl Copier {
    fn new(
        shared: &Arc<Shared>,
        from: &TcpStream,
        to: &TcpStream,
        from_client: bool,
        lost: &Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let from = from.try_clone()?;
        from.set_read_timeout(Some(LOOK))?;
        Ok(Self {
            shared: Arc::clone(shared),
            from,
            to: to.try_clone()?,
            from_client,
            lost: Arc::clone(lost),
        })
    }

    fn run(mut self) {
        // An error on one side closes both sides. The error is not reported here, because the
        // clients notice the closed connection.
        let _ = self.copy();
        let _ = self.from.shutdown(Shutdown::Both);
        let _ = self.to.shutdown(Shutdown::Both);
    }

    fn copy(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = match self.from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if is_time_out(&error) => {
                    if self.shared.over.load(Ordering::SeqCst) {
                        return Ok(());
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            let bytes = buffer.get(..read).unwrap_or_default();
            if self.from_client
                && let Some((snap, half)) = self.shared.springs(bytes)
            {
                return self.snap(snap, bytes, half);
            }
            if self.shared.passes(self.from_client) && !self.lost.load(Ordering::SeqCst) {
                self.to.write_all(bytes)?;
            } else {
                let forgotten = &self.shared.forgotten;
                forgotten.fetch_add(read as u64, Ordering::SeqCst);
            }
        }
    }

    fn snap(&mut self, snap: Snap, bytes: &[u8], half: usize) -> io::Result<()> {
        self.lost.store(true, Ordering::SeqCst);
        self.shared.snapped.fetch_add(1, Ordering::SeqCst);
        match snap {
            Snap::Before => {}
            Snap::Amid => self.to.write_all(bytes.get(..half).unwrap_or(bytes))?,
            Snap::After => {
                self.to.write_all(bytes)?;
                wait_until(HEARD, || false);
            }
        }
        Ok(())
    }
}

fn is_time_out(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
