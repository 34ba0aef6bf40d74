//! The promises of a broker for witness messages. In such a message, the broker keeps a record of
//! how many receipts were reported to the store. If the store or the broker is later restored from
//! a backup, the store and this record contradict each other. Reading a witness message does not
//! remove it.

use hookbox_driver::{Broker, WITNESSES_KEPT, newest_witness};
use hookbox_event::{Incarnation, InstanceId, ReportedUpTo, Timestamp, Witness};
use hookbox_testkit::eventually::eventually_is;

use crate::harness::{BrokerHarness, one};

fn witness(sequence: u64) -> Witness {
    Witness {
        store: Incarnation::from_bytes([6; 16]),
        sequence,
        at: Timestamp::from_unix_micros(1_764_000_000_000_000),
        receipts: sequence * 10,
        ingests: vec![ReportedUpTo {
            instance: InstanceId::from_bytes([7; 16]),
            number: sequence,
        }],
        routes: vec![one()],
    }
}

async fn sequences<B: Broker>(broker: &B) -> Vec<u64> {
    let found = broker.witnesses().await.expect("read");
    let mut sequences: Vec<u64> = found.iter().map(|it| it.sequence).collect();
    sequences.sort_unstable();
    sequences
}

/// Checks that reading a witness message does not remove it, even if several processes read it
/// often and the driver is restarted.
pub async fn the_witness_is_read_and_stays<H: BrokerHarness>(world: &H) {
    let (broker, other) = (world.open().await, world.open().await);
    assert_eq!(sequences(&*broker).await, [0; 0]);
    for sequence in 1..=2 {
        let published = broker.publish_witness(&witness(sequence)).await;
        published.expect("published");
    }
    for _ in 0..30 {
        for reader in [&broker, &other] {
            let read = async || sequences(&**reader).await;
            eventually_is(
                "every reader must find both witness messages, however often they are read",
                read,
                |found| *found == [1, 2],
            )
            .await;
        }
    }
    let found = broker.witnesses().await.expect("read");
    assert_eq!(
        newest_witness(&found),
        Some(&witness(2)),
        "the newest witness message must be read back unchanged"
    );
    broker.close().await;
    other.close().await;
    let broker = world.open().await;
    let read = async || sequences(&*broker).await;
    eventually_is(
        "every reader must find both witness messages, however often they are read",
        read,
        |found| *found == [1, 2],
    )
    .await;
    broker.close().await;
}

/// Checks that two processes which read the witness messages at the same time both see the newest
/// one.
pub async fn the_newest_witness_is_seen_by_each_of_many_readers<H: BrokerHarness>(world: &H) {
    let (broker, other) = (world.open().await, world.open().await);
    for sequence in 1..=8 {
        let published = broker.publish_witness(&witness(sequence)).await;
        published.expect("published");
    }
    for _ in 0..20 {
        let (one, two) = tokio::join!(sequences(&*broker), sequences(&*other));
        assert_eq!((one.last(), two.last()), (Some(&8), Some(&8)));
    }
    broker.close().await;
    other.close().await;
}

/// A broker keeps a limited number of witness messages. Checks that it always drops the oldest one,
/// even while processes read them. To read witness messages, a process may take them out of the
/// queue and put them back. Two processes that do this at once might change the order of the
/// messages.
pub async fn the_newest_witness_outlives_its_readers<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    let readers = [world.open().await, world.open().await, world.open().await];
    for sequence in 1..=40 {
        let (published, ..) = tokio::join!(
            async { broker.publish_witness(&witness(sequence)).await },
            sequences(&*readers[0]),
            sequences(&*readers[1]),
            sequences(&*readers[2]),
        );
        published.expect("published");
        let newest = async || sequences(&*broker).await.last().copied();
        eventually_is(
            "the broker must return the witness message that was published last",
            newest,
            |found| *found == Some(sequence),
        )
        .await;
    }
    let kept: Vec<u64> = (41 - u64::from(WITNESSES_KEPT)..=40).collect();
    let read = async || sequences(&*readers[0]).await;
    eventually_is(
        "the broker must keep exactly the WITNESSES_KEPT newest witness messages",
        read,
        |found| *found == kept,
    )
    .await;
    broker.close().await;
    for reader in readers {
        reader.close().await;
    }
}
