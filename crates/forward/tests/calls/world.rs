//! What the tests share: a resolver whose answers the test chooses, clients, and a call.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hookbox_event::Timestamp;
use hookbox_forward::{
    Call, CallClass, CallError, Client, IdempotencyKey, LimitSettings, Reference, Resolve, Secret,
    Settings, Span,
};

use crate::service::Service;

/// The host of all services. Only the resolver of a test knows it.
pub const HOST: &str = "service.test";

/// The key with which the calls are signed.
pub const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The value of a secret header in the config.
pub const TOKEN: &str = "Bearer 5ecret-token";

/// The body of the event. No error may contain it.
pub const BODY: &[u8] = br#"{"uid":"u-7413","score":712}"#;

/// 2025-11-24T16:00:00Z.
pub const NOW: Timestamp = Timestamp::from_unix_micros(1_764_000_000_000_000);

/// A time limit that no call reaches, even on a busy machine.
pub const LONG: &str = "30 s";

/// A time limit that is so short that a test can wait until it has passed.
pub const SHORT: Duration = Duration::from_millis(300);

/// A resolver that gives one answer after another, and repeats the last one.
pub struct Names {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    lookups: AtomicUsize,
}

impl Names {
    pub fn new(answers: &[&[&str]]) -> Arc<Self> {
        let answers = answers.iter().map(|answer| {
            let addresses = answer.iter().map(|text| text.parse().unwrap());
            addresses.collect()
        });
        Arc::new(Self {
            answers: Mutex::new(answers.collect()),
            lookups: AtomicUsize::new(0),
        })
    }

    pub fn local() -> Arc<Self> {
        Self::new(&[&["127.0.0.1"]])
    }

    /// Returns how often a name was resolved.
    pub fn lookups(&self) -> usize {
        self.lookups.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        assert_eq!(host, HOST);
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let last = answers.len() == 1;
        let answer = answers.front().cloned();
        if !last {
            answers.pop_front();
        }
        answer.ok_or_else(|| io::Error::other("no such name"))
    }
}

/// Returns the settings for a service at this port, with a URL that begins with `http://`.
pub fn settings(port: u16) -> Settings {
    let span = |text: &str| Span::try_from(text.to_owned()).ok();
    let reference = |file: &str| Reference {
        env: None,
        file: Some(file.to_owned()),
        mode: None,
    };
    Settings {
        url: format!("http://{HOST}:{port}/hooks?from=hookbox"),
        private_host: Some(HOST.to_owned()),
        secrets: vec![Secret {
            id: "2026".to_owned(),
            env: None,
            file: Some("key".to_owned()),
            mode: None,
        }],
        headers: [("x-tenant".to_owned(), "a".to_owned())].into(),
        secret_headers: [("authorization".to_owned(), reference("token"))].into(),
        ca_file: None,
        limits: LimitSettings {
            connect: span(LONG),
            first_byte: span(LONG),
            total: span(LONG),
        },
        concurrency: None,
        rate: None,
        repeatable: false,
    }
}

pub fn client_of(settings: &Settings, names: Arc<dyn Resolve>) -> Client {
    let read_secret = |reference: &Reference| match reference.file.as_deref() {
        Some("key") => Ok(KEY.to_owned()),
        Some("token") => Ok(TOKEN.to_owned()),
        other => Err(format!("there is no secret {other:?}")),
    };
    Client::new(settings, Path::new("."), &read_secret, names).unwrap()
}

/// Returns a client of this service.
pub fn client(service: &Service) -> Client {
    client_of(&settings(service.address.port()), Names::local())
}

pub fn call() -> Call {
    Call {
        key: IdempotencyKey::new("0f1e2d3c_orders_1").unwrap(),
        topic: "shop.order.paid".parse().unwrap(),
        attempt: 2,
        epoch: 5,
        traceparent: None,
        body: Bytes::from_static(BODY),
        now: NOW,
    }
}

/// Makes a call that fails, and checks that its error contains no secret.
pub async fn failure(client: &Client) -> CallError {
    let error = client.call(&call()).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    for secret in ["u-7413", "score", "5ecret", &KEY[6..], "v1,"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    error
}

pub const TRANSIENT: CallClass = CallClass::Transient { wish: None };

/// Returns the address at which services listen.
pub fn localhost() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}
