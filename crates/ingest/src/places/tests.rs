//! Tests which connections get a place when places are scarce, and which connection is closed to
//! make room.

#![allow(clippy::unwrap_used)]

use super::*;

fn places(max: usize, per_address_max: usize) -> Arc<Places> {
    let limits = Limits {
        connections_max: max,
        connections_per_address_max: per_address_max,
        ..Limits::standard()
    };
    Places::new(&limits, Arc::default())
}

fn enter(places: &Arc<Places>, host: u8) -> Entry {
    places.enter([192, 0, 2, host].into(), false)
}

fn taken(entry: Entry) -> Arc<Place> {
    match entry {
        Entry::Taken(place) => place,
        Entry::MadeRoom(_) => {
            panic!("a place must be free, but another connection was closed to make room")
        }
        Entry::AddressFull => {
            panic!("a place must be free, but the address has too many connections")
        }
    }
}

fn made_room(entry: Entry) -> Arc<Place> {
    match entry {
        Entry::MadeRoom(place) => place,
        Entry::Taken(_) => {
            panic!("another connection must be closed to make room, but a place was free")
        }
        Entry::AddressFull => {
            panic!("another connection must make room, but the address has too many connections")
        }
    }
}

fn is_closed(place: &Place) -> bool {
    place.standing.close.is_cancelled()
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn the_oldest_without_a_verified_request_makes_room() {
    let places = places(3, 3);
    let [first, second, third] = [1, 2, 3].map(|host| taken(enter(&places, host)));
    first.verified();
    let fourth = made_room(enter(&places, 4));
    assert!(is_closed(&second) && !is_closed(&first) && !is_closed(&third));
    // A connection that has been idle for a second is closed before an older busy one.
    fourth.set_busy(false);
    tokio::time::advance(IDLE_MIN - Duration::from_millis(1)).await;
    let fifth = made_room(enter(&places, 5));
    assert!(
        is_closed(&third) && !is_closed(&fourth),
        "the fourth connection must stay open: it has been idle for less than a second"
    );
    let sixth = made_room(enter(&places, 6));
    assert!(
        is_closed(&fourth),
        "the fourth connection must be closed: it has been idle for a second"
    );
    sixth.set_busy(false);
    tokio::time::advance(IDLE_MIN).await;
    let seventh = made_room(enter(&places, 7));
    assert!(is_closed(&sixth) && !is_closed(&fifth));
    let counters = Arc::clone(&places.counters);
    assert_eq!(read(&counters.connections), 3);
    assert_eq!(read(&counters.connections_unverified), 2);
    assert_eq!(read(&counters.connections_closed), 4);
    drop([first, second, third, fourth, fifth, sixth, seventh]);
    assert_eq!(read(&counters.connections), 0);
    assert_eq!(read(&counters.connections_idle), 0);
    let left = places.lock();
    assert_eq!(
        (left.ordinary, left.closing, left.by_address.len()),
        (0, 0, 0)
    );
    assert!(left.unverified.is_empty());
}

#[tokio::test(start_paused = true)]
async fn verified_connections_keep_their_places_and_health_checks_have_theirs() {
    let places = places(2, 2);
    let [first, second] = [1, 2].map(|host| taken(enter(&places, host)));
    first.verified();
    second.verified();
    let health: Vec<Arc<Place>> = (0..32)
        .map(|_| taken(places.enter([10, 0, 0, 1].into(), true)))
        .collect();
    assert!(health.iter().all(|place| place.is_reserve()));
    assert!(
        first.is_wanted(),
        "a verified connection must count as wanted (closed once it is idle) when no place is free"
    );
    let next = made_room(enter(&places, 3));
    assert!(next.is_reserve() && is_closed(&health[0]) && !is_closed(&health[1]));
    assert!(!is_closed(&first) && !is_closed(&second));
    assert_eq!(read(&places.counters.connections_reserve), 32);
    drop(second);
    assert!(!first.is_wanted());
    assert!(!taken(enter(&places, 4)).is_reserve());
}

#[tokio::test(start_paused = true)]
async fn one_address_has_its_share_and_a_proxy_has_none() {
    let places = places(16, 2);
    let first = taken(enter(&places, 1));
    let second = taken(enter(&places, 1));
    assert!(
        matches!(enter(&places, 1), Entry::AddressFull),
        "no busy connection may be closed for a new connection of the same address"
    );
    second.set_busy(false);
    tokio::time::advance(IDLE_MIN).await;
    let third = made_room(enter(&places, 1));
    assert!(is_closed(&second) && !is_closed(&first));
    third.set_busy(false);
    third.verified();
    tokio::time::advance(IDLE_MIN).await;
    assert!(
        matches!(enter(&places, 1), Entry::AddressFull),
        "a verified connection must not be closed to make room, even when it is idle"
    );
    assert_eq!(read(&places.counters.connections_refused), 2);
    let other = taken(enter(&places, 2));
    let proxy: Vec<Arc<Place>> = (0..5)
        .map(|_| taken(places.enter([10, 0, 0, 1].into(), true)))
        .collect();
    assert_eq!(places.lock().by_address.len(), 2);
    drop((first, second, third, other, proxy));
    assert!(places.lock().by_address.is_empty());
}

#[tokio::test(start_paused = true)]
async fn connections_are_closed_when_the_system_allows_no_more() {
    let places = places(64, 64);
    let mut all: Vec<Arc<Place>> = (0..40).map(|host| taken(enter(&places, host))).collect();
    all[0].verified();
    let closed = places.not_accepted();
    tokio::pin!(closed);
    let early = tokio::time::timeout(Duration::from_secs(1), closed.as_mut()).await;
    assert!(
        early.is_err(),
        "`not_accepted` must not return before the closed connections have ended"
    );
    assert!(all[0].is_wanted());
    let is_kept = |place: &Arc<Place>| !is_closed(place);
    assert_eq!(all.iter().filter(|place| is_kept(place)).count(), 16);
    assert!(is_kept(&all[0]) && is_kept(&all[25]));
    all.drain(1..25);
    closed.await;
    places.accepted();
    assert!(!all[0].is_wanted());
    // For a minute there are only as many places as connections were left open, so a new connection
    // displaces an old one.
    let next = made_room(enter(&places, 50));
    assert!(is_closed(&all[1]));
    tokio::time::advance(FEWER_PLACES_FOR).await;
    let last = taken(enter(&places, 51));
    drop((next, last));
}

#[tokio::test(start_paused = true)]
async fn few_connections_are_closing_at_once() {
    let places = places(1, 1);
    let mut closing = Vec::new();
    for host in 0..=8 {
        closing.push(enter(&places, host));
    }
    let settled = tokio::time::timeout(Duration::from_secs(1), places.settled()).await;
    assert!(
        settled.is_err(),
        "no connection may be let in while 8 are closing"
    );
    closing.remove(0);
    places.settled().await;
}
