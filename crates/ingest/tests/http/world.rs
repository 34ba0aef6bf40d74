//! Starts one ingest on its own socket, with sources of several providers and a broker in memory.

use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use hookbox_driver::{Broker, Clock, Ledger};
use hookbox_event::{
    Condition, ContentDigest, Digester, Envelope, EventId, Routing, Scalar, Selection, SourceName,
    scan,
};
use hookbox_ingest::{
    Config, DrainTimes, EventType, Identity, Ingest, Limits, Listener, Peers, Source, serve,
    serve_stream,
};
use hookbox_signature::{Algorithm, Encoding, HmacScheme, Key, Preset, Scheme, sign};
use hookbox_testkit::fake_clock::FakeClock;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, HttpResponse, PATIENCE, post};
use crate::fake::{Counting, FakeBroker, NOW};
use crate::ledger::FakeLedger;

pub const EVENT: &[u8] =
    br#"{"integration_id":7,"uid":"u-1","event":{"type":"ios_score.complete"}}"#;

/// A running ingest with its broker, ledger and clock in memory.
pub struct World {
    pub address: SocketAddr,
    pub broker: Arc<FakeBroker>,
    pub ledger: Arc<FakeLedger>,
    pub clock: Arc<FakeClock>,
    pub ingest: Arc<Ingest>,
    pub shutdown: CancellationToken,
    served: JoinSet<()>,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Limits::standard()).await
    }

    pub async fn with(limits: Limits) -> Self {
        Self::graced(limits, Duration::from_secs(5)).await
    }

    /// Starts an ingest that waits at most `grace` for requests that are under way when it shuts
    /// down.
    pub async fn graced(limits: Limits, grace: Duration) -> Self {
        let lead = Duration::ZERO;
        Self::begin((limits, Peers::default()), DrainTimes { lead, grace }, None).await
    }

    /// Starts an ingest that still accepts requests for the time `lead` after its shutdown has
    /// started.
    pub async fn leading(lead: Duration) -> Self {
        let grace = Duration::from_secs(5);
        let config = (Limits::standard(), Peers::default());
        Self::begin(config, DrainTimes { lead, grace }, None).await
    }

    /// Starts an ingest that accepts requests from these peers: from proxies that terminate TLS, or
    /// over plain HTTP.
    pub async fn behind(peers: Peers, limits: Limits) -> Self {
        let (lead, grace) = (Duration::ZERO, Duration::from_secs(5));
        Self::begin((limits, peers), DrainTimes { lead, grace }, None).await
    }

    /// Starts an ingest that serves TLS itself.
    pub async fn secured(limits: Limits, tls: TlsAcceptor) -> Self {
        let (lead, grace) = (Duration::ZERO, Duration::from_secs(5));
        let config = (limits, Peers::default());
        Self::begin(config, DrainTimes { lead, grace }, Some(tls)).await
    }

    /// Starts an ingest whose routes have these topic patterns and conditions.
    pub async fn routed(limits: Limits, selections: Vec<Selection>) -> Self {
        let (lead, grace) = (Duration::ZERO, Duration::from_secs(5));
        let config = config(limits, Peers::default(), routing(selections));
        Self::serving(config, DrainTimes { lead, grace }, None).await
    }

    async fn begin(
        (limits, peers): (Limits, Peers),
        drain_times: DrainTimes,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let routes = [
            ("scores", "begini.*_score.complete"),
            ("archive", "begini.ios_score.complete"),
            ("plain", "plain.#"),
        ];
        let selections = routes.map(|(route, topics)| selection(route, topics, Vec::new()));
        let config = config(limits, peers, routing(selections.into()));
        Self::serving(config, drain_times, tls).await
    }

    async fn serving(config: Config, drain_times: DrainTimes, tls: Option<TlsAcceptor>) -> Self {
        let ledger = Arc::new(FakeLedger::default());
        let broker = Arc::new(FakeBroker::new());
        let clock = Arc::new(FakeClock::still(NOW));
        let ingest = Ingest::start(
            config,
            Arc::clone(&broker) as Arc<dyn Broker>,
            Some(Arc::clone(&ledger) as Arc<dyn Ledger>),
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::new(Counting::default()),
        );
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let mut served = JoinSet::new();
        served.spawn(serve(
            Listener { tcp, tls },
            Arc::clone(&ingest),
            shutdown.clone(),
            drain_times,
        ));
        Self {
            address,
            broker,
            ledger,
            clock,
            ingest,
            shutdown,
            served,
        }
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Opens a connection from the loopback address 127.0.0.`host`.
    pub async fn client_from(&self, host: u8) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, host], 0).into()).unwrap();
        Client::over(socket.connect(self.address).await.unwrap())
    }

    /// Opens a connection that uses no network, so that the test can run with a paused clock.
    pub async fn piped(&self, served: &mut JoinSet<()>) -> Client<DuplexStream> {
        let (theirs, ours) = tokio::io::duplex(64 * 1024);
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let ingest = Arc::clone(&self.ingest);
        served.spawn(async move { serve_stream(ours, peer, &ingest).await });
        // Lets the server run until it waits for the first byte of a request.
        tokio::task::yield_now().await;
        Client::within(theirs)
    }

    /// Sends one request on a new connection, and returns its answer.
    pub async fn ask(&self, request: &[u8]) -> HttpResponse {
        self.client().await.ask(request).await
    }

    /// Posts a body with a valid signature to the Begini source.
    pub async fn begini(&self, body: &[u8]) -> HttpResponse {
        self.ask(&begini(body)).await
    }

    /// Posts a body with a valid signature. Checks that the request was accepted, and that exactly
    /// one envelope was published, with this body. Returns the envelope and its routes.
    pub async fn keeps(&self, body: &[u8]) -> (Envelope, Vec<String>) {
        let before = self.broker.kept().len();
        let answer = self.begini(body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let kept = self.broker.kept();
        assert_eq!(kept.len(), before + 1);
        let last = kept.last().unwrap().clone();
        let [envelope] = last.envelopes.as_slice() else {
            panic!(
                "the batch must have one envelope, not {}",
                last.envelopes.len()
            );
        };
        assert!(
            envelope.body == body,
            "the published body must have the bytes that were sent"
        );
        assert_eq!(answer.json()["receipt"], envelope.receipt.to_string());
        assert_eq!(last.batch.topic, envelope.topic);
        (envelope.clone(), last.routes)
    }

    /// Checks that nothing was published, and that no publish was started.
    pub fn nothing_published(&self) {
        assert_eq!(self.broker.begun(), 0);
        assert_eq!(self.broker.kept().len(), 0);
    }

    /// Shuts the ingest down and waits until it has ended.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        self.until_stopped().await;
    }

    pub async fn until_stopped(&mut self) {
        let ended = tokio::time::timeout(PATIENCE, self.served.join_next()).await;
        ended
            .expect("the ingest must end in time after its shutdown")
            .unwrap()
            .unwrap();
    }
}

