//! Checks whether the user may publish, without any message reaching a queue. The probe is a
//! message that is published through the default exchange to a name that no queue has. If the user
//! may publish, the broker returns the message; otherwise, it closes the channel. Without this
//! check, a connection would seem usable until the first event is refused. The driver would then
//! open another connection, which would seem usable as well.

use std::time::Duration;

use hookbox_event::EnvironmentName;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Connection};
use tokio::time::{sleep, timeout};

/// How often the probe, while it waits for its answer, checks whether the broker has blocked the
/// connection.
const TICK: Duration = Duration::from_millis(100);

/// What the probe found out.
pub(crate) enum ProbeResult {
    /// Publishing is allowed.
    Allowed,
    /// The broker has a resource alarm (memory or disk), so it answers nothing until the alarm
    /// ends.
    Blocked,
    /// The broker did not answer in time.
    Late,
}

/// Publishes the probe. `channel` must be in confirm mode and is used for nothing else.
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
    // hookbox never declares a queue with this name, so the probe reaches no queue.
    let nowhere = format!("hookbox.{environment}.nowhere");
    let publishing = async {
        let properties = BasicProperties::default();
        let publish = channel.basic_publish("".into(), nowhere.into(), mandatory, b"", properties);
        // Whether the message was returned or acknowledged does not matter: either shows that the
        // user may publish.
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
                // The channel was used for the probe only, so an error while closing it does not
                // matter.
                let _ = timeout(deadline, channel.close(200, "probed".into())).await;
                Ok(ProbeResult::Allowed)
            }
            Ok(Err(error)) => Err(error),
            Err(_elapsed) => Ok(ProbeResult::Late),
        },
        () = blocked => Ok(ProbeResult::Blocked),
    }
}
