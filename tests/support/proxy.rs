//! A TCP proxy between a driver and its server that can drop bytes and cut connections.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the proxy does with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Forward all bytes.
    Pass = 0,
    /// Read and drop all bytes in both directions, without notifying either side.
    Hole = 1,
    /// Forward requests, and drop answers.
    LoseAnswers = 2,
}

/// A proxy. It ends when it is dropped.
pub struct Proxy {
    port: u16,
    mode: Arc<AtomicU8>,
    cut: watch::Sender<u64>,
    _running: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy in front of `server`, which is given as host and port.
    pub async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = Arc::new(AtomicU8::new(Mode::Pass as u8));
        let (cut, watching) = watch::channel(0);
        let mut running = JoinSet::new();
        let for_links = Arc::clone(&mode);
        running.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (mode, cut) = (Arc::clone(&for_links), watching.clone());
                links.spawn(link(client, server.clone(), mode, cut));
            }
        });
        Self {
            port,
            mode,
            cut,
            _running: running,
        }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Cuts every open connection. Later connections are handled as the current [`Mode`] says.
    pub fn cut(&self) {
        self.cut.send_modify(|count| *count += 1);
    }
}

async fn link(
    client: TcpStream,
    server: String,
    mode: Arc<AtomicU8>,
    mut cut: watch::Receiver<u64>,
) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = copy(
        &mut from_client,
        &mut to_server,
        &mode,
        &[Mode::Pass, Mode::LoseAnswers],
    );
    let back = copy(&mut from_server, &mut to_client, &mode, &[Mode::Pass]);
    cut.mark_unchanged();
    tokio::select! {
        _ = there => {}
        _ = back => {}
        _ = cut.changed() => {}
    }
}

async fn copy(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mode: &AtomicU8,
    passing: &[Mode],
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let now = mode.load(Ordering::SeqCst);
        if passing.iter().any(|mode| *mode as u8 == now) {
            to.write_all(&buffer[..read]).await?;
        }
    }
}

/// Returns `host:port` of a URL.
pub fn address_of(url: &str) -> String {
    let rest = url.split_once("://").unwrap().1;
    let authority = rest.split(['/', '?']).next().unwrap();
    authority.rsplit('@').next().unwrap().to_owned()
}
