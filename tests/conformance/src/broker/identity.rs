//! The promises of a broker about the identity key, under which event ids are computed. A process
//! with another identity key would treat every event as new, so the broker refuses it.

use hookbox_driver::{Broker, ExpectedIdentity, IdentityMismatch};

use super::publish;
use crate::harness::{BrokerHarness, one};
use crate::identities::{keyed, mismatch};

/// Checks that a stamped broker can be stamped again and opened only with the identity key of its
/// first stamp. A command that does not read the identity key can open the broker too.
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

/// Checks that a broker with messages cannot be stamped with an identity key, because the ids of
/// the events in these messages were computed without one. Afterwards the broker still opens
/// without an identity key.
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
    // The reason that the broker gives here is not checked: some drivers find out only while they
    // stamp that the broker has messages.
    mismatch(world.open_as(keyed(1)).await);
    let broker = world.open_as(ExpectedIdentity::Plain).await;
    let broker = broker.expect("opened");
    broker.close().await;
}
