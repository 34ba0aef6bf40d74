//! The list of all points, for tests that crash at each of them.

/// One named point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Its name: the part of hookbox, and the moment.
    pub name: &'static str,
    /// What has happened, and what has not, when the process ends there.
    pub what: &'static str,
}

const fn point(name: &'static str, what: &'static str) -> Point {
    Point { name, what }
}

/// All of them, in the order in which an event passes them. A test compares this list with the
/// sources: a point that is not here, or stands nowhere, fails it.
pub const POINTS: &[Point] = &[
    point("ingest.after_verify", "verified, and not yet in a batch"),
    point(
        "ingest.before_publish",
        "in a batch, and not yet given to the broker",
    ),
    point(
        "rabbitmq.before_confirm",
        "written to the broker, and no confirm is there",
    ),
    point(
        "rabbitmq.after_confirm",
        "the broker has confirmed a round, and the confirm is not processed",
    ),
    point(
        "sqlite.before_publish_commit",
        "written into the file's transaction, which is not committed",
    ),
    point(
        "sqlite.after_publish_commit",
        "committed to the file, and not reported to the publisher",
    ),
    point(
        "spool.before_keep",
        "the broker takes nothing, and the spool has it not yet",
    ),
    point(
        "spool.after_keep",
        "in the spool, and the request is not answered",
    ),
    point(
        "spool.before_forward",
        "the broker is back, and a message of the spool is being forwarded",
    ),
    point(
        "spool.after_forward",
        "the broker has it, and the spool has it still",
    ),
    point("spool.after_forget", "forwarded and forgotten"),
    point(
        "ingest.after_publish",
        "the broker has it on disk, and the request is not answered",
    ),
    point(
        "ingest.before_response",
        "the answer is known, and not a byte of it has left",
    ),
    point(
        "ingest.before_report",
        "sequence numbers are decided, and not reported",
    ),
    point(
        "ingest.after_report",
        "the accept report is published, and not recorded as such",
    ),
    point(
        "ingest.draining",
        "stopping, and the publish slots are still busy",
    ),
    point(
        "worker.after_delivery",
        "a message is in flight, and no transaction has begun",
    ),
    point(
        "worker.after_claim",
        "claimed in a transaction, and no handler has run",
    ),
    point(
        "worker.mid_handler",
        "a handler has run, and the others of its transaction have not",
    ),
    point(
        "worker.before_settle",
        "the handlers have run, and no outcome is written",
    ),
    point(
        "worker.before_commit",
        "every outcome is written, and nothing is committed",
    ),
    point(
        "postgres.after_guard",
        "the guard has passed, and nothing is committed",
    ),
    point(
        "sqlite.after_guard",
        "the guard has passed, and nothing is committed",
    ),
    point("worker.after_commit", "committed, and not acknowledged"),
    point(
        "worker.before_ack",
        "every outcome is committed, and the next message is not acknowledged",
    ),
    point("worker.after_ack", "acknowledged"),
    point(
        "worker.before_record",
        "an attempt has failed or ended its transaction, and that is not recorded",
    ),
    point(
        "worker.after_record",
        "a failed attempt and what follows are committed, not acknowledged",
    ),
    point(
        "worker.draining",
        "stopping, and transactions are still running",
    ),
    point(
        "bookkeeper.before_account",
        "an accept report is in flight, and not written",
    ),
    point(
        "bookkeeper.after_account",
        "an accept report is written, and not acknowledged",
    ),
    point(
        "scheduler.before_republish",
        "a retry is due, and not yet published",
    ),
    point(
        "scheduler.after_republish",
        "a retry is in its queue again, and not marked",
    ),
    point(
        "scheduler.after_mark",
        "a retry is in its queue again, and marked",
    ),
    point("ledger.mid_change", "an operator's change is half written"),
    point(
        "migrate.before_migrations",
        "the lock is held, and nothing is changed",
    ),
    point(
        "postgres.between_migrations",
        "some of the schema is new, and committed",
    ),
    point(
        "migrate.after_migrations",
        "the schema is new, and the environment is not stamped",
    ),
    point(
        "migrate.after_stamp",
        "the migration is complete, and its success is not reported",
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
            // This crate only speaks of them.
            if source.is_dir() && !folder.ends_with("crash") {
                placed(&source, &mut found);
            }
        }
        let listed: BTreeSet<String> = POINTS.iter().map(|it| it.name.to_owned()).collect();
        assert_eq!(
            listed.len(),
            POINTS.len(),
            "a name stands twice in the list"
        );
        assert_eq!(found, listed, "left: in the sources, right: in the list");
    }
}
