//! The target `http`: sends bytes to a connection of a real ingest, with the settings of its accept
//! loop and with paused time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hookbox_driver::{
    Batch, Broker, Clock, Depth, Fault, FaultKind, PublishError, Queue, Readiness, Rng,
    Subscription,
};
use hookbox_event::{Account, Digester, RouteName, Routing, Timestamp, decode_batch};
use hookbox_ingest::{Config, EventType, Identity, Ingest, Limits, Peers, Source, serve_stream};
use hookbox_signature::{Key, Preset, RefusalAnswer, sign};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

use super::{Target, class};

/// A time longer than every deadline of a connection. A connection that is still open after it
/// would never end.
const CONNECTION_MAX: Duration = Duration::from_secs(300);

/// The number of bytes that fit into the simulated connection.
const PIPE: usize = 64 * 1024;

const BODIES: [&[u8]; 4] = [
    b"{\"event\":\"score.complete\",\"uid\":\"A\"}",
    b"{}",
    b"not json",
    b"payload=%7B%22event%22:%22a+b%22%7D",
];

/// The JSON that ingest extracts from the last body in `BODIES` when the content type is that of a
/// form.
const IN_THE_FORM: &[u8] = b"{\"event\":\"a b\"}";

struct Fixed(Timestamp);

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        self.0
    }
}

struct Zeros;

impl Rng for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

/// A broker that confirms every publish, and records the batches.
#[derive(Default)]
struct Recorder(Mutex<Vec<Bytes>>);

impl Recorder {
    fn taken(&self) -> Vec<Bytes> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Broker for Recorder {
    async fn publish(&self, _routes: &[RouteName], batch: &Batch) -> Result<(), PublishError> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.push(batch.bytes.clone());
        Ok(())
    }

    async fn publish_report(&self, _account: &Account) -> Result<(), PublishError> {
        Ok(())
    }

    async fn subscribe(
        &self,
        _queue: &Queue,
        _prefetch: u16,
    ) -> Result<Box<dyn Subscription>, Fault> {
        Err(Fault::plain(
            FaultKind::Unavailable,
            "subscribe to a queue of the recorder",
        ))
    }

    async fn depths(&self) -> Result<Vec<Depth>, Fault> {
        Ok(Vec::new())
    }

    fn readiness(&self) -> Readiness {
        Readiness::Ready
    }

    async fn close(&self) {}
}

pub struct Connections {
    runtime: Runtime,
    ingest: Arc<Ingest>,
    recorder: Arc<Recorder>,
    key: Key,
}

impl Connections {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("building a single-threaded runtime");
        let key = Key::new("k", None, b"a-key-of-many-bytes-for-begini".to_vec());
        let key = key.expect("the signing key must be long enough");
        let source = Source {
            name: "begini".parse().expect("a name"),
            scheme: Preset::Begini.scheme(),
            keys: RwLock::new(Arc::from([key.clone()])),
            form: Some("payload".to_owned()),
            answer: RefusalAnswer::default(),
            topic: "/event".parse().ok().map(EventType::Body),
            identity: Identity::Body,
        };
        let config = Config {
            sources: vec![source],
            routing: Routing {
                selections: Vec::new(),
                unrouted: "unrouted".parse().expect("a name"),
            },
            digester: Digester::Plain,
            peers: Peers::default(),
            limits: Limits::standard(),
        };
        let recorder = Arc::new(Recorder::default());
        let broker = Arc::clone(&recorder) as Arc<dyn Broker>;
        let clock = Arc::new(Fixed(Timestamp::from_unix_micros(1_764_000_000_000_000)));
        let inside = runtime.enter();
        let ingest = Ingest::start(config, broker, None, clock, Arc::new(Zeros));
        drop(inside);
        Self {
            runtime,
            ingest,
            recorder,
            key,
        }
    }

    /// Sends bytes on a new connection, and returns the response. Returns `None` when the
    /// connection never ends.
    fn talk(&self, input: &[u8]) -> Option<Vec<u8>> {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        self.runtime.block_on(async {
            let (theirs, ours) = tokio::io::duplex(PIPE);
            let served = serve_stream(ours, peer, &self.ingest);
            let client = async {
                let (mut from, mut to) = tokio::io::split(theirs);
                let write = async {
                    // The ingest may close the connection before all bytes are written.
                    let _ = to.write_all(input).await;
                    std::future::pending::<()>().await;
                };
                let mut answer = Vec::new();
                tokio::select! {
                    () = write => {}
                    _ = from.read_to_end(&mut answer) => {}
                }
                answer
            };
            let both = async { tokio::join!(client, served).0 };
            tokio::time::timeout(CONNECTION_MAX, both).await.ok()
        })
    }
}

