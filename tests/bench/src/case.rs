//! The cases: each measures one thing that a user of hookbox notices, and has a goal.

use anyhow::Result;

use crate::bench::Bench;
use crate::cases::{
    accepted, backlog, both, cold_start, conditions, embedded, failing, forward, latency, newest,
    processed, publish, replay, user_sql, workers,
};
use crate::figure::Figure;
use crate::floors::Floor;

/// One case.
pub(crate) struct Case {
    pub name: &'static str,
    /// What is measured, and the goal.
    pub about: &'static str,
    /// Whether the case needs PostgreSQL and RabbitMQ; the others use files alone.
    pub needs_servers: bool,
    /// What the figures are compared with.
    pub floors: &'static [Floor],
    /// Measures one build.
    pub run: fn(&Bench<'_>) -> Result<Vec<Figure>>,
}

/// Every case, in the order in which they run.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "accepted-64",
        about: "requests a second that get the answer with status 200, over 64 connections, no \
                worker running: at least 1.4 times the raw confirmed publishes, p99 at most 8 ms",
        needs_servers: true,
        floors: &[Floor::Publishes],
        run: accepted::over_64,
    },
    Case {
        name: "accepted-256",
        about: "as `accepted-64`, over 256 connections: at least 1.8 times the raw confirmed \
                publishes",
        needs_servers: true,
        floors: &[Floor::Publishes],
        run: accepted::over_256,
    },
    Case {
        name: "conditions",
        about: "as `accepted-64`, on a route with five conditions on the body (`where`): at least \
                0.95 of the rate on a route without conditions",
        needs_servers: true,
        floors: &[Floor::Publishes],
        run: conditions::measure,
    },
    Case {
        name: "newest",
        about: "as `processed-begini`, on a route with `newest` where each event has another key: \
                at least 0.95 of the rate on a route without `newest`",
        needs_servers: true,
        floors: &[Floor::JobTable],
        run: newest::measure,
    },
    Case {
        name: "processed-record",
        about: "the rate at which two workers take events from a full queue and commit them, \
                handler `record`: at least 3.6 times the job table; in a store that already has \
                events, at least 0.9 of the rate in an empty store",
        needs_servers: true,
        floors: &[Floor::JobTable, Floor::GraphileWorker],
        run: processed::record,
    },
    Case {
        name: "processed-begini",
        about: "the rate at which two workers take events from a full queue and commit them, \
                handler `begini`: at least 2 times the job table",
        needs_servers: true,
        floors: &[Floor::JobTable, Floor::GraphileWorker],
        run: processed::begini,
    },
    Case {
        name: "sql-postgres",
        about: "as `processed-begini`, with statements of the handler `sql` that write the same \
                rows: at least 0.7 of the rate of the handler `begini`",
        needs_servers: true,
        floors: &[Floor::JobTable],
        run: user_sql::on_postgres,
    },
    Case {
        name: "sql-sqlite",
        about: "as `sql-postgres`, with one worker and with broker and store in two SQLite files: \
                at least 0.7 of the rate of `begini`",
        needs_servers: false,
        floors: &[Floor::SqliteCommits],
        run: user_sql::on_sqlite,
    },
    Case {
        name: "forward",
        about: "the rate at which one worker posts events to a local service, with 256 calls in \
                flight: at least the rate of the job table; if the service takes 200 ms for each \
                event, at least 0.9 of the 1,280 a second that 256 calls allow",
        needs_servers: true,
        floors: &[Floor::JobTable],
        run: forward::measure,
    },
    Case {
        name: "publish",
        about: "the rate at which one worker publishes events to an exchange with a quorum queue, \
                with 256 messages in flight: at least the rate of the job table",
        needs_servers: true,
        floors: &[Floor::JobTable],
        run: publish::measure,
    },
    Case {
        name: "latency-2k",
        about: "the time from the moment when a request is due to the commit of its outcome, at \
                500, 1,000 and 2,000 requests a second: at 2,000 a second, p50 at most 5 ms and \
                p99 at most 25 ms",
        needs_servers: true,
        floors: &[],
        run: latency::measure,
    },
    Case {
        name: "handler-fails",
        about: "one event in a hundred fails, and the handler's error names this event: the \
                failures cost at most 15 % of the rate",
        needs_servers: true,
        floors: &[],
        run: failing::by_handler,
    },
    Case {
        name: "database-fails",
        about: "one event in a hundred fails in the database: the failures cost at most 30 % of \
                the rate",
        needs_servers: true,
        floors: &[],
        run: failing::by_database,
    },
    Case {
        name: "both-at-once",
        about: "events that are accepted and, at the same time, processed for five minutes, \
                handler `begini`, while the queue does not grow: at least 6,000 a second",
        needs_servers: true,
        floors: &[],
        run: both::measure,
    },
    Case {
        name: "embedded-one-file",
        about: "events that one process on one SQLite file accepts and processes, handler \
                `begini`: at least 6,000 a second, p99 of acceptance at most 25 ms",
        needs_servers: false,
        floors: &[Floor::SqliteCommits],
        run: embedded::one_file,
    },
    Case {
        name: "embedded-two-files",
        about: "as `embedded-one-file`, with broker and store in two SQLite files",
        needs_servers: false,
        floors: &[Floor::SqliteCommits],
        run: embedded::two_files,
    },
    Case {
        name: "workers-1-to-4",
        about: "a handler that waits 20 ms for each event: the rate of four workers is at least \
                0.95 of four times the rate of one worker",
        needs_servers: true,
        floors: &[],
        run: workers::measure,
    },
    Case {
        name: "backlog",
        about: "a queue of one million events is processed at the rate of a short queue, with at \
                most 60 MiB of memory for a worker and 40 MiB for ingest",
        needs_servers: true,
        floors: &[],
        run: backlog::measure,
    },
    Case {
        name: "replay-100k",
        about: "100,000 dead letters are replayed and processed: at least 5,000 a second",
        needs_servers: true,
        floors: &[],
        run: replay::measure,
    },
    Case {
        name: "cold-start",
        about: "one process on one SQLite file with a million events stored: at most 100 ms from \
                its start to the first answer 200",
        needs_servers: false,
        floors: &[],
        run: cold_start::measure,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own() {
        for (place, case) in CASES.iter().enumerate() {
            let same = CASES.iter().skip(place + 1).find(|it| it.name == case.name);
            assert!(same.is_none(), "{} is the name of two cases", case.name);
        }
    }
}
