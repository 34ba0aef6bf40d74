//! Whether this account may publish at all, found out without a message reaching any queue: a
//! publish through the default exchange to a name that no queue has is returned where publishing
//! is allowed, and closes the channel where it is not. Without it, a connection looks well until
//! the first event is refused, and is then thrown away for one that looks well again.

use std::time::Duration;

use hookbox_event::EnvironmentName;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Connection};
use tokio::time::{sleep, timeout};

/// How often it is seen whether the broker has blocked the connection.
const TICK: Duration = Duration::from_millis(100);

/// What came of it.
pub(crate) enum Probed {
    /// Publishing is allowed.
    Allowed,
    /// There is a resource alarm, so that nothing is answered before it is over.
    Blocked,
    /// No answer in time.
    Late,
}

/// Probes over a channel of its own that is in confirm mode.
///
/// # Errors
/// When publishing is refused, or the connection is lost.
pub(crate) async fn probe(
    connection: &Connection,
    channel: Channel,
    environment: &EnvironmentName,
    deadline: Duration,
) -> Result<Probed, lapin::Error> {
    let mandatory = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    // No queue is ever declared by this name.
    let nowhere = format!("hookbox.{environment}.nowhere");
    let publishing = async {
        let properties = BasicProperties::default();
        let publish = channel.basic_publish("".into(), nowhere.into(), mandatory, b"", properties);
        // Returned, acknowledged or both: it was allowed.
        publish.await?.await.map(drop)
    };
    let blocked = async {
        while !connection.status().blocked() {
            sleep(TICK).await;
        }
    };
    tokio::select! {
        published = timeout(deadline, publishing) => match published {
            Ok(Ok(())) => {
                // How this channel ends does not matter.
                let _ = timeout(deadline, channel.close(200, "probed".into())).await;
                Ok(Probed::Allowed)
            }
            Ok(Err(error)) => Err(error),
            Err(_elapsed) => Ok(Probed::Late),
        },
        () = blocked => Ok(Probed::Blocked),
    }
}
