//! How many events a second are accepted and, at the same time, processed, for five minutes, while
//! the queue does not grow: 64 connections send as fast as they are answered, but pause while the
//! queue is longer than about a second of work. Ingest and two workers run, the handler is
//! `begini`. The time is divided into tenths. The first tenth is a warm-up. Each of the others
//! counts as one run, and the spread of these runs shows whether the rate stays the same.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::time::{Instant, sleep};

use crate::accounting;
use crate::bench::Bench;
use crate::deployment::{Config, Deployment, Role, Storage};
use crate::figure::{Figure, Goal, Unit};
use crate::load::{Gate, Kind, Plan, now, send};

/// How many messages may wait in the queue before the connections pause. A message has up to 64
/// events.
const WAITING_MAX: u32 = 100;

/// How often the length of the queue is read.
const INTERVAL: Duration = Duration::from_millis(25);

/// Into how many parts the measured time is divided. Each part counts as one run.
const PARTS: usize = 10;

pub(crate) fn measure(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    let mut deployment = Deployment::new(bench, Config::of(Storage::Servers, "begini"))?;
    deployment.start(Role::Ingest)?;
    deployment.start(Role::Worker)?;
    deployment.start(Role::Worker)?;
    let lasts = Duration::from_secs(bench.amount(300, 4));
    let gate = Gate::default();
    let queue = format!("hookbox.{}.route.scores", deployment.environment);
    let amqp = &bench.servers()?.amqp;
    bench.say(&format!("sending for {} s", lasts.as_secs()));
    let began = now();
    let plan = Plan {
        gate: gate.clone(),
        lasts: Some(lasts),
        ..Plan::closed(deployment.requests(Kind::Good), 0..u64::MAX)
    };
    let (sent, longest) = bench.runtime.block_on(async {
        let connection = Connection::connect(amqp, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let watched = watch(&channel, &queue, &gate, lasts);
        let (sent, longest) = tokio::join!(send(plan), watched);
        connection.close(200, "done".into()).await?;
        anyhow::Ok((sent?, longest?))
    })?;
    accounting::wait_settled(&deployment, bench, sent.accepted)?;
    let commits = bench.runtime.block_on(deployment.store.commits(began))?;
    accounting::check(&deployment, &[("done", sent.accepted)])?;
    let part = lasts.as_secs_f64() / PARTS as f64;
    let rate = |number: usize| {
        let from = began + part * number as f64;
        let within = commits
            .iter()
            .filter(|it| it.at > from && it.at <= from + part);
        within.map(|commit| commit.receipts).sum::<u64>() as f64 / part
    };
    // The first part does not count, because processes and caches warm up in it.
    let rates: Vec<f64> = (1..PARTS).map(rate).collect();
    ensure!(
        !rates.is_empty(),
        "the measured time must have at least two parts, because the first one is a warm-up"
    );
    let rate = Figure::new("in and processed", Unit::PerSecond, rates);
    let longest = Figure::new("messages in the queue, at most", Unit::Count, vec![longest]);
    Ok(vec![rate.goal(Goal::AtLeast(6_000.0)), longest])
}

/// While the queue is too long, closes the gate, so that no connection sends. Returns the greatest
/// length of the queue.
async fn watch(channel: &Channel, queue: &str, gate: &Gate, lasts: Duration) -> Result<f64> {
    let until = Instant::now() + lasts;
    let mut longest = 0;
    while Instant::now() < until {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let found = channel.queue_declare(queue.into(), options, FieldTable::default());
        let waiting = found.await.context("reading the queue")?.message_count();
        gate.set(waiting > WAITING_MAX);
        longest = longest.max(waiting);
        sleep(INTERVAL).await;
    }
    gate.set(false);
    Ok(f64::from(longest))
}
