//! Formats a contradiction between the store and the witness messages of its broker: what happened,
//! for which period the provider must be asked to send its events again, and what to do after that.

use hookbox_driver::Mismatch;

use super::table::{count, safe};
use crate::command::reconcile::WitnessLine;

/// Formats the contradictions that operators have accepted, and then the present contradiction, if
/// there is one.
pub(super) fn witness(line: &WitnessLine) -> String {
    let mut text = String::new();
    for it in &line.accepted {
        text.push_str(&format!(
            "accepted at {} by {} ({}): {}\n",
            it.at,
            safe(&it.by),
            safe(&it.why),
            safe(&it.what),
        ));
    }
    let Some(mismatch) = &line.mismatch else {
        return text;
    };
    text.push_str(&format!("RESTORED: {}\n", mismatch.describe()));
    text.push_str(&advice(mismatch));
    text.push_str(
        "RESTORED: when that is done, `hookbox reconcile --accept-restore REASON` accepts this \
         state, and store and broker start afresh\n",
    );
    text
}

fn advice(mismatch: &Mismatch) -> String {
    match mismatch {
        Mismatch::StoreBehind(it) => {
            let mut text = String::new();
            for unknown in &it.ingests {
                text.push_str(&format!(
                    "RESTORED: ingest {} had reported numbers {} to {}, and the store does not \
                     know them\n",
                    unknown.instance, unknown.first, unknown.last
                ));
            }
            let receipts = count(it.receipts, "receipt", "receipts");
            text.push_str(&format!(
                "RESTORED: ask the provider to send again what it sent from {} to {} ({receipts} \
                 reported), and from then until the restore: events that the store still \
                 has are recorded as duplicates\n",
                it.from, it.until
            ));
            text
        }
        Mismatch::OtherStore(it) => format!(
            "RESTORED: if this is the wrong database or broker, correct the config; if the \
             database was replaced, ask the provider to send again what it sent from {} to {}, and \
             from then until the database was replaced\n",
            it.from, it.until
        ),
        Mismatch::BrokerBehind(it) => {
            let routes: Vec<&str> = it.routes.iter().map(|route| route.as_str()).collect();
            format!(
                "RESTORED: the messages in the broker's queues (routes {}, the dead-letter queue \
                 and accept reports) are lost if these queues were deleted or emptied: ask the \
                 provider to send again what it sent since {}\n",
                routes.join(", "),
                it.from
            )
        }
    }
}
