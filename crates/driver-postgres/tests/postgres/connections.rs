//! Tests of the set of connections: how many there are, which of them are reused, and that a call
//! that is cancelled at any moment leaves no connection in a wrong state.

use std::time::Duration;

use hookbox_driver::{Claimed, FaultKind, Outcome, ReceiptOutcome, Store};
use hookbox_driver_postgres::{Options, Postgres};
use hookbox_testkit::eventually::eventually;
use hookbox_testkit::proxy::{Mode, Proxy};

use crate::world::{ROUTE, World, add_effect, envelope, environment, route};

/// The delay that the proxy adds to every answer of PostgreSQL, so that the server seems slow.
const SLOW: Duration = Duration::from_millis(30);

#[tokio::test]
async fn connections_are_bounded_and_come_back() {
    let world = World::with(|options| {
        options.connections_max = 2;
        options.acquire_deadline = Duration::from_secs(2);
    })
    .await;
    let one = world.store.begin().await.unwrap();
    let two = world.store.begin().await.unwrap();
    let fault = world
        .store
        .begin()
        .await
        .err()
        .expect("with two of two connections in use, a third transaction must not begin");
    assert_eq!(fault.kind(), FaultKind::Unavailable);
    assert!(fault.may_be_local(), "{fault:?}");
    let busy = "ping must succeed although all connections are in use";
    world.store.ping().await.expect(busy);
    drop(one);
    world
        .store
        .rollback(world.store.begin().await.unwrap())
        .await;
    world.store.rollback(two).await;
    world.store.ping().await.unwrap();
    world.store.close().await;
    let fault = world
        .store
        .begin()
        .await
        .err()
        .expect("begin must fail on a closed store");
    assert_eq!(fault.kind(), FaultKind::Unavailable);
    eventually(
        "a closed store must leave no connection at the server",
        || async {
            let query = "select count(*) from pg_stat_activity
                     where datname = current_database() and application_name = 'hookbox'";
            match world.number(query).await {
                0 => Ok(()),
                left => Err(format!("the store still has {left} sessions at the server")),
            }
        },
    )
    .await;
}

/// Returns how many sessions the store of this test has at the server, and the process id of the
/// newest session.
async fn sessions(world: &World) -> (i64, i64) {
    let ours = "from pg_stat_activity
                where datname = current_database() and application_name = 'hookbox'";
    let count = world.number(&format!("select count(*) {ours}")).await;
    let newest = "select coalesce((array_agg(pid order by backend_start desc))[1], 0)::bigint";
    (count, world.number(&format!("{newest} {ours}")).await)
}

fn expect(found: i64, count: i64) -> Result<(), String> {
    if found == count {
        Ok(())
    } else {
        Err(format!("{found} sessions"))
    }
}

/// When an operator stops or pauses a pooler, the pooler waits for hookbox's sessions, whether they
/// are used or not. So each connection must be closed after its lifetime.
#[tokio::test]
async fn no_connection_outlives_its_lifetime() {
    let world = World::with(|options| options.connection_lifetime = Duration::from_secs(1)).await;
    let store = &world.store;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(store.begin().await.unwrap());
    }
    for tx in open {
        store.rollback(tx).await;
    }
    store.ping().await.unwrap();
    // Only the check of the server (`ping`) runs now. The three idle connections must be closed,
    // and the connection that the check uses must be replaced from time to time.
    let first = eventually(
        "the three idle connections must be closed, and only that of `ping` may be left",
        || async {
            store.ping().await.unwrap();
            let (count, process) = sessions(&world).await;
            expect(count, 1).map(|()| process)
        },
    )
    .await;
    eventually(
        "the connection of `ping` must be replaced by a new one",
        || async {
            store.ping().await.unwrap();
            let (count, process) = sessions(&world).await;
            expect(count, 1)?;
            (process != first)
                .then_some(())
                .ok_or("`ping` still uses the old session".to_owned())
        },
    )
    .await;
    // Opening a transaction must close expired idle connections as well, and must not cut off a
    // transaction that is open.
    let mut long = store.begin().await.unwrap();
    let (one, two) = (store.begin().await.unwrap(), store.begin().await.unwrap());
    store.rollback(one).await;
    store.rollback(two).await;
    eventually(
        "the expired idle connections must be closed while a transaction is open",
        || async {
            store.rollback(store.begin().await.unwrap()).await;
            expect(sessions(&world).await.0, 3)
        },
    )
    .await;
    add_effect(store.connection(&mut long), "after its lifetime").await;
    store.rollback(long).await;
    store.close().await;
}

