//! Tests a queue that neither confirms nor rejects what is published to it, like a quorum queue
//! without a majority of its members (H7). The messages of other queues must be confirmed
//! meanwhile, over the same connection.

use std::time::{Duration, Instant};

use hookbox_driver::{Broker, PublishErrorKind, Readiness};
use hookbox_driver_rabbitmq::Rabbit;
use hookbox_event::RouteName;
use hookbox_testkit::eventually::eventually;
use hookbox_testkit::proxy::{Mode, Proxy};
use hookbox_testkit::servers::RabbitmqServer;

use crate::world::{World, batch, open, route};

/// The deadline for a confirm. It is long, so that a busy machine makes no other confirm late.
const CONFIRM_DEADLINE: Duration = Duration::from_secs(5);

/// How long the proxy delays a confirm, so that further messages wait for the channel.
const DELAY: Duration = Duration::from_secs(1);

/// How many messages are published to the other queue while the silent queue is probed.
const OTHERS: u32 = 20;

/// Calls a function of Erlang's module `sys` on the process of a quorum queue: `suspend` makes the
/// queue answer nothing, and `resume` ends that.
fn call(server: &RabbitmqServer, function: &str, queue: &str) {
    let expression = format!(
        "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>)), \
         sys:{function}(amqqueue:get_pid(Q))."
    );
    server.ctl(&["eval", &expression]).unwrap();
}

/// Returns the connections that are open at the broker.
fn connections(server: &RabbitmqServer) -> Vec<String> {
    let listed = server.ctl(&["-q", "list_connections", "pid"]).unwrap();
    let mut listed: Vec<String> = listed.lines().map(str::to_owned).collect();
    listed.sort();
    listed
}

/// Returns the route whose queue confirms.
fn other() -> RouteName {
    "grades".parse().unwrap()
}

/// Publishes messages in one publish round, of which one is for the silent queue. Only that one
/// fails.
async fn one_is_late(world: &World, rabbit: &Rabbit, proxy: &Proxy, of_other: &str) {
    let (silent, other) = ([route()], [other()]);
    // While the confirm of `first` is delayed, the next three messages wait for the only channel.
    // They are then published in one publish round.
    proxy.set(Mode::Late(DELAY));
    let (first, second, third) = (batch("first"), batch("second"), batch("third"));
    let late = batch("late");
    let (first, (late, second, third)) = tokio::join!(rabbit.publish(&other, &first), async {
        eventually(
            "the broker must store the first message",
            async || match world.waiting(of_other).await {
                Some(2) => Ok(()),
                found => Err(found),
            },
        )
        .await;
        let (late, second, third, ()) = tokio::join!(
            rabbit.publish(&silent, &late),
            rabbit.publish(&other, &second),
            rabbit.publish(&other, &third),
            async { proxy.set(Mode::Pass) },
        );
        (late, second, third)
    });
    first.unwrap();
    second.unwrap();
    third.unwrap();
    assert_eq!(late.unwrap_err().kind, PublishErrorKind::TimedOut);
}

/// Publishes to the silent queue, which is held back now, while its probe is in flight.
async fn is_held_back(world: &World, rabbit: &Rabbit, of_other: &str) {
    let (silent, other) = ([route()], [other()]);
    let both = [silent[0].clone(), other[0].clone()];
    // The only publisher publishes this message after it has recorded that the queue was late.
    rabbit.publish(&other, &batch("next")).await.unwrap();
    let stored = world.waiting(of_other).await.unwrap();
    let (message, began) = (batch("probed"), Instant::now());
    // `join!` polls its futures in this order at first, so the first message is the probe.
    let (probe, (refused, took), to_both, ()) = tokio::join!(
        rabbit.publish(&silent, &message),
        async {
            let refused = rabbit.publish(&silent, &message).await;
            (refused, began.elapsed())
        },
        rabbit.publish(&both, &message),
        async {
            for _ in 0..OTHERS {
                rabbit.publish(&other, &message).await.unwrap();
            }
        },
    );
    for failed in [probe, refused, to_both] {
        assert_eq!(failed.unwrap_err().kind, PublishErrorKind::TimedOut);
    }
    assert!(
        took < CONFIRM_DEADLINE / 2,
        "a message for a queue whose probe is in flight must fail soon, not after {took:?}"
    );
    assert_eq!(
        world.waiting(of_other).await,
        Some(stored + OTHERS),
        "a message for two queues, of which one is held back, must be published to none"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_never_confirms_delays_no_other_queue() {
    let server = RabbitmqServer::start().unwrap();
    let world = World::at(server.url(), vec![route(), other()]).await;
    let of_other = world.queue().replace(route().as_str(), other().as_str());
    let proxy = Proxy::before(server.url()).unwrap();
    let mut options = world.options();
    options.url = proxy.url(server.url());
    options.confirm_deadline = CONFIRM_DEADLINE;
    options.publish_channels = 1;
    let rabbit = open(options).await;
    let (silent, other) = ([route()], [other()]);
    let both = [silent.clone(), other.clone()].concat();
    rabbit.publish(&silent, &batch("before")).await.unwrap();
    rabbit.publish(&other, &batch("before")).await.unwrap();
    let before = connections(&server);
    call(&server, "suspend", &world.queue());

    one_is_late(&world, &rabbit, &proxy, &of_other).await;
    is_held_back(&world, &rabbit, &of_other).await;
    assert_eq!(rabbit.readiness(), Readiness::Ready);
    assert_eq!(
        connections(&server),
        before,
        "the driver must keep its connection"
    );

    call(&server, "resume", &world.queue());
    eventually("the queue must take messages again", async || {
        rabbit.publish(&silent, &batch("after")).await
    })
    .await;
    rabbit.publish(&both, &batch("both")).await.unwrap();
    rabbit.close().await;
    drop(proxy);
    world.finish().await;
    drop(server);
}
