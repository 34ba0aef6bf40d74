//! The promises of a store about the identity key with which ids are computed. A process with
//! another key would take every event for a new one.

use hookbox_driver::{ExpectedIdentity, IdentityMismatch, Store};

use super::done;
use crate::envelope;
use crate::harness::StoreHarness;
use crate::identities::{keyed, mismatch};

/// Checks that a store is used only with the key with which it was stamped, and that commands which
/// do not read the key can use it, too. It stays so however often it is prepared.
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

/// Checks that a store with events, whose ids were computed without a key, gets no stamp of one.
/// Nothing has changed afterwards.
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
    // A driver may know only while it stamps whether there are events.
    mismatch(world.open_as(keyed(1)).await);
    let store = world.open_as(ExpectedIdentity::Plain).await;
    let store = store.expect("opened");
    Store::close(&*store).await;
}
