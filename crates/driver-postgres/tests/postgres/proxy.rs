//! A TCP proxy in front of the PostgreSQL server. It drops the traffic that a test wants to be
//! lost.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What the proxy does with the traffic between the store and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    Pass,
    /// Drops all traffic in both directions, but leaves the connections open.
    Hole,
    /// Forwards a COMMIT to the server, and cuts the connection when the server's answer arrives.
    LoseCommitAnswer,
    /// Cuts the connection when the client sends a COMMIT, which does not reach the server.
    LoseCommit,
    /// Forwards every answer late.
    Slow,
}

const MODES: [Mode; 5] = [
    Mode::Pass,
    Mode::Hole,
    Mode::LoseCommitAnswer,
    Mode::LoseCommit,
    Mode::Slow,
];

/// How late.
pub const SLOW: Duration = Duration::from_millis(30);

pub struct Proxy {
    port: u16,
    mode: Arc<AtomicU8>,
    /// The tasks of the proxy, which end when the proxy is dropped.
    _running: JoinSet<io::Result<()>>,
}

impl Proxy {
    /// Starts a proxy in front of the database of this URL.
    pub async fn before(url: &str) -> Self {
        let server = address(url);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = Arc::new(AtomicU8::new(Mode::Pass as u8));
        let mut running = JoinSet::new();
        running.spawn(accept(listener, server, Arc::clone(&mode)));
        Self {
            port,
            mode,
            _running: running,
        }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Returns this URL with the proxy's address in place of the server's.
    pub fn url(&self, url: &str) -> String {
        let through = format!("127.0.0.1:{}", self.port);
        url.replace(&address(url), &through)
    }
}

/// Returns `host:port` of a URL.
fn address(url: &str) -> String {
    let rest = url.split_once("://").unwrap().1;
    let authority = rest.split(['/', '?']).next().unwrap();
    let address = authority.rsplit('@').next().unwrap();
    assert!(
        address.contains(':'),
        "the test server's URL must name its port"
    );
    address.to_owned()
}

async fn accept(listener: TcpListener, server: String, mode: Arc<AtomicU8>) -> io::Result<()> {
    let mut pairs = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await?;
        let server = TcpStream::connect(&server).await?;
        pairs.spawn(pair(client, server, Arc::clone(&mode)));
    }
}

/// Forwards the traffic between one client and the server until either of them closes the
/// connection.
async fn pair(mut client: TcpStream, mut server: TcpStream, mode: Arc<AtomicU8>) -> io::Result<()> {
    let mut asked = vec![0; 64 * 1024];
    let mut answered = vec![0; 64 * 1024];
    let mut lose_next_answer = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let bytes = &asked[..read?];
                if bytes.is_empty() {
                    return server.shutdown().await;
                }
                let is_commit = bytes.windows(6).any(|window| window == b"COMMIT");
                match now(&mode) {
                    Mode::Hole => continue,
                    Mode::LoseCommit if is_commit => return Ok(()),
                    Mode::LoseCommitAnswer if is_commit => lose_next_answer = true,
                    Mode::Pass | Mode::LoseCommit | Mode::LoseCommitAnswer | Mode::Slow => {}
                }
                server.write_all(bytes).await?;
            }
            read = server.read(&mut answered) => {
                let bytes = &answered[..read?];
                if bytes.is_empty() || lose_next_answer {
                    return Ok(());
                }
                match now(&mode) {
                    Mode::Hole => continue,
                    Mode::Slow => tokio::time::sleep(SLOW).await,
                    Mode::Pass | Mode::LoseCommit | Mode::LoseCommitAnswer => {}
                }
                client.write_all(bytes).await?;
            }
        }
    }
}

fn now(mode: &AtomicU8) -> Mode {
    MODES[usize::from(mode.load(Ordering::SeqCst))]
}
