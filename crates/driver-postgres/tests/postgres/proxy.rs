//! A TCP proxy in front of the server that loses what a test wants lost.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What it does with what it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    Pass,
    /// Swallows everything in both directions, and closes nothing.
    Hole,
    /// Forwards a COMMIT, and cuts the connection instead of bringing the answer.
    LoseCommitAnswer,
    /// Cuts the connection instead of forwarding a COMMIT.
    LoseCommit,
    /// Brings every answer late.
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
    /// Ends with the proxy.
    _running: JoinSet<io::Result<()>>,
}

impl Proxy {
    /// A proxy in front of a database, by its URL.
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

    /// The URL that leads through the proxy.
    pub fn url(&self, url: &str) -> String {
        let through = format!("127.0.0.1:{}", self.port);
        url.replace(&address(url), &through)
    }
}

/// `host:port` of a URL.
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

/// One connection, until either side closes it.
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
