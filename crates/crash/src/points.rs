//! The list of all crash points, for tests that crash the process at each of them.

/// A named crash point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// The name of the crash point: the part of hookbox, a dot, and the moment, as in
    /// `worker.before_commit`.
    pub name: &'static str,
    /// What has happened, and what has not happened yet, when the process is aborted there.
    pub what: &'static str,
}

const fn point(name: &'static str, what: &'static str) -> Point {
    Point { name, what }
}

/// All crash points, in the order in which an event passes them. A test compares this list with the
/// source code, and fails for a point that is in only one of the two.
pub const POINTS: &[Point] = &[
    point(
        "ingest.after_verify",
        "the request is verified and not in a batch yet",
    ),
    point(
        "ingest.before_publish",
        "the request is in a batch that is not published yet",
    ),
    point(
        "rabbitmq.before_confirm",
        "the batch is sent to the broker, and no confirm has arrived",
    ),
    point(
        "rabbitmq.after_confirm",
        "a confirm of the broker has arrived and is not processed yet",
    ),
    point(
        "sqlite.before_publish_commit",
        "the batch is written to the SQLite broker and not committed yet",
    ),
    point(
        "sqlite.after_publish_commit",
        "the batch is committed to the SQLite broker; the publisher does not know that yet",
    ),
    point(
        "spool.before_keep",
        "the broker is unavailable, and the spool has not stored the batch yet",
    ),
    point(
        "spool.after_keep",
        "the spool has stored the batch; the request is not answered yet",
    ),
    point(
        "spool.before_forward",
        "the broker is available again; forwarding a spooled message starts",
    ),
    point(
        "spool.after_forward",
        "a spooled message is at the broker and not deleted from the spool yet",
    ),
    point(
        "spool.after_forget",
        "a message is forwarded to the broker and deleted from the spool",
    ),
    point(
        "ingest.after_publish",
        "the broker has confirmed the batch; the request is not answered yet",
    ),
    point(
        "ingest.before_response",
        "the response is decided, and no byte of it is sent yet",
    ),
    point(
        "ingest.before_report",
        "sequence numbers are marked as accepted or as void, and are in no accept report yet",
    ),
    point(
        "ingest.after_report",
        "the accept report is published; ingest has not recorded its publish yet",
    ),
    point(
        "ingest.draining",
        "ingest is draining, and publish slots are still in use",
    ),
    point(
        "worker.after_delivery",
        "a message is in flight, and no transaction has started yet",
    ),
    point(
        "worker.after_claim",
        "the event is claimed in a transaction; no handler has run yet",
    ),
    point(
        "worker.mid_handler",
        "one handler has run; the other handlers of its transaction have not run yet",
    ),
    point(
        "worker.before_settle",
        "the handlers have run; no outcome is written yet",
    ),
    point(
        "worker.before_commit",
        "every outcome is written; the transaction is not committed yet",
    ),
    point(
        "postgres.after_guard",
        "the final states of the claims are written; the transaction is not committed yet",
    ),
    point(
        "sqlite.after_guard",
        "the final states of the claims are written; the transaction is not committed yet",
    ),
    point(
        "worker.after_commit",
        "the transaction is committed; its messages are not acknowledged yet",
    ),
    point(
        "worker.before_ack",
        "all outcomes of a message are committed; the message is not acknowledged yet",
    ),
    point("worker.after_ack", "the message is acknowledged"),
    point(
        "worker.before_record",
        "an attempt has failed or ended its transaction; the store has no record of it",
    ),
    point(
        "worker.after_record",
        "a failed attempt and its retry or dead letter are committed; the message is not settled",
    ),
    point(
        "effect.after_lease",
        "leases are committed; their calls have not begun, and the message is not acknowledged",
    ),
    point(
        "effect.before_call",
        "an event is leased, and its external call has not begun yet",
    ),
    point(
        "effect.after_call",
        "an external call has ended; how it ended is not recorded anywhere yet",
    ),
    point(
        "effect.before_end",
        "external calls have ended; the store has no record of their ends yet",
    ),
    point(
        "effect.mid_end",
        "the ends of external calls are written; the transaction is not committed yet",
    ),
    point(
        "effect.after_end",
        "the ends of external calls are committed",
    ),
    point(
        "worker.draining",
        "the worker is draining, and transactions are still running",
    ),
    point(
        "bookkeeper.before_account",
        "an accept report is delivered and not written to the store yet",
    ),
    point(
        "bookkeeper.after_account",
        "an accept report is written to the store and not acknowledged yet",
    ),
    point(
        "scheduler.before_republish",
        "a retry is due and not published yet",
    ),
    point(
        "scheduler.after_republish",
        "a retry is published to its queue; the store has not marked it as queued yet",
    ),
    point(
        "scheduler.after_mark",
        "a retry is published to its queue, and the store has marked it as queued",
    ),
    point(
        "ledger.mid_change",
        "an operator's change is partly written and not committed yet",
    ),
    point(
        "migrate.before_migrations",
        "the migration holds its lock and has changed nothing yet",
    ),
    point(
        "postgres.between_migrations",
        "some migrations of the schema are committed; others have not run yet",
    ),
    point(
        "migrate.after_migrations",
        "the schema is migrated; the environment's name is not written yet",
    ),
    point(
        "migrate.after_stamp",
        "the migration is complete; its success is not reported yet",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::POINTS;

    fn placed(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                placed(&path, found);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                for place in text.split("crash_point!(\"").skip(1) {
                    found.extend(place.split('"').next().map(str::to_owned));
                }
            }
        }
    }

    #[test]
    fn every_point_is_used_and_every_use_is_listed() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(crates).unwrap() {
            let folder = entry.unwrap().path();
            let source = folder.join("src");
            // The crate `crash` is left out, because it names crash points without containing any.
            if source.is_dir() && !folder.ends_with("crash") {
                placed(&source, &mut found);
            }
        }
        let listed: BTreeSet<String> = POINTS.iter().map(|it| it.name.to_owned()).collect();
        assert_eq!(
            listed.len(),
            POINTS.len(),
            "every name must occur only once in the list"
        );
        assert_eq!(
            found, listed,
            "the crash points in the source code (left) must equal the list (right)"
        );
    }
}
