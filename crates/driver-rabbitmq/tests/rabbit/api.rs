//! A fake of RabbitMQ's management API that answers as a test wants. `tests/journeys/topology.rs`
//! uses the real API.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the fake API answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// The API answers that there is no policy.
    NoPolicy,
    /// The API answers that one policy with this definition applies to all queues.
    Policy(&'static str),
    /// The API answers every request with the status 503.
    Nothing,
}

pub struct Api {
    port: u16,
    says: watch::Sender<Says>,
    asked: Arc<AtomicU64>,
    /// The tasks of the API, which end when the API is dropped.
    _running: JoinSet<()>,
}

impl Api {
    pub async fn new(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (says, saying) = watch::channel(says);
        let asked = Arc::new(AtomicU64::new(0));
        let mut running = JoinSet::new();
        let count = Arc::clone(&asked);
        running.spawn(async move {
            let mut asking = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                asking.spawn(answer(stream, saying.clone(), Arc::clone(&count)));
            }
        });
        Self {
            port,
            says,
            asked,
            _running: running,
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn set(&self, says: Says) {
        self.says.send_replace(says);
    }

    /// Returns how many requests for the list of policies the API has received.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn answer(
    mut stream: TcpStream,
    says: watch::Receiver<Says>,
    asked: Arc<AtomicU64>,
) -> io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let now = *says.borrow();
        let (status, body) = match now {
            Says::Nothing => ("503 Service Unavailable", "{}".to_owned()),
            // Some fields occur twice, as in answers of RabbitMQ 4 while the members of a queue
            // change.
            Says::Policy(definition) if head.starts_with("GET /api/policies/") => (
                "200 OK",
                format!(
                    r#"[{{"name":"theirs","name":"theirs","pattern":"none","pattern":".*",
                          "apply-to":"exchanges","apply-to":"queues",
                          "definition":{definition}}}]"#
                ),
            ),
            Says::NoPolicy | Says::Policy(_) => ("200 OK", "[]".to_owned()),
        };
        let length = body.len();
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).await?;
        if head.starts_with("GET /api/policies/") {
            asked.fetch_add(1, Ordering::SeqCst);
        }
    }
}
