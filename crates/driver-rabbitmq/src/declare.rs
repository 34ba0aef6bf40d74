//! Declares the missing queues. Only an operator or a deployment does this, never a role. A queue
//! that is missing at run time was deleted with its messages, and an operator must see that before
//! the queue is declared again.

use hookbox_driver::{OpenError, describe};
use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use tokio::time::timeout;

use crate::Options;
use crate::anchor::drop_anchor;
use crate::connection::{close, connect};
use crate::examine::Round;
use crate::nodes::Nodes;
use crate::refusal::{Account, soft_error, unavailable};
use crate::topology::{QueueDeclaration, topology};

/// What was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// The names of the queues that were missing and are declared now.
    pub declared: Vec<String>,
    /// Why the broker refused the anchor, if it did (H14). Until three minutes have passed, the
    /// queue that was declared last may lose its messages if the broker is killed.
    pub anchor_refused: Option<String>,
}

/// Returns the missing queues, in the order of their declarations. It changes nothing.
///
/// # Errors
/// When the broker cannot be reached or refuses, or a queue differs from what hookbox declares.
pub async fn missing(options: &Options) -> Result<Vec<QueueDeclaration>, OpenError> {
    let nodes = Nodes::of(options)?;
    let connection = connect(options, &nodes, "check").await?;
    let checked = check_queues(options, nodes.account(), &connection).await;
    close(&connection, options.close_deadline).await;
    checked
}

/// Declares the missing queues, and returns their names. It declares none while a queue differs,
/// while a harmful policy applies to one, or while the management API that the options name does
/// not answer.
///
/// # Errors
/// When the broker cannot be reached or refuses, or a queue differs from what hookbox declares.
pub async fn declare(options: &Options) -> Result<Declaration, OpenError> {
    let nodes = Nodes::of(options)?;
    let connection = connect(options, &nodes, "declare").await?;
    let declared = declare_over(options, &nodes, &connection).await;
    close(&connection, options.close_deadline).await;
    declared
}

async fn declare_over(
    options: &Options,
    nodes: &Nodes,
    connection: &Connection,
) -> Result<Declaration, OpenError> {
    let queues = topology(&options.environment, &options.routes).queues;
    if let Some(overlay) = nodes.overlay() {
        let differences = overlay.check(&queues).await?;
        if !differences.is_empty() {
            return Err(OpenError::Topology(differences));
        }
    }
    let account = nodes.account();
    let missing = check_queues(options, account, connection).await?;
    // The dead-letter queue is declared first, because it must exist before a route has messages.
    for queue in missing.iter().rev() {
        let declaring = timeout(options.connect_deadline, declare_one(connection, queue));
        if let Err(error) = declaring.await.map_err(|_elapsed| late())? {
            // Another process may have declared the queue meanwhile, or a different queue of this
            // name.
            let still_missing = check_queues(options, account, connection).await?;
            if still_missing.contains(queue) {
                return Err(account.at_declaration(&queue.name, error));
            }
        }
    }
    let anchor_refused = anchor(options, account, connection).await?;
    Ok(Declaration {
        declared: missing.into_iter().map(|queue| queue.name).collect(),
        anchor_refused,
    })
}

/// Declares the anchor, and returns why the broker refused it, if it did. A limit on queues or a
/// missing right must not fail a command that has declared every queue.
async fn anchor(
    options: &Options,
    account: &Account,
    connection: &Connection,
) -> Result<Option<String>, OpenError> {
    let dropping = drop_anchor(connection, &options.environment);
    match timeout(options.connect_deadline, dropping).await {
        Ok(Ok(())) => Ok(None),
        Ok(Err(error)) if soft_error(&error).is_some() => Ok(Some(describe(&error))),
        Ok(Err(error)) => Err(account.at_queues(error)),
        Err(_elapsed) => Err(late()),
    }
}

/// Returns the queues that are missing.
pub(crate) async fn check_queues(
    options: &Options,
    account: &Account,
    connection: &Connection,
) -> Result<Vec<QueueDeclaration>, OpenError> {
    let queues = topology(&options.environment, &options.routes).queues;
    let round = Round::over(&queues);
    let checked = timeout(options.connect_deadline, round.run(connection)).await;
    let checked = checked.map_err(|_elapsed| late())?;
    checked.map_err(|error| account.at_queues(error))?;
    let differences = round.differences();
    if !differences.is_empty() {
        return Err(OpenError::Topology(differences));
    }
    Ok(round.missing().into_iter().cloned().collect())
}

async fn declare_one(
    connection: &Connection,
    queue: &QueueDeclaration,
) -> Result<(), lapin::Error> {
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions::durable();
    let declared = channel.queue_declare(queue.name.as_str().into(), durable, queue.table());
    declared.await?;
    // The next queue has its own channel, so an error while closing this one does not matter.
    let _ = channel.close(200, "declared".into()).await;
    Ok(())
}

fn late() -> OpenError {
    unavailable("the queues could not be verified or declared in time")
}
