//! The promises of a store about the identity key, under which event ids are computed. A process
//! with another identity key would treat every event as new, so the store refuses it.

use hookbox_driver::{ExpectedIdentity, IdentityMismatch, Store};

use super::done;
use crate::envelope;
use crate::harness::StoreHarness;
use crate::identities::{keyed, mismatch};

/// Checks that a stamped store can be stamped again and opened only with the identity key of its
/// first stamp. A command that does not read the identity key can open the store too.
pub async fn a_store_of_another_identity_key_is_refused<H: StoreHarness>(world: &H) {
    let opened = world.open_as(keyed(1)).await;
    assert_eq!(mismatch(opened), IdentityMismatch::NotStamped);
    for _ in 0..2 {
        world.stamp(keyed(1)).await.expect("stamped");
        for (other, why) in [
            (keyed(2), IdentityMismatch::OtherKey),
            (ExpectedIdentity::Plain, IdentityMismatch::NoKey),
        ] {
            assert_eq!(mismatch(world.stamp(other).await), why);
            assert_eq!(mismatch(world.open_as(other).await), why);
        }
        for same in [keyed(1), ExpectedIdentity::Unchecked] {
            let store = world.open_as(same).await.expect("opened");
            Store::close(&*store).await;
        }
    }
}

/// Checks that a store with events cannot be stamped with an identity key, because the ids of these
/// events were computed without one. Afterwards the store still opens without an identity key.
pub async fn a_store_with_events_gets_no_identity_key<H: StoreHarness>(world: &H) {
    world
        .stamp(ExpectedIdentity::Plain)
        .await
        .expect("prepared");
    let store = world.open_as(ExpectedIdentity::Plain).await;
    let store = store.expect("opened");
    done(&*store, &envelope("a")).await;
    Store::close(&*store).await;
    let stamped = world.stamp(keyed(1)).await;
    assert_eq!(mismatch(stamped), IdentityMismatch::PlainEvents);
    // The reason that the store gives here is not checked: some drivers find out only while they
    // stamp that the store has events.
    mismatch(world.open_as(keyed(1)).await);
    let store = world.open_as(ExpectedIdentity::Plain).await;
    let store = store.expect("opened");
    Store::close(&*store).await;
}
