//! Tests which contradictions are found between a store and the witness messages of its broker, and
//! which witness message is published next.

#![allow(clippy::unwrap_used)]

use super::*;

const STORE: Incarnation = Incarnation::from_bytes([1; 16]);
const OTHER: Incarnation = Incarnation::from_bytes([2; 16]);
const INGEST: InstanceId = InstanceId::from_bytes([3; 16]);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_micros(seconds * 1_000_000)
}

fn witness(store: Incarnation, sequence: u64) -> Witness {
    Witness {
        store,
        sequence,
        at: at(i64::try_from(sequence).unwrap()),
        receipts: sequence * 10,
        ingests: vec![reported(sequence * 10)],
        routes: vec!["scores".parse().unwrap()],
    }
}

fn reported(number: u64) -> ReportedUpTo {
    ReportedUpTo {
        instance: INGEST,
        number,
    }
}

/// Returns the position of a store whose newest witness message has this number and was confirmed.
fn position(sequence: u64) -> WitnessPosition {
    WitnessPosition {
        incarnation: STORE,
        since: at(0),
        newest: (sequence > 0).then(|| witness(STORE, sequence)),
        confirmed: sequence,
        receipts: sequence * 10,
        ingests: vec![reported(sequence * 10)],
    }
}

fn compare(position: &WitnessPosition, found: &[Witness]) -> Option<Mismatch> {
    position.compare(position.confirmed, found)
}

#[test]
fn a_store_and_its_broker_agree() {
    assert_eq!(
        compare(&position(0), &[]),
        None,
        "a new store and an empty broker must not contradict each other"
    );
    let found = [witness(STORE, 3), witness(STORE, 4), witness(STORE, 2)];
    assert_eq!(compare(&position(4), &found), None);
    let mut unconfirmed = position(5);
    unconfirmed.confirmed = 4;
    assert_eq!(
        compare(&unconfirmed, &found),
        None,
        "a witness that the broker lacks must be no contradiction before it was confirmed"
    );
    let newer = [witness(OTHER, 3), witness(STORE, 4)];
    assert_eq!(
        compare(&position(4), &newer),
        None,
        "after an accepted restore, the old witness of another store must be ignored"
    );
}

#[test]
fn a_store_behind_its_witness_is_found() {
    let found = [witness(STORE, 9), witness(STORE, 12), witness(STORE, 11)];
    let Some(Mismatch::StoreBehind(behind)) = compare(&position(4), &found) else {
        panic!("expected `StoreBehind`")
    };
    assert_eq!((behind.from, behind.until), (at(4), at(12)));
    assert_eq!((behind.store, behind.broker, behind.receipts), (4, 12, 80));
    let unknown = UnknownNumbers {
        instance: INGEST,
        first: 41,
        last: 120,
    };
    assert_eq!(behind.ingests, [unknown]);
    let Some(Mismatch::StoreBehind(behind)) = compare(&position(0), &found) else {
        panic!("expected `StoreBehind`")
    };
    assert_eq!((behind.from, behind.store), (at(0), 0));
}

#[test]
fn another_store_is_found() {
    let found = [witness(STORE, 4), witness(OTHER, 7)];
    let Some(Mismatch::OtherStore(other)) = compare(&position(4), &found) else {
        panic!("expected `OtherStore`")
    };
    assert_eq!((other.store, other.broker), (STORE, OTHER));
    assert_eq!((other.from, other.until), (at(4), at(7)));
    assert!(matches!(
        compare(&position(0), &found),
        Some(Mismatch::OtherStore(_))
    ));
}

#[test]
fn a_broker_that_lost_what_it_confirmed_is_found() {
    let Some(Mismatch::BrokerBehind(behind)) = compare(&position(4), &[]) else {
        panic!("expected `BrokerBehind`")
    };
    assert_eq!((behind.confirmed, behind.found), (4, None));
    assert_eq!(behind.routes, ["scores".parse().unwrap()]);
    let Some(Mismatch::BrokerBehind(behind)) = compare(&position(4), &[witness(STORE, 2)]) else {
        panic!("expected `BrokerBehind`")
    };
    assert_eq!(
        (behind.found, behind.from, behind.until),
        (Some(2), at(2), at(4))
    );
    // The broker was read before its newest witness message was published and confirmed. This is no
    // contradiction.
    assert_eq!(position(4).compare(2, &[witness(STORE, 2)]), None);
    assert_eq!(position(1).compare(0, &[]), None);
}

#[test]
fn a_witness_is_due_when_it_has_news_or_is_not_confirmed() {
    let routes: Vec<RouteName> = vec!["scores".parse().unwrap()];
    let next = position(0).next(at(9), &routes).unwrap();
    assert_eq!((next.sequence, next.at, next.store), (1, at(9), STORE));
    let mut known = position(4);
    assert_eq!(known.next(at(9), &routes), None);
    known.confirmed = 3;
    assert_eq!(known.next(at(9), &routes), Some(witness(STORE, 4)));
    known.receipts += 1;
    assert_eq!(known.next(at(9), &routes).unwrap().sequence, 5);
    let mut gap = position(4);
    gap.ingests = vec![reported(41)];
    assert_eq!(gap.next(at(9), &routes).unwrap().ingests, [reported(41)]);
    assert!(
        position(4).next(at(9), &[]).is_some(),
        "a new witness must be due when the broker has other routes than the newest witness"
    );
}
