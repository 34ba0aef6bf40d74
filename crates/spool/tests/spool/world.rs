//! Sets up a spool in a folder of its own. The spool forwards to a broker in memory.

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hookbox_driver::{Batch, Broker, PublishError};
use hookbox_driver_sqlite::{Options, Sqlite, migrate};
use hookbox_event::{
    Accepted, Account, ContentDigest, Digester, Envelope, EventId, InstanceId, ReceiptId,
    RouteName, SourceName, Timestamp, Topic,
};
use hookbox_spool::{SpoolCounters, Spooling};
use hookbox_testkit::eventually::eventually;

use crate::broker::{FakeBroker, Manner};

const NOW: Timestamp = Timestamp::from_unix_micros(1_764_000_000_000_000);

/// A running spool, its broker and its counters.
pub struct World {
    pub broker: Arc<FakeBroker>,
    pub spooling: Spooling,
    pub counters: Arc<SpoolCounters>,
    folder: Folder,
    /// The most bytes that the spool may contain; `None` for no limit.
    bytes_max: Option<u64>,
}

/// A folder that is removed at the end of its test, also when the test fails.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl World {
    pub async fn new(manner: Manner) -> Self {
        Self::with_spool_of(None, manner).await
    }

    /// Sets up a spool that may contain at most this many bytes.
    pub async fn with_spool_of(bytes_max: Option<u64>, manner: Manner) -> Self {
        let random = RandomState::new().hash_one(std::process::id());
        let folder = std::env::temp_dir().join(format!("hookbox-spool-{random:016x}"));
        std::fs::create_dir(&folder).unwrap();
        let broker = Arc::new(FakeBroker::new(manner));
        let folder = Folder(folder);
        let spooling = start(&folder.0, &broker, bytes_max).await;
        Self {
            counters: spooling.counters(),
            broker,
            spooling,
            folder,
            bytes_max,
        }
    }

    /// Closes the spool and opens it again, as a restart of the process does.
    pub async fn restart(self) -> Self {
        self.spooling.close().await;
        let spooling = start(&self.folder.0, &self.broker, self.bytes_max).await;
        Self {
            counters: spooling.counters(),
            spooling,
            ..self
        }
    }

    /// Publishes events with these sequence numbers as one batch to the route `a`.
    pub async fn publish(&self, numbers: std::ops::Range<u64>) {
        self.publish_to("a", &batch(numbers, 10)).await;
    }

    pub async fn publish_to(&self, route: &str, batch: &Batch) {
        self.try_to_publish(&[route], batch).await.unwrap();
    }

    /// Publishes a batch, which may be refused.
    pub async fn try_to_publish(&self, routes: &[&str], batch: &Batch) -> Result<(), PublishError> {
        let routes: Vec<RouteName> = routes.iter().map(|it| it.parse().unwrap()).collect();
        self.spooling.publish(&routes, batch).await
    }

    /// Publishes an accept report that covers one receipt of this route.
    pub async fn report(&self, number: u64, route: &str) {
        let account = Account {
            instance: InstanceId::from_bytes([7; 16]),
            first: number,
            last: number,
            closing: false,
            accepted: vec![Accepted {
                routes: vec![route.parse().unwrap()],
                first: number,
                receipts: vec![ReceiptId::from_bytes([7; 16])],
            }],
        };
        self.spooling.publish_report(&account).await.unwrap();
    }

    /// Returns the number of events in the spool.
    pub fn events(&self) -> u64 {
        self.counters.events.load(Ordering::Relaxed)
    }

    /// Returns the number of events that were spooled so far.
    pub fn kept(&self) -> u64 {
        self.counters.kept.load(Ordering::Relaxed)
    }

    /// Returns the number of spooled events that the broker refuses while it takes other events.
    pub fn refused(&self) -> u64 {
        self.counters.refused.load(Ordering::Relaxed)
    }

    /// Closes the spool, opens it again, and checks that no event was left in it.
    pub async fn end(self) {
        self.spooling.close().await;
        let next = start(&self.folder.0, &self.broker, self.bytes_max).await;
        assert_eq!(next.counters().events.load(Ordering::Relaxed), 0);
        next.close().await;
        // SQLite removes its log when the last connection closes, in a thread of that connection.
        let log = self.folder.0.join("spool.db-wal");
        eventually("the log must be removed", || async {
            if log.exists() {
                Err("it exists")
            } else {
                Ok(())
            }
        })
        .await;
        std::fs::remove_dir_all(&self.folder.0).unwrap();
    }
}

async fn start(
    folder: &std::path::Path,
    broker: &Arc<FakeBroker>,
    bytes_max: Option<u64>,
) -> Spooling {
    let routes = ["a", "b"].map(|name| name.parse().unwrap()).to_vec();
    let mut options = Options::new(folder.join("spool.db"), "test".parse().unwrap(), routes);
    options.lease = Duration::from_secs(2);
    options.bytes_max = bytes_max;
    migrate(options.clone()).await.unwrap();
    let spool = Sqlite::open(options).await.unwrap();
    let broker = Arc::clone(broker) as Arc<dyn Broker>;
    Spooling::start(broker, Arc::new(spool)).await.unwrap()
}

/// Returns a batch of events with these sequence numbers, each with a body of `body_bytes` bytes.
pub fn batch(numbers: std::ops::Range<u64>, body_bytes: usize) -> Batch {
    let source: SourceName = "begini".parse().unwrap();
    let envelope = |number: u64| {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        let body = Bytes::from(vec![b'x'; body_bytes]);
        let digest = ContentDigest::of_raw_body(&Digester::Plain, &body);
        Envelope {
            receipt: ReceiptId::new(NOW, random),
            topic: Topic::of(&source, Some("thing")),
            event: EventId::from_digest(&Digester::Plain, &source, &digest),
            id_tail: None,
            digest,
            source: source.clone(),
            received_at: NOW,
            key_id: "test".to_owned(),
            instance: InstanceId::new(NOW, [0; 10]),
            number,
            seal: None,
            traceparent: None,
            redo: None,
            body,
        }
    };
    let envelopes: Vec<Envelope> = numbers.map(envelope).collect();
    Batch::of(&envelopes).unwrap()
}
