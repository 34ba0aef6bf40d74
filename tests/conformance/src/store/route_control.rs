//! The promises of a store for pauses and limits of routes.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hookbox_driver::{
    AuditFilter, DueRetry, EventRate, Ledger, LimitChange, Republish, RouteChange, RouteLimits,
    RouteScope, Store,
};
use hookbox_event::{Accepted, Account, Envelope, InstanceId, RouteName};

use hookbox_testkit::eventually::eventually;

use super::{NOW, done, fail};
use crate::harness::{StoreHarness, one, two};
use crate::{of_number, with_receipt};

const RESUME: RouteChange = RouteChange::Resume { why: None };

fn pause(why: &str) -> RouteChange {
    RouteChange::Pause { why: why.into() }
}

async fn change<S: Ledger>(store: &S, scope: &RouteScope, change: &RouteChange, by: &str) -> bool {
    let changed = store.change_route(scope, change, by).await;
    changed.expect("changed")
}

/// Checks that a pause is committed with its operator, reason and audit row. Other processes read
/// the pause, and it lasts until an operator resumes the route. A change that alters nothing leaves
/// no audit row.
pub async fn a_pause_is_kept_until_it_is_resumed<H: StoreHarness>(world: &H) {
    let (store, other) = (world.open().await, world.open().await);
    let scope = RouteScope::One(one());
    let none = Store::route_controls(&*other).await.expect("read");
    assert!(none.rows().is_empty(), "{none:?}");
    let resume = RESUME;
    assert!(!change(&*store, &scope, &resume, "ann").await);
    assert!(change(&*store, &scope, &pause("the bank\0is down"), "ann").await);
    assert!(!change(&*store, &scope, &pause("again"), "bob").await);
    let read = Store::route_controls(&*other).await.expect("read");
    assert_eq!(Ledger::controls(&*other).await.expect("read"), read);
    let (found, why) = read.pause_of(&one()).expect("paused");
    assert_eq!((found, &*why.by), (&scope, "ann"));
    assert_eq!(
        why.why, "the bank\\u{0}is down",
        "the reason of a pause must be escaped to be stored"
    );
    assert!(!read.is_paused(&two()));
    assert!(change(&*other, &scope, &resume, "bob").await);
    let read = Store::route_controls(&*store).await.expect("read");
    assert!(!read.is_paused(&one()));
    assert!(read.row(&scope).resumed_at.is_some());
    let audits = store.audits(&AuditFilter::default(), None, 10).await;
    let audits = audits.expect("read");
    let rows: Vec<_> = audits
        .iter()
        .map(|row| (&*row.actor, &*row.action, &*row.subject))
        .collect();
    assert_eq!(
        rows,
        [
            ("bob", "routes.resume", "route one"),
            ("ann", "routes.pause", "route one: the bank\\u{0}is down"),
        ]
    );
    Store::close(&*other).await;
    Store::close(&*store).await;
}

/// Checks that a pause of all routes pauses each route, and is separate from the pause of one
/// route: resuming all routes does not end the pause of one, and resuming one route does not end
/// the pause of all.
pub async fn a_pause_of_all_routes_is_apart_from_that_of_one<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let scope = RouteScope::One(one());
    change(&*store, &RouteScope::All, &pause("all"), "ann").await;
    change(&*store, &scope, &pause("one"), "ann").await;
    let paused = async || {
        let read = Store::route_controls(&*store).await.expect("read");
        [one(), two()].map(|route| read.pause_of(&route).map(|(_, it)| it.why.clone()))
    };
    assert_eq!(paused().await, [Some("one".into()), Some("all".into())]);
    assert!(change(&*store, &RouteScope::All, &RESUME, "ann").await);
    assert_eq!(paused().await, [Some("one".into()), None]);
    change(&*store, &RouteScope::All, &pause("all"), "ann").await;
    assert!(change(&*store, &scope, &RESUME, "ann").await);
    assert_eq!(paused().await, [Some("all".into()), Some("all".into())]);
    Store::close(&*store).await;
}

