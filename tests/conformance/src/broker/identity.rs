//! The promises of a broker about the identity key with which ids are computed. A process with
//! another key would take every event for a new one.

use hookbox_driver::{Broker, ExpectedIdentity, IdentityMismatch};

use super::publish;
use crate::harness::{BrokerHarness, one};
use crate::identities::{keyed, mismatch};

/// Checks that a broker is used only with the key with which it was stamped, and that commands
/// which do not read the key can use it, too. It stays so however often it is prepared.
pub async fn a_broker_of_another_identity_key_is_refused<H: BrokerHarness>(world: &H) {
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
            let broker = world.open_as(same).await.expect("opened");
            broker.close().await;
        }
    }
}

/// Checks that a broker with messages, whose ids were computed without a key, gets no stamp of one.
/// Nothing has changed afterwards.
pub async fn a_broker_with_messages_gets_no_identity_key<H: BrokerHarness>(world: &H) {
    world
        .stamp(ExpectedIdentity::Plain)
        .await
        .expect("prepared");
    let broker = world.open_as(ExpectedIdentity::Plain).await;
    let broker = broker.expect("opened");
    publish(&*broker, one(), 1).await;
    broker.close().await;
    let stamped = world.stamp(keyed(1)).await;
    assert_eq!(mismatch(stamped), IdentityMismatch::PlainEvents);
    // A driver may know only while it stamps whether there are events.
    mismatch(world.open_as(keyed(1)).await);
    let broker = world.open_as(ExpectedIdentity::Plain).await;
    let broker = broker.expect("opened");
    broker.close().await;
}
