//! Tests which rights the commands for dead letters need beside those of a worker.

use hookbox_driver::{DeadFilter, FaultKind, Ledger, Store};
use hookbox_driver_postgres::{Options, Postgres};

use crate::world::{DEAD, World, envelope, environment};

/// A discard and a restore write an end with its round, which may follow from earlier deaths.
#[tokio::test]
async fn every_command_for_a_dead_letter_needs_its_earlier_deaths() {
    let world = World::new().await;
    world.fail(&envelope(1, 1, "{}"), 1, DEAD).await;
    let all = DeadFilter::default();
    let id = world.store.dead_list(&all, 0, 1).await.unwrap()[0].id;
    let role = format!("operator_of_{}", world.database.name());
    let create = format!(
        "create role {role} login password 'right';
         grant select, insert, update, delete on all tables in schema public to {role};
         revoke all on earlier_deaths from {role}"
    );
    world.execute(&create).await;
    let (_, server) = world.database.url().rsplit_once('@').unwrap();
    let url = format!("postgres://{role}:right@{server}");
    let store = Postgres::open(Options::new(url, environment()))
        .await
        .unwrap();

    let shown = store.dead_show(id).await.unwrap_err();
    let discarded = store.dead_discard(&all, 1, "ada").await.unwrap_err();
    let replayed = store.dead_replay(&all, 1, "ada").await.unwrap_err();
    assert_eq!(world.store.dead_discard(&all, 1, "bob").await.unwrap(), 1);
    let restored = store.dead_restore(&all, 1, "ada").await.unwrap_err();
    for fault in [shown, discarded, replayed, restored] {
        assert_eq!(fault.kind(), FaultKind::MissingRight, "{fault}");
    }

    let grant = format!("grant select, insert on earlier_deaths to {role}");
    world.execute(&grant).await;
    assert_eq!(store.dead_restore(&all, 1, "ada").await.unwrap(), 1);
    assert_eq!(store.dead_discard(&all, 1, "ada").await.unwrap(), 1);
    assert_eq!(store.dead_restore(&all, 1, "ada").await.unwrap(), 1);
    assert!(store.dead_show(id).await.unwrap().is_some());
    assert_eq!(store.dead_replay(&all, 1, "ada").await.unwrap(), 1);
    Store::close(&store).await;
    let gone = format!("drop owned by {role}; drop role {role}");
    world.execute(&gone).await;
    Store::close(&world.store).await;
}
