//! How many events a second one worker publishes with the handler `publish` to an exchange with one
//! quorum queue, with at most 256 messages that are not confirmed, and how much processor time the
//! worker needs for each event. The queue of the route is full when the worker starts. The rate is
//! that between the first and the last commit of outcomes.

use anyhow::{Result, ensure};
use lapin::options::{
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};

use super::processed::Drain;
use crate::bench::Bench;
use crate::deployment::{Config, Storage};
use crate::figure::{Figure, Goal, Unit};
use crate::floors::Floor;
use crate::load::Kind;

const EXCHANGE: &str = "bench";

const SETTINGS: &str = r#"exchange = "bench"
concurrency = 256"#;

pub(crate) fn measure(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    let config = Config {
        settings: SETTINGS,
        ..Config::of(Storage::Servers, "publish")
    };
    let mut drain = Drain::new(bench, config, Kind::Good)?;
    published(bench, &mut drain, 0, bench.amount(4_000, 640))?;
    let events = bench.amount(30_000, 640);
    let (mut rates, mut times) = (Vec::new(), Vec::new());
    for run in 1..=bench.runs {
        bench.say(&format!("run {run} of {}", bench.runs));
        let (rate, time) = published(bench, &mut drain, run, events)?;
        rates.push(rate);
        times.push(time);
    }
    drain.check(&[])?;
    Ok(vec![
        Figure::new("published", Unit::PerSecond, rates)
            .floors(&[Floor::JobTable])
            .goal(Goal::TimesFloor(1.0)),
        Figure::new(
            "processor time of the worker for an event",
            Unit::Microseconds,
            times,
        ),
    ])
}

/// Publishes events to a new queue, and returns the rate and the worker's processor time for each
/// event.
fn published(
    bench: &Bench<'_>,
    drain: &mut Drain<'_>,
    run: usize,
    events: u64,
) -> Result<(f64, f64)> {
    let amqp = &bench.servers()?.amqp;
    let queue = format!("{}.bench.{run}", drain.deployment.environment);
    bench.runtime.block_on(bind(amqp, &queue))?;
    let measured = drain.run_with_time(events)?;
    let messages = bench.runtime.block_on(delete(amqp, &queue))?;
    ensure!(
        messages >= events,
        "{events} events are done, but the queue had only {messages} messages"
    );
    Ok(measured)
}

/// Declares the exchange, and a queue that gets all messages of the exchange.
async fn bind(amqp: &str, queue: &str) -> Result<()> {
    let (connection, channel) = connect(amqp).await?;
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(
            EXCHANGE.into(),
            ExchangeKind::Fanout,
            durable,
            FieldTable::default(),
        )
        .await?;
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    let quorum = AMQPValue::LongString("quorum".into());
    arguments.insert("x-queue-type".into(), quorum);
    channel
        .queue_declare(queue.into(), durable, arguments)
        .await?;
    let options = QueueBindOptions::default();
    channel
        .queue_bind(
            queue.into(),
            EXCHANGE.into(),
            "".into(),
            options,
            FieldTable::default(),
        )
        .await?;
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Deletes a queue, and returns the number of messages that it had.
async fn delete(amqp: &str, queue: &str) -> Result<u64> {
    let (connection, channel) = connect(amqp).await?;
    let messages = channel
        .queue_delete(queue.into(), QueueDeleteOptions::default())
        .await?;
    connection.close(200, "done".into()).await?;
    Ok(u64::from(messages))
}

/// Opens a connection for a few operations. The connection is not kept during a measurement,
/// because the bench does not answer the heartbeats of RabbitMQ in that time.
async fn connect(amqp: &str) -> Result<(Connection, Channel)> {
    let connection = Connection::connect(amqp, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}