/// Limits under which a slow peer is detected quickly.
pub fn hasty() -> Limits {
    // On a busy machine, a process may have to wait for the processor for some time. The deadlines
    // are longer than that wait.
    let short = Duration::from_millis(500);
    Limits {
        head_deadline: short,
        idle_deadline: short,
        body_grace: short,
        body_deadline: short * 2,
        confirm_deadline: short,
        tls_deadline: short,
        write_deadline: short,
        ..Limits::standard()
    }
}

/// Returns the selection of a route: its name, its topic pattern and its conditions.
pub fn selection(route: &str, topics: &str, conditions: Vec<Condition>) -> Selection {
    Selection {
        route: route.parse().unwrap(),
        topics: vec![topics.parse().unwrap()],
        conditions,
    }
}

fn routing(selections: Vec<Selection>) -> Routing {
    let unrouted = "unrouted".parse().unwrap();
    Routing {
        selections,
        unrouted,
    }
}

fn config(limits: Limits, peers: Peers, routing: Routing) -> Config {
    let begini = Preset::Begini;
    let source = |name: &str, scheme, answer, topic: Option<&str>, identity| Source {
        name: name.parse().unwrap(),
        scheme,
        keys: RwLock::new(Arc::from([key(name)])),
        form: None,
        answer,
        topic: topic.map(|topic| EventType::Body(topic.parse().unwrap())),
        identity,
    };
    let pointers = ["/integration_id", "/uid", "/event/type"];
    let pointers = pointers.map(|pointer| pointer.parse().unwrap()).to_vec();
    Config {
        sources: vec![
            source(
                "begini",
                begini.scheme(),
                begini.answer(),
                begini.topic(),
                Identity::Pointers(pointers),
            ),
            source(
                "plain",
                plain_scheme(),
                hookbox_signature::RefusalAnswer::default(),
                None,
                Identity::Body,
            ),
            source(
                "github",
                Preset::Github.scheme(),
                Preset::Github.answer(),
                Preset::Github.topic(),
                Identity::Body,
            ),
            source(
                "standard",
                Preset::StandardWebhooks.scheme(),
                Preset::StandardWebhooks.answer(),
                Preset::StandardWebhooks.topic(),
                Identity::SignedId,
            ),
            with_headers(&key("hub"), Preset::Github.scheme()),
            with_a_topic(&key("shop")),
        ],
        routing,
        digester: Digester::Plain,
        peers,
        limits,
    }
}

