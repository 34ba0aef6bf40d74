//! Tests of missing rights. The error must name the command that grants the right, and the driver
//! must not be ready until the right is granted.

use std::process::Command;

use hookbox_driver::{
    Broker, NotReadyKind, OpenError, PublishErrorKind, Queue, Readiness, describe,
};
use hookbox_driver_rabbitmq::{Options, Rabbit, declare};
use hookbox_testkit::eventually::eventually;
use hookbox_testkit::servers::RabbitmqServer;

use crate::world::{World, batch, next, route, subscribe, take, until_ready};

/// How many times the test reads the driver's readiness, a few milliseconds apart. The driver must
/// be not ready each time.
const LOOKS: usize = 600;

fn permit(server: &RabbitmqServer, configure: &str, write: &str, read: &str) {
    server
        .ctl(&[
            "set_permissions",
            "-p",
            "/",
            "hookbox",
            configure,
            write,
            read,
        ])
        .unwrap();
}

/// Runs the `rabbitmqctl` command that an error text names, split into words by a shell, as if an
/// operator had pasted it.
fn run_the_remedy(server: &RabbitmqServer, why: &str) {
    let (_, command) = why.split_once("run `rabbitmqctl ").unwrap();
    let (command, _) = command.split_once('`').unwrap();
    let split = Command::new("sh")
        .args(["-c", &format!("printf '%s\\n' {command}")])
        .output()
        .unwrap();
    let words = String::from_utf8(split.stdout).unwrap();
    let words: Vec<&str> = words.lines().collect();
    server.ctl(&words).unwrap();
}

/// Opens the driver, which must fail with `OpenError::Refused`, and returns the text of the error.
async fn refused(options: Options) -> String {
    match Rabbit::open(options).await {
        Err(error @ OpenError::Refused { .. }) => describe(&error),
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("the broker must refuse the driver, but the driver opened"),
    }
}

/// The checks run one after the other on one broker, because the start of a broker takes seconds of
/// processor time. The check of the limits is the first, because it counts the connections. Each
/// check restores the rights that it revokes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_named_until_it_is_granted() {
    let server = RabbitmqServer::start().unwrap();
    a_limit_that_is_reached_is_named_with_the_command_that_raises_it(&server).await;
    what_an_account_may_not_do_is_named_with_the_command_that_grants_it(&server).await;
    without_the_right_to_publish_it_is_not_ready_until_that_is_granted(&server).await;
    what_rejects_everything_for_seconds_is_not_ready_until_a_publish_is_confirmed(&server).await;
}

/// Tests the errors when a limit of RabbitMQ is reached. Each error must name the command that
/// raises the limit.
async fn a_limit_that_is_reached_is_named_with_the_command_that_raises_it(server: &RabbitmqServer) {
    let world = World::on(server.url()).await;
    world.declare_missing().await;
    let user = |limit: &str| {
        server.ctl(&["set_user_limits", "hookbox", limit]).unwrap();
    };
    let vhost = |limit: &str| {
        let words = ["set_vhost_limits", "-p", "/", limit];
        server.ctl(&words).unwrap();
    };
    // The test itself has one connection open, so a limit of one connection leaves no connection
    // for the driver.
    let by_vhost = "set_vhost_limits -p '/'";
    let by_user = "set_user_limits 'hookbox'";
    let mut options = world.options();
    options.publish_channels = 8;
    // With a limit of one channel, the driver cannot check the queues. With a limit of six
    // channels, it can check the queues, but cannot open its publishing channels.
    for (limit, limited, number, raise) in [
        (&vhost as &dyn Fn(&str), "max-connections", 1, by_vhost),
        (&user as &dyn Fn(&str), "max-connections", 1, by_user),
        (&user as &dyn Fn(&str), "max-channels", 1, by_user),
        (&user as &dyn Fn(&str), "max-channels", 6, by_user),
    ] {
        limit(&format!("{{\"{limited}\": {number}}}"));
        let why = refused(options.clone()).await;
        let command = format!("`rabbitmqctl {raise} '{{\"{limited}\": NUMBER}}'`");
        assert!(why.contains(&command), "{why}");
        assert!(
            why.contains("NOT_ALLOWED") && why.contains("limit"),
            "{why}"
        );
        limit(&format!("{{\"{limited}\": 100}}"));
        let rabbit = Rabbit::open(options.clone()).await.unwrap();
        rabbit.publish(&[route()], &batch("taken")).await.unwrap();
        take(&rabbit, "taken").await;
        rabbit.close().await;
    }
    world.finish().await;
}

