//! A broker in memory whose behaviour a test sets.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use hookbox_driver::{
    Batch, Broker, Depth, Fault, FaultKind, NotReadyKind, PublishError, PublishErrorKind, Queue,
    Readiness, Subscription,
};
use hookbox_event::{Account, RouteName, decode_batch};

/// How the broker treats the messages that are published to it.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Whether the broker is unreachable.
    pub is_away: bool,
    /// How long the broker takes to confirm.
    pub confirm: Duration,
    /// The size of the largest message that the broker takes. The broker closes the connection on
    /// which a larger message arrives.
    pub bytes_max: usize,
    /// Whether the broker is unresponsive: a publish has no answer until its deadline passes.
    pub is_silent: bool,
    /// Whether the broker rejects every message.
    pub rejects: bool,
    /// The route whose queue takes nothing. A message for several routes is rejected then, although
    /// the other queues have taken it.
    pub full: Option<&'static str>,
    /// Whether the broker reports that it has refused the latest publishes.
    pub is_refusing: bool,
}

/// How a healthy broker behaves.
pub const WELL: Manner = Manner {
    is_away: false,
    confirm: Duration::from_millis(5),
    bytes_max: usize::MAX,
    is_silent: false,
    rejects: false,
    full: None,
    is_refusing: false,
};

/// How an unreachable broker behaves.
pub const AWAY: Manner = Manner {
    is_away: true,
    ..WELL
};

/// How long a publish takes to fail when the broker is unresponsive. This is longer than every
/// other wait in these tests.
const DEADLINE: Duration = Duration::from_secs(2);

/// The broker in memory.
pub struct FakeBroker(Mutex<State>);

struct State {
    manner: Manner,
    begun: usize,
    /// The first sequence number of each accept report that arrived, and how many events had
    /// arrived before it.
    reports: Vec<(u64, usize)>,
    /// The route and the sequence number of each event that arrived, in the order of arrival.
    got: Vec<(String, u64)>,
    /// How many events each message that arrived contained.
    sizes: Vec<usize>,
}

impl FakeBroker {
    pub fn new(manner: Manner) -> Self {
        Self(Mutex::new(State {
            manner,
            begun: 0,
            reports: Vec::new(),
            got: Vec::new(),
            sizes: Vec::new(),
        }))
    }

    pub fn set(&self, manner: Manner) {
        self.lock().manner = manner;
    }

    /// Returns how many publishes were started, whether they succeeded or not.
    pub fn begun(&self) -> usize {
        self.lock().begun
    }

    /// Returns the first sequence number of each accept report that arrived, and how many events
    /// had arrived before it.
    pub fn reports(&self) -> Vec<(u64, usize)> {
        self.lock().reports.clone()
    }

    /// Returns the sequence numbers of the events that a route has received, in the order of
    /// arrival.
    pub fn got(&self, route: &str) -> Vec<u64> {
        let state = self.lock();
        let of_route = state.got.iter().filter(|(to, _)| to == route);
        of_route.map(|(_, number)| *number).collect()
    }

    /// Returns the number of events in the largest message so far.
    pub fn largest(&self) -> usize {
        self.lock().sizes.iter().copied().max().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

#[async_trait]
impl Broker for FakeBroker {
    async fn publish(&self, routes: &[RouteName], batch: &Batch) -> Result<(), PublishError> {
        let manner = {
            let mut state = self.lock();
            state.begun += 1;
            state.manner
        };
        let no = |kind| Err(PublishError::plain(kind));
        if manner.is_away {
            return no(PublishErrorKind::Unavailable);
        }
        if manner.is_silent {
            tokio::time::sleep(DEADLINE).await;
            return no(PublishErrorKind::TimedOut);
        }
        tokio::time::sleep(manner.confirm).await;
        if manner.rejects {
            return no(PublishErrorKind::Rejected);
        }
        if batch.bytes.len() > manner.bytes_max {
            return no(PublishErrorKind::Unavailable);
        }
        let frames = decode_batch(&batch.bytes).unwrap();
        let numbers: Vec<u64> = frames.into_iter().map(|one| one.unwrap().number).collect();
        assert_eq!(numbers.len(), batch.count);
        let is_full = |route: &&RouteName| manner.full == Some(route.as_str());
        let mut state = self.lock();
        state.sizes.push(numbers.len());
        for route in routes.iter().filter(|route| !is_full(route)) {
            let got = numbers.iter().map(|number| (route.to_string(), *number));
            state.got.extend(got);
        }
        if routes.iter().any(|route| is_full(&route)) {
            return no(PublishErrorKind::Rejected);
        }
        Ok(())
    }

    async fn publish_report(&self, account: &Account) -> Result<(), PublishError> {
        let mut state = self.lock();
        if state.manner.is_away {
            return Err(PublishError::plain(PublishErrorKind::Unavailable));
        }
        let before = state.got.len();
        state.reports.push((account.first, before));
        Ok(())
    }

    async fn subscribe(&self, _: &Queue, _: u16) -> Result<Box<dyn Subscription>, Fault> {
        let never = "subscribe: an ingest never subscribes";
        Err(Fault::plain(FaultKind::Internal, never))
    }

    async fn depths(&self) -> Result<Vec<Depth>, Fault> {
        Ok(Vec::new())
    }

    fn readiness(&self) -> Readiness {
        if self.lock().manner.is_away {
            return Readiness::not_ready(
                NotReadyKind::Unreachable,
                "the test made the broker unreachable",
            );
        }
        if self.lock().manner.is_refusing {
            return Readiness::not_ready(
                NotReadyKind::Refused,
                "the test made the broker report refusals",
            );
        }
        Readiness::Ready
    }

    async fn close(&self) {}
}
