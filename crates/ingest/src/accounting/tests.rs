//! Tests that accept reports cover every sequence number once, in order, and never before it is
//! known whether the broker confirmed the batch of that number.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use hookbox_driver::{Batch, Depth, Fault, FaultKind, PublishError, PublishErrorKind, Queue};
use hookbox_driver::{Readiness, Subscription};
use hookbox_event::Timestamp;
use tokio_util::task::TaskTracker;

use super::*;

/// A broker that refuses the first few accept reports and keeps the later ones.
#[derive(Default)]
struct ReportBroker {
    refuse: Mutex<usize>,
    /// Cancelled when the first report arrives, which is kept only after that.
    arrives: Option<CancellationToken>,
    kept: Mutex<Vec<Account>>,
}

impl ReportBroker {
    /// Returns the first and the last number of each report that was kept, and whether it closes.
    fn ranges(&self) -> Vec<(u64, u64, bool)> {
        let kept = self.kept.lock().unwrap();
        let ranges = kept.iter().map(|it| (it.first, it.last, it.closing));
        ranges.collect()
    }
}

#[async_trait]
impl Broker for ReportBroker {
    async fn publish(&self, _: &[RouteName], _: &Batch) -> Result<(), PublishError> {
        Err(PublishError::plain(PublishErrorKind::Unavailable))
    }

    async fn publish_report(&self, account: &Account) -> Result<(), PublishError> {
        if let Some(arrives) = &self.arrives {
            arrives.cancel();
            tokio::task::yield_now().await;
        }
        let mut refuse = self.refuse.lock().unwrap();
        if *refuse > 0 {
            *refuse -= 1;
            return Err(PublishError::plain(PublishErrorKind::Unavailable));
        }
        self.kept.lock().unwrap().push(account.clone());
        Ok(())
    }

    async fn subscribe(&self, _: &Queue, _: u16) -> Result<Box<dyn Subscription>, Fault> {
        Err(Fault::plain(FaultKind::Internal, "subscribe"))
    }

    async fn depths(&self) -> Result<Vec<Depth>, Fault> {
        Ok(Vec::new())
    }

    fn readiness(&self) -> Readiness {
        Readiness::Ready
    }

    async fn close(&self) {}
}

fn accounting(broker: &Arc<ReportBroker>) -> Arc<Accounting> {
    let instance = InstanceId::new(Timestamp::from_unix_micros(0), [1; 10]);
    let broker = Arc::clone(broker) as Arc<dyn Broker>;
    Arc::new(Accounting::new(instance, broker, Arc::default()))
}

fn confirm(numbers: Numbers) {
    let receipt = |number: u64| ReceiptId::from_bytes([number as u8; 16]);
    let last = numbers.first + numbers.count;
    let receipts = (numbers.first..last).map(receipt).collect();
    numbers.confirmed(vec!["scores".parse().unwrap()], receipts);
}

#[test]
fn only_numbers_decided_without_a_gap_are_reported() {
    let accounting = accounting(&Arc::default());
    let [a, b, c] = [2, 1, 3].map(|count| accounting.numbers(count));
    assert_eq!([a.first, b.first, c.first], [1, 3, 4]);
    confirm(c);
    assert!(
        accounting.cut(false).is_none(),
        "nothing may be reported before each of the numbers 1 to 3 is confirmed or void"
    );
    drop(b);
    confirm(a);
    let account = accounting.cut(false).unwrap();
    assert_eq!(
        (account.first, account.last, account.closing),
        (1, 6, false)
    );
    let reported: Vec<_> = account
        .accepted
        .iter()
        .map(|it| (it.first, it.receipts.len()))
        .collect();
    assert_eq!(
        reported,
        [(1, 2), (4, 3)],
        "number 3 is void, so the report must have no receipt for it"
    );
    assert!(
        accounting.cut(false).is_none(),
        "no number may be reported twice"
    );
    let last = accounting.cut(true).unwrap();
    assert_eq!((last.first, last.last, last.closing), (7, 6, true));
    assert_eq!(Account::decode(&last.encode()), Ok(last));
}

#[test]
fn an_outage_is_one_row_however_long() {
    let accounting = accounting(&Arc::default());
    let open = accounting.numbers(1);
    for _ in 0..1_000 {
        drop(accounting.numbers(64));
    }
    assert_eq!(accounting.lock().decided.len(), 1);
    confirm(open);
    let account = accounting.cut(false).unwrap();
    assert_eq!((account.first, account.last), (1, 64_001));
    assert_eq!(account.accepted.len(), 1);
}

#[test]
fn waiting_receipts_are_limited_and_dropped_ones_counted() {
    let accounting = accounting(&Arc::default());
    let rounds = WAITING_MAX / 1_000 + 2;
    for _ in 0..rounds {
        confirm(accounting.numbers(1_000));
    }
    assert_eq!(accounting.lock().waiting, WAITING_MAX);
    assert_eq!(
        accounting
            .counters
            .dropped_from_reports
            .load(Ordering::Relaxed),
        2_000
    );
    let first = accounting.cut(false).unwrap();
    assert_eq!(first.last, RECEIPTS_MAX as u64);
}

#[tokio::test(start_paused = true)]
async fn an_accept_report_is_published_until_it_is_confirmed_and_the_last_one_closes() {
    let broker = Arc::new(ReportBroker::default());
    *broker.refuse.lock().unwrap() = 3;
    let (accounting, stop, tasks) = (
        accounting(&broker),
        CancellationToken::new(),
        TaskTracker::new(),
    );
    confirm(accounting.numbers(2));
    tasks.spawn(Arc::clone(&accounting).report(stop.clone()));
    tokio::time::sleep(REPORT_INTERVAL * 10).await;
    confirm(accounting.numbers(1));
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    assert_eq!(broker.ranges(), [(1, 2, false), (3, 3, true)]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_a_report_is_published_is_followed_by_the_closing_report() {
    let stop = CancellationToken::new();
    let broker = Arc::new(ReportBroker {
        arrives: Some(stop.clone()),
        ..ReportBroker::default()
    });
    let accounting = accounting(&broker);
    confirm(accounting.numbers(2));
    Arc::clone(&accounting).report(stop).await;
    assert_eq!(broker.ranges(), [(1, 2, false), (3, 2, true)]);
}
