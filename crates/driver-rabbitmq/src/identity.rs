//! The identity stamp: an empty queue, whose name says that ids are computed with an identity key,
//! and one of whose arguments is the fingerprint of the key. RabbitMQ has no other place that a
//! process can read with the rights that it needs anyway, and declares a queue in one step: of two
//! commands with different keys, the second is refused.

use hookbox_driver::{ExpectedIdentity, FoundIdentity, IdentityStamp, OpenError, Queue};
use hookbox_event::{EnvironmentName, IdentityFingerprint};
use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::protocol::AMQPSoftError;
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::timeout;

use crate::examine::{State, examine_one};
use crate::refusal::{Account, soft_error, unavailable};
use crate::topology::topology;
use crate::{Options, Stamping, WHAT};

/// Returns the name of the queue that is the stamp.
pub(crate) fn identity_queue(environment: &EnvironmentName) -> String {
    format!("hookbox.{environment}.identity")
}

/// Checks that the broker belongs to the identity key of the options, for a process that publishes
/// or consumes.
pub(crate) async fn verify(
    options: &Options,
    account: &Account,
    connection: &Connection,
) -> Result<(), OpenError> {
    // Messages count only where the stamp is to be written.
    let found = find(options, account, connection, false).await?;
    let compared = options.identity.compare(WHAT, found)?;
    compared.required(WHAT)
}

/// Checks that the broker may get the queues of the options, and returns whether it has to be
/// stamped before that.
pub(crate) async fn plan(
    options: &Options,
    account: &Account,
    connection: &Connection,
) -> Result<IdentityStamp, OpenError> {
    let counts_messages = match options.stamping {
        Stamping::WithoutMessages => true,
        Stamping::All | Stamping::None => false,
    };
    let found = find(options, account, connection, counts_messages).await?;
    let stamp = options.identity.compare(WHAT, found)?;
    match options.stamping {
        Stamping::WithoutMessages | Stamping::All => {}
        Stamping::None => stamp.required(WHAT)?,
    }
    Ok(stamp)
}

/// Stamps the broker. If another command has stamped it in the meantime, with another key, this is
/// refused.
pub(crate) async fn stamp(
    options: &Options,
    account: &Account,
    connection: &Connection,
) -> Result<(), OpenError> {
    let Some(fingerprint) = options.identity.fingerprint() else {
        return Ok(());
    };
    let queue = identity_queue(&options.environment);
    let declaring = async {
        let channel = connection.create_channel().await?;
        let durable = QueueDeclareOptions::durable();
        let declared = channel.queue_declare(queue.as_str().into(), durable, table(fingerprint));
        declared.await?;
        // The channel was used for this declaration alone, so an error while closing it does not
        // matter.
        let _ = channel.close(200, "declared".into()).await;
        Ok::<(), lapin::Error>(())
    };
    let declared = timeout(options.connect_deadline, declaring).await;
    match declared.map_err(|_elapsed| late())? {
        Ok(()) => Ok(()),
        Err(error) => {
            // The check tells a queue with another fingerprint from a queue that the broker does
            // not declare.
            plan(options, account, connection).await?;
            Err(account.at_declaration(&queue, error))
        }
    }
}

async fn find(
    options: &Options,
    account: &Account,
    connection: &Connection,
    counts_messages: bool,
) -> Result<FoundIdentity, OpenError> {
    let arguments = match options.identity {
        // What is found does not matter.
        ExpectedIdentity::Unchecked => return Ok(FoundIdentity::Same),
        ExpectedIdentity::Plain => None,
        ExpectedIdentity::Keyed(fingerprint) => Some(table(fingerprint)),
    };
    let queue = identity_queue(&options.environment);
    let finding = async {
        Ok::<_, lapin::Error>(match examine_one(connection, &queue, arguments).await? {
            State::AsDeclared => FoundIdentity::Same,
            State::Different(_) => FoundIdentity::Other,
            State::Missing => {
                let has_events = counts_messages && has_messages(options, connection).await?;
                FoundIdentity::NotStamped { has_events }
            }
        })
    };
    let found = timeout(options.connect_deadline, finding).await;
    let found = found.map_err(|_elapsed| late())?;
    found.map_err(|error| account.at_queues(error))
}

/// Returns whether the queue of a route or of dead letters has a message. Accept reports and
/// witness messages name no event.
async fn has_messages(options: &Options, connection: &Connection) -> Result<bool, lapin::Error> {
    for queue in topology(&options.environment, &options.routes).queues {
        let holds_events = match queue.queue {
            Queue::Route(_) | Queue::Dead => true,
            Queue::Accounts | Queue::Witness => false,
        };
        if holds_events && is_in_use(connection, &queue.name).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns whether messages wait in a queue, or a consumer may have some: the broker does not count
/// those in flight. A queue that does not exist has none.
async fn is_in_use(connection: &Connection, queue: &str) -> Result<bool, lapin::Error> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::durable()
    };
    // An error closes the channel, so each queue gets another one.
    let channel = connection.create_channel().await?;
    let declared = channel.queue_declare(queue.into(), passive, FieldTable::default());
    match declared.await {
        Ok(queue) => {
            let _ = channel.close(200, "counted".into()).await;
            Ok(queue.message_count() > 0 || queue.consumer_count() > 0)
        }
        Err(error) => match soft_error(&error) {
            Some((AMQPSoftError::NOTFOUND, _)) => Ok(false),
            Some(_) | None => Err(error),
        },
    }
}

/// Returns the arguments of the queue that is the stamp. No message is ever in it, so the place to
/// which its dead letters would go is free to hold the fingerprint. Of the arguments of a quorum
/// queue, this is one whose value may be any text and which RabbitMQ compares.
fn table(fingerprint: IdentityFingerprint) -> FieldTable {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), text("quorum"));
    table.insert("x-overflow".into(), text("reject-publish"));
    table.insert("x-dead-letter-exchange".into(), text(""));
    let fingerprint = fingerprint.to_string();
    table.insert("x-dead-letter-routing-key".into(), text(&fingerprint));
    table
}

fn late() -> OpenError {
    unavailable("the identity stamp could not be verified or declared in time")
}
