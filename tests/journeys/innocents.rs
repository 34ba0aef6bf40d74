//! A worker is killed repeatedly while handlers run and a hundred messages are in flight. The
//! kills come from outside and no handler causes them, so no event may be quarantined as the cause
//! of a process death.

use std::time::{Duration, Instant};

use hookbox_testkit::eventually::within;

use crate::deployment::{Deployment, Pair};

const EVENTS: &str = "200";
const KILLS: u32 = 50;

/// The longest time, in milliseconds, from the start of a handler to the kill of its worker. Each
/// kill comes after a random part of this time.
const KILLED_WITHIN: u64 = 50;

/// When a worker has run no handler for this long, the test assumes that all events are done, and
/// stops killing workers.
const IDLE: Duration = Duration::from_secs(20);

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(240);

const SLOW: &str = "create function slow() returns trigger language plpgsql as $$
     begin
         perform pg_sleep(0.03);
         return new;
     end $$";
const SLOW_SCORES: &str = "create trigger slow before insert on begini_scores
     for each row execute function slow()";
const SLOW_APPLICATIONS: &str = "create trigger slow before insert on begini_applications
     for each row execute function slow()";

const RUNNING: &str = "select count(*) from pg_stat_activity
     where datname = current_database() and wait_event = 'PgSleep'";
const OPEN: &str = "select count(*) from claims where state in ('running', 'retrying')";

/// A generator of pseudo-random numbers (xorshift). The same seed gives the same numbers, so that a
/// failed run can be repeated.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_fifty_times_convicts_no_innocent() {
    let seed = std::env::var("HOOKBOX_TEST_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15 ^ seed);
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let prefetch = "worker.prefetch = 100\n[store]\n";
    deployment.write("hookbox.toml", &config.replacen("[store]\n", prefetch, 1));
    for create in [SLOW, SLOW_SCORES, SLOW_APPLICATIONS] {
        deployment.execute(create).await;
    }
    let ingest = deployment.start_ingest();
    deployment.run(&["generate", "--count", EVENTS, "--seed", &seed.to_string()]);
    let mut killed = 0;
    while killed < KILLS {
        let mut worker = deployment.start(&["worker"]);
        let began = Instant::now();
        while deployment.count(RUNNING).await == 0 && began.elapsed() < IDLE {
            assert!(!worker.has_ended(), "{}", deployment.log());
        }
        let is_idle = began.elapsed() >= IDLE;
        let until = Duration::from_millis(chance.below(KILLED_WITHIN));
        let began = Instant::now();
        while began.elapsed() < until {
            tokio::task::yield_now().await;
        }
        worker.kill();
        killed += 1;
        if is_idle {
            break;
        }
    }
    let left = deployment.count(OPEN).await;
    let worker = deployment.start(&["worker"]);
    let books = deployment.json(&["reconcile", "--wait", "180s"]);
    within(
        PATIENCE,
        "no event may run or wait for a retry any more",
        async || deployment.count(OPEN).await == 0,
    )
    .await;
    worker.stop();
    ingest.stop();
    eprintln!("seed {seed}: {killed} kills; {left} events were not done after the last kill");
    assert_eq!(books["imbalances"].as_array().map(Vec::len), Some(0));
    let innocents = "select count(*) from dead_letters where reason = 'quarantined'";
    assert_eq!(deployment.count(innocents).await, 0, "{}", deployment.log());
    deployment.finish().await;
}