/// A source like GitHub: one header states the event type, and another one the id of the delivery.
fn with_headers(key: &Key, scheme: Scheme) -> Source {
    Source {
        name: "hub".parse().unwrap(),
        scheme,
        keys: RwLock::new(Arc::from([key.clone()])),
        form: Preset::Github.form().map(str::to_owned),
        answer: hookbox_signature::RefusalAnswer::default(),
        topic: Some(EventType::Header {
            name: http::HeaderName::from_static("x-github-event"),
            pointer: Some("/action".parse().unwrap()),
        }),
        identity: Identity::Delivery(http::HeaderName::from_static("x-github-delivery")),
    }
}

/// A source like Shopify: a header states the event type, and everything else is in the body.
fn with_a_topic(key: &Key) -> Source {
    Source {
        name: "shop".parse().unwrap(),
        scheme: plain_scheme(),
        keys: RwLock::new(Arc::from([key.clone()])),
        form: None,
        answer: hookbox_signature::RefusalAnswer::default(),
        topic: Some(EventType::Header {
            name: http::HeaderName::from_static("x-shopify-topic"),
            pointer: None,
        }),
        identity: Identity::Body,
    }
}

pub fn plain_scheme() -> Scheme {
    Scheme::Hmac(HmacScheme {
        algorithm: Algorithm::Sha256,
        encoding: Encoding::Base64,
        header: http::HeaderName::from_static("x-plain"),
        prefix: String::new(),
        timestamp: None,
    })
}

/// Returns the key of a source; each source has its own.
pub fn key(source: &str) -> Key {
    let secret = format!("the secret of {source}");
    Key::new(format!("{source}-2025"), None, secret.into_bytes()).unwrap()
}

/// Returns the value of the signature header, for a scheme that uses a single header.
pub fn signature(scheme: &Scheme, key: &Key, body: &[u8]) -> String {
    let headers = sign(scheme, key, body, NOW, "");
    headers[0].1.to_str().unwrap().to_owned()
}

/// Returns the valid signature of a body for the Begini source.
pub fn signed(body: &[u8]) -> String {
    signature(&Preset::Begini.scheme(), &key("begini"), body)
}

/// Returns a request that posts a body as Begini does.
pub fn begini(body: &[u8]) -> Vec<u8> {
    post("/hooks/begini", &[("x-signature", &signed(body))], body)
}

pub fn source(name: &str) -> SourceName {
    name.parse().unwrap()
}

/// Returns the event id of a Begini body that has all its identity fields.
pub fn by_fields(integration: &str, uid: Scalar, kind: &str) -> EventId {
    let fields = [
        Scalar::Number(integration.into()),
        uid,
        Scalar::String(kind.into()),
    ];
    EventId::from_fields(&Digester::Plain, &source("begini"), &fields)
}

/// Returns the event id of a JSON body that lacks identity fields.
pub fn by_json(body: &[u8]) -> EventId {
    let canonical = scan(body, &[]).unwrap().canonical;
    let digest = ContentDigest::of_canonical_json(&Digester::Plain, &canonical);
    EventId::from_digest(&Digester::Plain, &source("begini"), &digest)
}

/// Returns the event id of a body that is not JSON.
pub fn by_bytes(body: &[u8]) -> EventId {
    EventId::from_digest(
        &Digester::Plain,
        &source("begini"),
        &ContentDigest::of_raw_body(&Digester::Plain, body),
    )
}
