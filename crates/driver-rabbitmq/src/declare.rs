//! Declares the missing queues. Only an operator or a deployment runs this, never a process that
//! publishes or consumes. A queue that is missing while such a process runs was deleted together
//! with its messages, and an operator must learn of that before the queue is declared again.

use hookbox_driver::{IdentityStamp, OpenError, describe};
use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use tokio::time::timeout;

use crate::Options;
use crate::anchor::drop_anchor;
use crate::connection::{close, connect};
use crate::examine::Round;
use crate::identity;
use crate::nodes::Nodes;
use crate::refusal::{Account, soft_error, unavailable};
use crate::topology::{QueueDeclaration, topology};

/// What a call of [`declare`] has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// The names of the queues that were missing and are declared now.
    pub declared: Vec<String>,
    /// The reason why the broker refused to declare the anchor queue (H14); `None` if the anchor
    /// queue was declared. Without it, the queue that was declared last may lose its messages if
    /// the broker is killed within three minutes.
    pub anchor_refused: Option<String>,
}

/// Returns the declarations of the missing queues, the queues of routes first. Changes nothing on
/// the broker.
///
/// # Errors
/// When the broker cannot be reached or refuses, or a queue differs from what hookbox declares.
pub async fn missing(options: &Options) -> Result<Vec<QueueDeclaration>, OpenError> {
    let nodes = Nodes::of(options)?;
    let connection = connect(options, &nodes, "check").await?;
    let checked = async {
        identity::plan(options, nodes.account(), &connection).await?;
        check_queues(options, nodes.account(), &connection).await
    };
    let checked = checked.await;
    close(&connection, options.close_deadline).await;
    checked
}

/// Declares the missing queues, and returns their names. It declares none if an existing queue
/// differs from its declaration, if a harmful policy applies to any queue, or if the management API
/// that the options name does not answer. Before it declares the first queue, it stamps the broker
/// with the identity key of the options, if the broker has no stamp.
///
/// # Errors
/// When the broker cannot be reached or refuses, a queue differs from what hookbox declares, or the
/// broker has the stamp of another identity key.
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
    let stamp = identity::plan(options, account, connection).await?;
    let missing = check_queues(options, account, connection).await?;
    match stamp {
        IdentityStamp::Agrees => {}
        IdentityStamp::Missing => identity::stamp(options, account, connection).await?,
    }
    // The dead-letter queue, the last of the list, is declared first, because it must exist before
    // a queue of a route can move messages there.
    for queue in missing.iter().rev() {
        let declaring = timeout(options.connect_deadline, declare_one(connection, queue));
        if let Err(error) = declaring.await.map_err(|_elapsed| late())? {
            // Another process may have declared the queue in the meantime, with the arguments that
            // hookbox uses or with others. The check that follows finds out which.
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

/// Declares the anchor queue. If the broker refuses this, returns the reason instead of an error,
/// because a limit on the number of queues or a missing right must not fail a command that has
/// declared every queue of hookbox.
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
    // Each queue is declared on a channel of its own, so an error while closing this channel does
    // not matter.
    let _ = channel.close(200, "declared".into()).await;
    Ok(())
}

fn late() -> OpenError {
    unavailable("the queues could not be verified or declared in time")
}
