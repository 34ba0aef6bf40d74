//! A TCP proxy in front of the broker. It drops the traffic that a test wants to be lost.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the proxy does with the traffic between the driver and the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Drops all traffic in both directions, but leaves the connections open.
    Hole,
    /// Forwards everything from the driver to the broker, and drops what the broker answers.
    LoseAnswers,
    /// Closes all connections, and each new one at once.
    Cut,
    /// Forwards everything, with the broker's answers delayed by this time.
    Late(Duration),
}

pub struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    /// The tasks of the proxy, which end when the proxy is dropped.
    _running: JoinSet<io::Result<()>>,
}

impl Proxy {
    /// Starts a proxy in front of the broker of this URL.
    pub async fn before(url: &str) -> Self {
        let server = address(url);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, watching) = watch::channel(Mode::Pass);
        let mut running = JoinSet::new();
        running.spawn(accept(listener, server, watching));
        Self {
            port,
            mode,
            _running: running,
        }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Returns this URL with the proxy's address in place of the broker's.
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

async fn accept(
    listener: TcpListener,
    server: String,
    mode: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut pairs = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await?;
        let server = TcpStream::connect(&server).await?;
        pairs.spawn(pair(client, server, mode.clone()));
    }
}

/// Returns what to do with bytes that were just read. If the mode changed after the bytes were sent
/// and before they were read, the new mode applies to them.
fn now(mode: &watch::Receiver<Mode>) -> Mode {
    *mode.borrow()
}

/// Forwards the traffic between one client and the broker until either of them closes the
/// connection, or the mode becomes [`Mode::Cut`].
async fn pair(
    mut client: TcpStream,
    mut server: TcpStream,
    mut mode: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut asked = vec![0; 64 * 1024];
    let mut answered = vec![0; 64 * 1024];
    loop {
        if *mode.borrow_and_update() == Mode::Cut {
            return Ok(());
        }
        tokio::select! {
            changed = mode.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
            }
            read = client.read(&mut asked) => {
                let bytes = &asked[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                match now(&mode) {
                    Mode::Hole | Mode::Cut => {}
                    Mode::Pass | Mode::LoseAnswers | Mode::Late(_) => {
                        server.write_all(bytes).await?;
                    }
                }
            }
            read = server.read(&mut answered) => {
                let bytes = &answered[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                match now(&mode) {
                    Mode::Hole | Mode::LoseAnswers | Mode::Cut => {}
                    Mode::Pass => client.write_all(bytes).await?,
                    Mode::Late(by) => {
                        tokio::time::sleep(by).await;
                        client.write_all(bytes).await?;
                    }
                }
            }
        }
    }
}
