//! What the tests share: a separate database for each test, envelopes, and short functions that do
//! what a worker does.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use hookbox_driver::{
    Claimed, CommitError, DeadReason, DueRetry, Failure, FailureClass, Fault, Ledger, Outcome,
    ReceiptOutcome, Recorded, Republish, Requeued, Store, Then,
};
use hookbox_driver_postgres::testing::Database;
use hookbox_driver_postgres::{Options, Postgres, Tx};
use hookbox_event::{
    ContentDigest, Digester, Envelope, EnvironmentName, EventId, InstanceId, ReceiptId, Redo,
    RouteName, Timestamp,
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

pub const ROUTE: &str = "scores";

pub struct World {
    pub store: Postgres,
    pub database: Database,
}

/// The decision that the event becomes a dead letter.
pub const DEAD: Then = Then::Dead {
    reason: DeadReason::Exhausted,
};

/// Returns a copy of the envelope as the retry with this attempt number.
pub fn redo(envelope: &Envelope, attempt: u32) -> Envelope {
    Envelope {
        redo: Some(Redo { attempt }),
        ..envelope.clone()
    }
}

/// Returns the result of a claim that grants this attempt.
pub fn granted(attempt: u32, attempts_before: u32) -> Claimed {
    Claimed::Granted {
        attempt,
        attempts_before,
    }
}

pub fn environment() -> EnvironmentName {
    "test".parse().unwrap()
}

pub fn route(name: &str) -> RouteName {
    name.parse().unwrap()
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// Creates a test database, and opens its store with changed options.
    pub async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let database = Database::create_for_migrate().await.unwrap();
        let mut options = database.options(&environment());
        hookbox_driver_postgres::migrate(options.clone())
            .await
            .unwrap();
        change(&mut options);
        let store = Postgres::open(options).await.unwrap();
        let world = Self { store, database };
        world
            .execute("create table effects (key text not null)")
            .await;
        world
    }

    /// Opens a connection of the test's own, which the store does not use.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(self.database.url()).await.unwrap()
    }

    pub async fn execute(&self, statement: &str) {
        let mut connection = self.connect().await;
        connection.execute(AssertSqlSafe(statement)).await.unwrap();
        connection.close().await.unwrap();
    }

    pub async fn number(&self, query: &str) -> i64 {
        let mut connection = self.connect().await;
        let number = sqlx::query_scalar(AssertSqlSafe(query))
            .fetch_one(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        number
    }

    pub async fn effects(&self, key: &str) -> i64 {
        self.number(&format!("select count(*) from effects where key = '{key}'"))
            .await
    }

    /// Checks that no rows of different tables contradict each other.
    pub async fn assert_balanced(&self) {
        assert_eq!(self.store.imbalances(10).await.unwrap(), []);
    }

    pub async fn claim(&self, tx: &mut Tx, envelopes: &[&Envelope]) -> Result<Vec<Claimed>, Fault> {
        self.store.claim(tx, &route(ROUTE), envelopes).await
    }

    /// Returns what a claim of the envelope would return now. Nothing stays claimed.
    pub async fn peek(&self, envelope: &Envelope) -> Claimed {
        let mut tx = self.store.begin().await.unwrap();
        let claimed = self.claim(&mut tx, &[envelope]).await.unwrap();
        self.store.rollback(tx).await;
        claimed[0]
    }

    pub async fn settle(
        &self,
        tx: &mut Tx,
        envelope: &Envelope,
        outcome: Outcome,
    ) -> Result<(), CommitError> {
        let settled = [ReceiptOutcome {
            envelope,
            outcome,
            other_digest: None,
        }];
        self.store.settle(tx, &route(ROUTE), &settled).await
    }

    /// Does what a worker does with one envelope: claims it, adds an effect with this name if the
    /// handler would run, settles, and commits.
    pub async fn process(&self, envelope: &Envelope, effect: &str) -> Claimed {
        let mut tx = self.store.begin().await.unwrap();
        let claimed = self.claim(&mut tx, &[envelope]).await.unwrap()[0];
        let outcome = match claimed {
            Claimed::Fresh => Outcome::Done { attempt: 1 },
            Claimed::Granted { attempt, .. } => Outcome::Done { attempt },
            Claimed::Duplicate => Outcome::Duplicate,
            Claimed::Redelivered | Claimed::Conflict | Claimed::Orphaned => {
                self.store.rollback(tx).await;
                return claimed;
            }
        };
        if !matches!(outcome, Outcome::Duplicate) {
            add_effect(self.store.connection(&mut tx), effect).await;
        }
        self.settle(&mut tx, envelope, outcome).await.unwrap();
        self.store.commit(tx).await.unwrap();
        claimed
    }

    /// Claims one envelope, settles it with this outcome without running a handler, and commits.
    pub async fn conclude(&self, envelope: &Envelope, outcome: Outcome) {
        let mut tx = self.store.begin().await.unwrap();
        self.claim(&mut tx, &[envelope]).await.unwrap();
        self.settle(&mut tx, envelope, outcome).await.unwrap();
        self.store.commit(tx).await.unwrap();
    }

    pub async fn fail(&self, envelope: &Envelope, attempt: u32, then: Then) -> Recorded {
        self.fail_after(envelope, attempt, 0, then).await
    }

    pub async fn fail_after(
        &self,
        envelope: &Envelope,
        attempt: u32,
        attempts_before: u32,
        then: Then,
    ) -> Recorded {
        let failure = Failure {
            route: &route(ROUTE),
            envelope,
            attempt,
            attempts_before,
            other_digest: None,
            class: FailureClass::Transient,
            error: format!("attempt {attempt} failed\nbecause of \0 something"),
            took: Duration::from_millis(12),
            then,
            is_expired_deferral: false,
        };
        self.store.fail(&failure).await.unwrap()
    }

    /// Republishes all due retries. Returns what became of them, and those that were published.
    pub async fn requeue(&self) -> (Requeued, Vec<DueRetry>) {
        let collector = Collector::default();
        let requeued = self.store.requeue_due(100, &collector).await.unwrap();
        (requeued, collector.taken.into_inner().unwrap())
    }
}