async fn what_an_account_may_not_do_is_named_with_the_command_that_grants_it(
    server: &RabbitmqServer,
) {
    let world = World::on(server.url()).await;
    world.declare_missing().await;
    let (account, _) = server.url().rsplit_once('@').unwrap();
    let (_, password) = account.rsplit_once(':').unwrap();
    let with = |from: &str, to: &str| {
        let mut options = world.options();
        options.url = options.url.replacen(from, to, 1);
        assert_ne!(options.url, world.options().url);
        options
    };

    let why = refused(with(password, "hunter2")).await;
    assert!(
        why.contains("`rabbitmqctl change_password 'hookbox' PASSWORD`"),
        "{why}"
    );
    assert!(
        why.contains("ACCESS_REFUSED") && !why.contains("hunter2"),
        "{why}"
    );
    let why = refused(with("hookbox:", "stranger:")).await;
    assert!(why.contains("the login of the user \"stranger\""), "{why}");
    let why = refused(with("/%2f", "/orders")).await;
    assert!(why.contains("`rabbitmqctl add_vhost 'orders'`"), "{why}");
    server.ctl(&["add_vhost", "orders"]).unwrap();
    let why = refused(with("/%2f", "/orders")).await;
    assert!(
        why.contains("`rabbitmqctl set_permissions -p 'orders' 'hookbox' "),
        "{why}"
    );

    permit(server, "^$", ".*", ".*");
    let why = refused(world.options()).await;
    let error = declare(&world.options()).await.unwrap_err();
    assert_eq!(describe(&error), why);
    run_the_remedy(server, &why);
    // The rights that the command has granted must suffice for declaring, publishing and consuming.
    world.delete(&world.queue()).await;
    assert_eq!(world.declare_missing().await, [world.queue()]);
    let rabbit = Rabbit::open(world.options()).await.unwrap();
    rabbit.publish(&[route()], &batch("taken")).await.unwrap();
    take(&rabbit, "taken").await;
    rabbit.close().await;

    permit(server, ".*", ".*", "^$");
    let rabbit = Rabbit::open(world.options()).await.unwrap();
    let fault = rabbit.subscribe(&Queue::Route(route()), 1).await.err();
    let why = describe(&fault.unwrap());
    run_the_remedy(server, &why);
    rabbit.close().await;
    let rabbit = Rabbit::open(world.options()).await.unwrap();
    subscribe(&rabbit, Queue::Route(route()))
        .await
        .close()
        .await;
    rabbit.close().await;
    permit(server, ".*", ".*", ".*");
    world.finish().await;
}

/// All queues exist, but the user lacks the right to publish. The driver must not become ready by
/// connecting again, because a new connection has the same rights.
async fn without_the_right_to_publish_it_is_not_ready_until_that_is_granted(
    server: &RabbitmqServer,
) {
    let mut world = World::on(server.url()).await;
    let rabbit = world.open().await;
    permit(server, ".*", "^hookbox", ".*");
    server
        .ctl(&["close_all_connections", "a right was revoked"])
        .unwrap();
    world.connect_again().await;
    let why = eventually("the broker must refuse the driver", async || {
        why_refused(&rabbit)
    })
    .await;
    assert!(why.contains("amq.default"), "{why}");
    let mut looks = 0;
    eventually("the broker must keep refusing the driver", async || {
        assert_ne!(rabbit.readiness(), Readiness::Ready);
        looks += 1;
        (looks > LOOKS).then_some(()).ok_or(looks)
    })
    .await;
    let published = rabbit.publish(&[route()], &batch("refused")).await;
    assert_eq!(published.unwrap_err().kind, PublishErrorKind::Unavailable);
    // RabbitMQ must also refuse another process that starts now.
    let started = refused(world.options()).await;
    run_the_remedy(server, &started);
    until_ready(&rabbit).await;
    rabbit.publish(&[route()], &batch("taken")).await.unwrap();
    take(&rabbit, "taken").await;
    assert_eq!(
        world.waiting(&world.queue()).await,
        Some(0),
        "no probe message may be in the route's queue"
    );
    rabbit.close().await;
    permit(server, ".*", ".*", ".*");
    world.finish().await;
}

async fn what_rejects_everything_for_seconds_is_not_ready_until_a_publish_is_confirmed(
    server: &RabbitmqServer,
) {
    let world = World::on(server.url()).await;
    let rabbit = world.open().await;
    let full = ["set_policy", "theirs", "^hookbox\\..*route"];
    let full = [
        &full[..],
        &[r#"{"max-length":1,"overflow":"reject-publish"}"#],
    ]
    .concat();
    server.ctl(&full).unwrap();
    let why = eventually(
        "readiness must report that every publish is rejected",
        async || {
            match rabbit.publish(&[route()], &batch("one more")).await {
                Err(error) => assert_eq!(error.kind, PublishErrorKind::Rejected, "{error:?}"),
                // The queue is not full yet, so the broker still confirms publishes, and the next
                // poll publishes one more message.
                Ok(()) => assert_eq!(rabbit.readiness(), Readiness::Ready),
            }
            why_refused(&rabbit)
        },
    )
    .await;
    assert!(why.contains("rejects every publish"), "{why}");
    server.ctl(&["clear_policy", "theirs"]).unwrap();
    // The driver is still not ready, because only a publish can show that the queue accepts
    // messages again.
    eventually(
        "a publish must succeed once the queue accepts messages again",
        async || rabbit.publish(&[route()], &batch("room again")).await,
    )
    .await;
    until_ready(&rabbit).await;
    let mut subscription = subscribe(&rabbit, Queue::Route(route())).await;
    next(&mut *subscription).await.ack().await.unwrap();
    subscription.close().await;
    rabbit.close().await;
    world.finish().await;
}

/// Returns the reason if the driver is not ready because the broker refuses a connection or an
/// operation; otherwise returns the readiness as an error.
fn why_refused(rabbit: &Rabbit) -> Result<String, Readiness> {
    match rabbit.readiness() {
        Readiness::NotReady {
            kind: NotReadyKind::Refused,
            why,
        } => Ok(why),
        other => Err(other),
    }
}
