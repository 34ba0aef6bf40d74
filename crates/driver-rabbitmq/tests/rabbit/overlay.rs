//! Tests of harmful policies on the queues, and of a management API that is unavailable for a
//! while.

use hookbox_driver::{Broker, OpenError, PublishErrorKind, Readiness, describe};
use hookbox_driver_rabbitmq::{Options, Rabbit, declare};
use hookbox_testkit::eventually::eventually;

use crate::alone::{Log, alone};
use crate::api::{Api, Says};
use crate::world::{World, batch, open, route, until_not_ready, until_ready};

const DROPS: Says = Says::Policy(r#"{"max-length":10,"overflow":"drop-head"}"#);

fn watched(world: &World, api: &Api) -> Options {
    let mut options = world.options();
    options.management = Some(api.url());
    options
}

/// Waits until the API has received this many more requests for policies.
async fn until_asked(api: &Api, times: u64) {
    let enough = api.asked() + times;
    eventually(
        "the driver must request the policies from the API",
        async || {
            let asked = api.asked();
            (asked >= enough).then_some(()).ok_or(asked)
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_cannot_ask_for_policies_waits() {
    let world = World::new().await;
    let api = Api::new(Says::Nothing).await;
    let Err(error) = Rabbit::open(watched(&world, &api)).await else {
        panic!("opening the driver must fail, but the driver opened");
    };
    assert!(matches!(error, OpenError::Unavailable { .. }), "{error:?}");
    assert!(describe(&error).contains("management API"), "{error:?}");
    assert_eq!(
        world.waiting(&world.queue()).await,
        None,
        "a driver that cannot open must declare nothing"
    );
    let error = declare(&watched(&world, &api)).await.unwrap_err();
    assert!(matches!(error, OpenError::Unavailable { .. }), "{error:?}");
    api.set(DROPS);
    let refused = Rabbit::open(watched(&world, &api)).await.err().unwrap();
    assert!(matches!(refused, OpenError::Topology(_)), "{refused:?}");
    let refused = declare(&watched(&world, &api)).await.unwrap_err();
    assert!(matches!(refused, OpenError::Topology(_)), "{refused:?}");
    assert_eq!(world.waiting(&world.queue()).await, None);
    // A policy that sets the same value as hookbox's declaration is harmless.
    api.set(Says::Policy(r#"{"overflow":"reject-publish"}"#));
    let rabbit = open(watched(&world, &api)).await;
    rabbit.close().await;
    // If the API is unavailable, a command that only reads must still be able to open the driver.
    api.set(Says::Nothing);
    let mut looking = watched(&world, &api);
    looking.reads_only = true;
    let rabbit = Rabbit::open(looking).await.unwrap();
    rabbit.close().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn findings_are_kept_while_the_check_fails() {
    let world = World::new().await;
    let api = Api::new(Says::NoPolicy).await;
    let rabbit = open(watched(&world, &api)).await;
    api.set(DROPS);
    let why = until_not_ready(&rabbit).await;
    assert!(
        why.contains(r#"the policy "theirs" sets max-length on the queue"#),
        "{why}"
    );
    api.set(Says::Nothing);
    // While the API is unavailable, the policy that the last successful check found still counts.
    // So the driver must not become ready after any of these failed checks.
    let until = api.asked() + 3;
    while api.asked() < until {
        let now = rabbit.readiness();
        assert!(
            matches!(now, Readiness::NotReady { .. }),
            "the driver must stay not ready"
        );
        let published = rabbit.publish(&[route()], &batch("dropped")).await;
        assert_eq!(published.unwrap_err().kind, PublishErrorKind::Unavailable);
    }
    let why = until_not_ready(&rabbit).await;
    assert!(why.contains("max-length"), "{why}");
    api.set(Says::NoPolicy);
    until_ready(&rabbit).await;
    rabbit.publish(&[route()], &batch("kept")).await.unwrap();
    rabbit.close().await;
    world.finish().await;
}

/// While the API is unavailable, the driver must stay ready. The failure must be logged once, and
/// the recovery as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unavailable_management_api_stops_nothing_and_is_logged() {
    if !alone("overlay::an_unavailable_management_api_stops_nothing_and_is_logged") {
        return;
    }
    let log = Log::begin();
    let world = World::new().await;
    let api = Api::new(Says::NoPolicy).await;
    let rabbit = open(watched(&world, &api)).await;
    api.set(Says::Nothing);
    let logged = || log.said().matches("queue members are not checked").count();
    until_asked(&api, 2).await;
    assert_eq!(
        logged(),
        0,
        "the failure of one or two checks must not be logged: {}",
        log.said()
    );
    until_asked(&api, 4).await;
    assert_eq!(logged(), 1, "{}", log.said());
    assert_eq!(rabbit.readiness(), Readiness::Ready);
    rabbit.publish(&[route()], &batch("kept")).await.unwrap();
    api.set(Says::NoPolicy);
    eventually(
        "the driver must log that the checks recovered",
        async || {
            let said = log.said();
            said.contains("queue members recovered")
                .then_some(())
                .ok_or(said)
        },
    )
    .await;
    assert_eq!(logged(), 1);
    rabbit.close().await;
    world.finish().await;
}
