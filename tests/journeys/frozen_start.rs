//! Ingest starts while RabbitMQ is frozen: a connection to it can be opened, but it answers
//! nothing. Ingest retries with pauses, does not use more and more resources, and becomes ready by
//! itself when the broker answers.

use std::fs;
use std::time::{Duration, Instant};

use hookbox_testkit::eventually::within;
use hookbox_testkit::servers::{PostgresServer, RabbitmqServer};

use crate::deployment::{Deployment, Process};
use crate::outages::own;
use crate::shown::Shown;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long the broker is frozen. This is long enough for several tries to connect, each of which
/// takes two seconds, with growing pauses between them.
const FROZEN: Duration = Duration::from_secs(15);

/// The longest time until ingest has started all its threads and opened all its files. What it uses
/// until then is compared with what it uses later.
const SETTLED: Duration = Duration::from_secs(5);

/// The most processor time that ingest may use while it waits, in hundredths of a second: a fifth
/// of the 15 s. More would be a busy loop.
const TICKS_MAX: u64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_rabbitmq_is_waited_for_at_the_start() {
    let rabbitmq = RabbitmqServer::start().unwrap();
    let postgres = PostgresServer::start().unwrap();
    let deployment = Deployment::over(own(postgres.url(), rabbitmq.url(), postgres.url()));
    let shown = Shown::new();
    rabbitmq.stop().unwrap();
    let mut ingest = deployment.start(&["ingest", "--metrics", &shown.address()]);
    within(PATIENCE, "ingest must answer at /livez", async || {
        shown.get("/livez").is_some()
    })
    .await;
    let began = Instant::now();
    let (mut first, mut most) = (Held::default(), Held::default());
    within(
        PATIENCE,
        "the broker must stay frozen for 15 s",
        async || {
            assert!(!ingest.has_ended(), "{}", deployment.log());
            assert!(
                !shown.is_ready(),
                "ingest must not be ready without a broker"
            );
            let early = began.elapsed() < SETTLED;
            let so_far = if early { &mut first } else { &mut most };
            so_far.raise(&Held::by(&ingest));
            began.elapsed() > FROZEN
        },
    )
    .await;
    eprintln!("ingest used at most {first:?} at first, and then {most:?}");
    assert!(most.threads <= first.threads, "{first:?}, {most:?}");
    assert!(most.files <= first.files, "{first:?}, {most:?}");
    assert!(most.ticks < TICKS_MAX, "{most:?}");
    let log = deployment.log();
    assert!(log.contains("waiting for the broker"), "{log}");
    assert!(log.lines().count() < 20, "{log}");

    rabbitmq.cont().unwrap();
    let start = Instant::now();
    within(
        PATIENCE,
        "ingest must become ready without a restart",
        async || shown.is_ready(),
    )
    .await;
    let took = start.elapsed();
    eprintln!("ingest was ready {took:?} after the broker resumed");
    deployment.run(&["send"]);
    ingest.stop();
    deployment.finish().await;
}

/// The threads, open files and processor time (in hundredths of a second) that a process uses.
#[derive(Debug, Default)]
struct Held {
    threads: usize,
    files: usize,
    ticks: u64,
}

impl Held {
    fn by(process: &Process) -> Self {
        let place = format!("/proc/{}", process.id());
        let count = |what: &str| fs::read_dir(format!("{place}/{what}")).unwrap().count();
        let stat = fs::read_to_string(format!("{place}/stat")).unwrap();
        // In `/proc/PID/stat` the fields from the third on follow the process name in brackets. The
        // third is the state; the processor times are the 14th and 15th.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .collect();
        let ticks = |at: usize| fields[at - 3].parse::<u64>().unwrap();
        Self {
            threads: count("task"),
            files: count("fd"),
            ticks: ticks(14) + ticks(15),
        }
    }

    fn raise(&mut self, to: &Self) {
        self.threads = self.threads.max(to.threads);
        self.files = self.files.max(to.files);
        self.ticks = self.ticks.max(to.ticks);
    }
}
