//! Checks whether this user may publish at all, without a message reaching any queue: a publish
//! through the default exchange to a name that no queue has is returned where publishing is
//! allowed, and closes the channel where it is not. Without it, a connection seems usable until the
//! first event is refused, and is then replaced by one that seems usable again.

use std::time::Duration;

use hookbox_event::EnvironmentName;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Connection};
use tokio::time::{sleep, timeout};

/// How often it is seen whether the broker has blocked the connection.
const TICK: Duration = Duration::from_millis(100);

/// The result of a probe.
pub(crate) enum ProbeResult {
    /// Publishing is allowed.
    Allowed,
    /// There is a resource alarm, so that the broker answers nothing before it is over.
    Blocked,
    /// The broker did not answer in time.
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
) -> Result<ProbeResult, lapin::Error> {
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
                Ok(ProbeResult::Allowed)
            }
            Ok(Err(error)) => Err(error),
            Err(_elapsed) => Ok(ProbeResult::Late),
        },
        () = blocked => Ok(ProbeResult::Blocked),
    }
}