#[tokio::test]
async fn a_connection_is_reused_unless_a_fault_may_have_left_something_on_it() {
    let world = World::new().await;
    let backend = async |end: &str| {
        let mut tx = world.store.begin().await.unwrap();
        if end == "clean" {
            world.store.rollback(tx).await;
            tx = world.store.begin().await.unwrap();
        }
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(world.store.connection(&mut tx))
            .await
            .unwrap();
        match end {
            "commit" => world.store.commit(tx).await.unwrap(),
            "failure" => world.store.rollback_failed(tx).await,
            _ => world.store.rollback(tx).await,
        }
        pid
    };
    let first = backend("commit").await;
    assert_eq!(
        backend("failure").await,
        first,
        "the connection must be reused after the commit"
    );
    assert_eq!(
        backend("rollback").await,
        first,
        "the connection must be reused after a failed attempt"
    );
    assert_ne!(
        backend("commit").await,
        first,
        "the connection must not be reused when the transaction may have failed"
    );
}

/// Tests H15: a pooler may give a connection a session that another connection has used. The
/// prepared statements in that session have the same names as those of the driver, so one with the
/// same number of parameters would run in place of the intended one.
#[tokio::test]
async fn a_session_that_another_connection_has_marked_is_not_used() {
    let world = World::new().await;
    let backend = async |statement: &'static str| {
        let mut tx = world.store.begin().await.unwrap();
        let connection = world.store.connection(&mut tx);
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        sqlx::raw_sql(statement).execute(connection).await.unwrap();
        world.store.commit(tx).await.unwrap();
        pid
    };
    let first = backend("select 1").await;
    assert_eq!(
        backend("select 1").await,
        first,
        "a session that still has the mark of its connection must be reused"
    );
    // This statement gives the session another mark, as another connection would.
    let lent = "select set_config('hookbox.session', gen_random_uuid()::text, false)";
    assert_eq!(backend(lent).await, first);
    let second = backend("select 1").await;
    assert_ne!(
        second, first,
        "a session that has the mark of another connection must not be reused"
    );
    assert_eq!(backend("reset hookbox.session").await, second);
    assert_ne!(
        backend("select 1").await,
        second,
        "a session without the mark of its connection must not be reused"
    );
}

#[tokio::test]
async fn a_cancelled_begin_affects_no_other_transaction() {
    let world = World::new().await;
    let proxy = Proxy::before(world.database.url()).unwrap();
    let mut options = Options::new(proxy.url(world.database.url()), environment());
    options.connections_max = 1;
    let store = Postgres::open(options).await.unwrap();
    store.ping().await.unwrap();
    proxy.set(Mode::Late(SLOW));
    for step in 0..20_u8 {
        // The moment of the cancellation ranges from before the BEGIN is sent to after it has been
        // answered.
        let patience = SLOW * u32::from(step) / 8;
        drop(tokio::time::timeout(patience, store.begin()).await);
        let envelope = envelope(step + 1, step + 1, "{}");
        let mut tx = store.begin().await.unwrap();
        store
            .claim(&mut tx, &route(ROUTE), &[&envelope])
            .await
            .unwrap();
        add_effect(store.connection(&mut tx), "after a cancelled begin").await;
        let outcome = Outcome::Done { attempt: 1 };
        let settled = [ReceiptOutcome {
            envelope: &envelope,
            outcome,
            other_digest: None,
        }];
        store
            .settle(&mut tx, &route(ROUTE), &settled)
            .await
            .unwrap();
        store.commit(tx).await.unwrap();
    }
    assert_eq!(world.effects("after a cancelled begin").await, 20);
}

#[tokio::test]
async fn a_cancelled_claim_affects_no_other_transaction() {
    let world = World::with(|options| options.connections_max = 2).await;
    let envelope = envelope(1, 1, "{}");
    let mut holder = world.store.begin().await.unwrap();
    world.claim(&mut holder, &[&envelope]).await.unwrap();
    let mut tx = world.store.begin().await.unwrap();
    let batch = [&envelope];
    let claim = world.claim(&mut tx, &batch);
    let early = tokio::time::timeout(Duration::from_millis(50), claim);
    assert!(early.await.is_err());
    // The engine would drop this transaction. Here it is rolled back, and even so its connection
    // must not be reused.
    world.store.rollback(tx).await;
    world.store.rollback(holder).await;
    assert_eq!(world.process(&envelope, "e").await, Claimed::Fresh);
    assert_eq!(world.effects("e").await, 1);
}