/// Checks that a limit is read as it was set. A change of one limit does not change the other one,
/// and a pause or a resume changes none.
pub async fn limits_of_a_route_are_kept<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let scope = RouteScope::One(one());
    let rate: EventRate = "0.125/s".parse().expect("a valid rate");
    let limits = async || {
        let read = Store::route_controls(&*store).await.expect("read");
        read.limits_of(&one())
    };
    let limit = |rate, concurrency| RouteChange::Limit {
        why: None,
        rate,
        concurrency,
    };
    let set = limit(LimitChange::Set(rate), LimitChange::Keep);
    assert!(change(&*store, &scope, &set, "ann").await);
    assert!(!change(&*store, &scope, &set, "ann").await);
    let seven = NonZeroU32::new(7).expect("the number must not be zero");
    let set = limit(LimitChange::Keep, LimitChange::Set(seven));
    assert!(change(&*store, &scope, &set, "ann").await);
    let both = RouteLimits {
        rate_per_worker: Some(rate),
        concurrency_per_worker: Some(seven),
    };
    assert_eq!(limits().await, both);
    change(&*store, &scope, &pause("for a while"), "ann").await;
    change(&*store, &scope, &RESUME, "ann").await;
    assert_eq!(limits().await, both);
    let clear = limit(LimitChange::Clear, LimitChange::Clear);
    assert!(change(&*store, &scope, &clear, "ann").await);
    assert_eq!(limits().await, RouteLimits::default());
    Store::close(&*store).await;
}

/// Publishes every retry of the routes that are not paused.
struct Unpaused(Vec<RouteName>);

#[async_trait]
impl Republish for Unpaused {
    fn routes(&self) -> Option<&[RouteName]> {
        Some(&self.0)
    }

    async fn republish(&self, due: &[&DueRetry]) -> Vec<bool> {
        due.iter().map(|due| self.0.contains(&due.route)).collect()
    }
}

/// Checks that the retry of a paused route stays due during the pause, because the scheduler gives
/// no retries of paused routes to the publisher. After the pause the retry is published.
pub async fn a_retry_of_a_paused_route_waits<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let scope = RouteScope::One(one());
    change(&*store, &scope, &pause("for a while"), "ann").await;
    fail(&*store, &of_number(1), 1, NOW).await;
    let confirmed = async || {
        let controls = Store::route_controls(&*store).await.expect("read");
        let routes = [one(), two()].into_iter();
        let running = routes.filter(|route| !controls.is_paused(route)).collect();
        let requeued = store.requeue_due(10, &Unpaused(running)).await;
        requeued.expect("requeued").confirmed
    };
    assert_eq!(confirmed().await, 0);
    assert_eq!(confirmed().await, 0);
    let backlog = store.backlog().await.expect("read");
    assert_eq!(backlog[0].due, 1);
    change(&*store, &scope, &RESUME, "ann").await;
    assert_eq!(confirmed().await, 1);
    Store::close(&*store).await;
}

/// Checks when a receipt that waits on a paused route counts as passed by later receipts, and so as
/// probably lost. During the pause it does not. It does when the pause has been over for longer
/// than the time after which a receipt is overdue.
pub async fn what_waits_on_a_paused_route_is_not_passed<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let instance = InstanceId::from_bytes([5; 16]);
    let (first, second) = (with_receipt("first", 1), with_receipt("second", 2));
    let second = Envelope {
        instance,
        number: 2,
        ..second
    };
    let report = Account {
        instance,
        first: 1,
        last: 1,
        closing: false,
        accepted: vec![Accepted {
            routes: vec![one()],
            first: 1,
            receipts: vec![first.receipt],
        }],
    };
    store.account(&report).await.expect("written");
    done(&*store, &second).await;
    let passed = async |overdue| {
        let found = store.accounts(10, overdue).await.expect("read");
        found.open[0].passed
    };
    let overdue = Duration::from_secs(1);
    eventually("the receipt must count as passed", async || {
        passed(overdue).await
    })
    .await;
    for scope in [RouteScope::One(one()), RouteScope::All] {
        change(&*store, &scope, &pause("for a while"), "ann").await;
        assert!(!passed(overdue).await, "{scope}");
        assert!(!passed(Duration::ZERO).await, "{scope}");
        let began = Instant::now();
        change(&*store, &scope, &RESUME, "ann").await;
        let is_passed = passed(overdue).await;
        assert!(!is_passed || began.elapsed() >= overdue, "{scope}");
        eventually(
            "the receipt must count as passed after the pause",
            async || passed(overdue).await,
        )
        .await;
    }
    let other = RouteScope::One(two());
    change(&*store, &other, &pause("another route"), "ann").await;
    assert!(passed(overdue).await);
    Store::close(&*store).await;
}
