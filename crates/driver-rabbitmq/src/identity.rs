//! The identity stamp at the broker: an empty queue. If this queue exists, event ids are computed
//! with an identity key, and one of the queue's arguments is the fingerprint of this key. The stamp
//! is a queue for two reasons. A process needs no additional right to check it. And RabbitMQ
//! declares a queue in one step: when two commands declare it for different keys, RabbitMQ refuses
//! the second command.

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

/// Returns the name of the queue whose arguments hold the identity stamp.
pub(crate) fn identity_queue(environment: &EnvironmentName) -> String {
    format!("hookbox.{environment}.identity")
}

/// Checks, for a process that publishes or consumes, that the broker has the stamp of the identity
/// key in the options.
pub(crate) async fn verify(
    options: &Options,
    account: &Account,
    connection: &Connection,
) -> Result<(), OpenError> {
    // Whether the broker has messages is not checked, because it matters only for a command that
    // may stamp the broker.
    let found = find(options, account, connection, false).await?;
    let compared = options.identity.compare(WHAT, found)?;
    compared.required(WHAT)
}

/// Checks that the queues of the options may be declared at the broker, and returns whether the
/// broker has to be stamped first.
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

/// Stamps the broker. Returns an error if another command has stamped it with another key in the
/// meantime.
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
            // If a queue with another fingerprint is the cause, the check returns the error for
            // that. Otherwise the broker refused to declare the queue.
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
        // The command computes no ids, so it does not matter which stamp the broker has.
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

/// Returns whether the queue of a route or of dead letters may have a message. The other queues do
/// not matter, because accept reports and witness messages contain no event id.
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

/// Returns whether messages wait in a queue, or a consumer may have messages in flight, which the
/// broker does not count. A queue that does not exist has neither.
async fn is_in_use(connection: &Connection, queue: &str) -> Result<bool, lapin::Error> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::durable()
    };
    // An error closes the channel, so each queue is checked on a new channel.
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

/// Returns the arguments of the queue that is the stamp. `x-dead-letter-routing-key` holds the
/// fingerprint. This argument may be any text, RabbitMQ compares it when a queue is declared again,
/// and it has no other effect here, because the queue never holds a message.
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
