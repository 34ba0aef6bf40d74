//! Case `prefetch-bounds-memory` of docs/FAULTS.md: many large bodies wait for a worker. Its
//! prefetch may allow any number of messages. The memory of the worker still stays within a bound
//! that follows from the config, namely a few copies of the messages in flight.

use std::time::Duration;

use hookbox_testkit::eventually::within;

use crate::deployment::{Deployment, Pair, Process};
use crate::event::score_of;
use crate::gate;

const MIB: usize = 1024 * 1024;

/// The number of messages that wait. Each has a body of 1 MiB.
const QUEUED: usize = 60;

/// The number of senders that send at the same time.
const SENDERS: usize = 4;

/// The memory in MiB of a worker of a debug build that has nothing in flight: its code, threads and
/// schemas.
const BASE_MIB: usize = 64;

/// How many copies of each body in flight a worker holds in memory. They are the received message,
/// the statement that stores the body, and the buffer that sends the statement.
const COPIES: usize = 3;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workers_memory_is_bounded_by_its_prefetch() {
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let ingest = deployment.start_ingest();
    send_all(&deployment);
    gate::prepare(&deployment).await;
    gate::hold_scores(&deployment).await;
    let mut last = None;
    for prefetch in [1, 50, 2_000] {
        let limited = format!(
            "worker.prefetch = {prefetch}\nworker.handler_time_limit = \"3 min\"\n[store]\n"
        );
        deployment.write("hookbox.toml", &config.replacen("[store]\n", &limited, 1));
        let worker = deployment.start(&["worker"]);
        let in_flight = QUEUED.min(prefetch);
        within(
            PATIENCE,
            "as many messages must be in flight as the prefetch allows",
            async || {
                ready(&deployment) == Some((QUEUED - in_flight) as u64)
                    && worker.peak_memory() >= in_flight * MIB
                    && deployment.count(gate::HELD_UP).await >= 1
            },
        )
        .await;
        assert_bounded(&worker, in_flight);
        if in_flight == QUEUED {
            last = Some(worker);
        } else {
            worker.kill();
            within(
                PATIENCE,
                "all messages of the killed worker must be ready again",
                async || ready(&deployment) == Some(QUEUED as u64),
            )
            .await;
        }
    }
    gate::free_scores(&deployment).await;
    let worker = last.unwrap();
    let done = "select count(*) from claims where state = 'done'";
    within(PATIENCE, "all events must be done", async || {
        deployment.count(done).await == QUEUED as u64
    })
    .await;
    assert_bounded(&worker, QUEUED);
    worker.stop();
    ingest.stop();
    deployment.finish().await;
}

#[track_caller]
fn assert_bounded(worker: &Process, in_flight: usize) {
    let bound = BASE_MIB + COPIES * in_flight;
    let peak = worker.peak_memory() / MIB;
    eprintln!("{in_flight} MiB of bodies in flight: {peak} MiB used at most, {bound} MiB allowed");
    assert!(
        peak <= bound,
        "the worker used {peak} MiB; {bound} MiB are allowed with {in_flight} MiB in flight"
    );
}

fn ready(deployment: &Deployment) -> Option<u64> {
    let queues = deployment.json(&["queues"]);
    let scores = queues["queues"].as_array().unwrap().iter();
    let mut scores = scores.filter(|queue| queue["queue"] == "route.scores");
    scores.next()?["broker"]["ready"].as_u64()
}

/// Sends all bodies with several senders at once, which saves time: in a debug build it takes a
/// while to sign 1 MiB.
fn send_all(deployment: &Deployment) {
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            scope.spawn(move || {
                for number in (sender..QUEUED).step_by(SENDERS) {
                    let file = format!("body-{sender}.json");
                    deployment.write(&file, &score_of(&format!("user-{number}"), MIB));
                    deployment.run(&["send", "--file", &file]);
                }
            });
        }
    });
}