pub async fn add_effect(connection: &mut PgConnection, key: &str) {
    sqlx::query("insert into effects values ($1)")
        .bind(key)
        .execute(connection)
        .await
        .unwrap();
}

/// Returns the decision that the event is retried at once.
pub fn again() -> Then {
    Then::Retry {
        after: Duration::ZERO,
    }
}

/// A `Republish` that collects and confirms every retry, except those of the events in `refuses`.
#[derive(Default)]
pub struct Collector {
    pub taken: Mutex<Vec<DueRetry>>,
    pub refuses: HashSet<EventId>,
}

#[async_trait]
impl Republish for Collector {
    async fn republish(&self, due: &[&DueRetry]) -> Vec<bool> {
        let mut taken = self.taken.lock().unwrap();
        taken.extend(due.iter().map(|&due| due.clone()));
        let refused = due
            .iter()
            .map(|due| self.refuses.contains(&due.envelope.event));
        refused.map(|is_refused| !is_refused).collect()
    }
}

/// Returns an envelope with this body. The event id and the receipt id are made of these numbers.
pub fn envelope(event: u8, receipt: u8, body: &str) -> Envelope {
    Envelope {
        receipt: ReceiptId::from_bytes([receipt; 16]),
        source: "begini".parse().unwrap(),
        topic: "begini.psychometric_score.complete".parse().unwrap(),
        event: EventId::from_bytes([event; 16]),
        id_tail: None,
        digest: ContentDigest::of_raw_body(&Digester::Plain, body.as_bytes()),
        received_at: Timestamp::from_unix_micros(1_790_000_000_000_000 + i64::from(receipt)),
        key_id: "2026-11".to_owned(),
        instance: InstanceId::from_bytes([9; 16]),
        number: u64::from(receipt),
        seal: None,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        redo: None,
        body: body.as_bytes().to_vec().into(),
    }
}