impl Target for Connections {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let now = Timestamp::from_unix_micros(1_764_000_000_000_000);
        let mut seeds = Vec::new();
        for body in BODIES {
            let mut head = format!(
                "POST /hooks/begini HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n",
                body.len()
            );
            for (name, value) in sign(&Preset::Begini.scheme(), &self.key, body, now, "") {
                head += &format!("{name}: {}\r\n", value.to_str().unwrap_or_default());
            }
            let mut request = format!("{head}\r\n").into_bytes();
            request.extend_from_slice(body);
            seeds.push(request.clone());
            let typed = head.replace(
                "host: h",
                "host: h\r\ncontent-type: application/x-www-form-urlencoded",
            );
            let mut form = format!("{typed}\r\n").into_bytes();
            form.extend_from_slice(body);
            seeds.push(form);
            // Adds a chunked request, and two requests on one connection.
            let chunked = head.replace(
                &format!("content-length: {}", body.len()),
                "transfer-encoding: chunked",
            );
            let mut chunks = format!("{chunked}\r\n{:x}\r\n", body.len()).into_bytes();
            chunks.extend_from_slice(body);
            chunks.extend_from_slice(b"\r\n0\r\n\r\n");
            seeds.push(chunks);
            seeds.push([request.clone(), request].concat());
        }
        seeds
    }

    fn words(&self) -> Vec<&'static [u8]> {
        vec![
            b"\r\n",
            b"\r\n\r\n",
            b"content-length: 5\r\n",
            b"transfer-encoding: chunked\r\n",
            b"expect: 100-continue\r\n",
            b"connection: close\r\n",
            b"content-encoding: gzip\r\n",
            b"content-type: application/x-www-form-urlencoded\r\n",
            b"content-type: multipart/form-data; boundary=b\r\n",
            b"upgrade: h2c\r\n",
            b"HTTP/1.0",
            b"HTTP/1.1",
            b"GET /readyz ",
            b"PUT ",
            b"HEAD ",
            b"/hooks/begini",
            b"/hooks/other",
            b"x-signature: ",
            b"\0",
            b": ",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"5;ext=1\r\n",
            b"ffffffffffffffff\r\n",
        ]
    }

    fn attempt(&mut self, input: &[u8]) -> Result<u64, String> {
        let answer = self.talk(input).ok_or("the connection never ended")?;
        for bytes in self.recorder.taken() {
            let frames = decode_batch(&bytes).map_err(|error| error.to_string())?;
            for frame in frames {
                let envelope = frame.map_err(|bad| bad.error.to_string())?;
                let body = &envelope.body[..];
                if !BODIES.contains(&body) && body != IN_THE_FORM {
                    return Err("an unsigned body was accepted".to_owned());
                }
            }
        }
        if answer.is_empty() {
            return Ok(class("ended"));
        }
        let status = answer
            .strip_prefix(b"HTTP/1.")
            .and_then(|rest| rest.get(2..5));
        let is_whole = answer.windows(4).any(|it| it == b"\r\n\r\n");
        match status {
            Some(status) if is_whole && status.iter().all(u8::is_ascii_digit) => {
                let answers = answer.windows(7).filter(|it| it == b"HTTP/1.").count();
                Ok(class((status.to_vec(), answers.min(3))))
            }
            Some(_) | None => Err("the response is not an HTTP response".to_owned()),
        }
    }
}
