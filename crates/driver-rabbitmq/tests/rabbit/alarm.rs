//! Tests a resource alarm of the broker that begins before the driver opens. RabbitMQ blocks a
//! connection because of an alarm only when something is published over that connection, so the
//! driver must find out about the alarm by itself.

use hookbox_driver::{Broker, NotReadyKind, PublishErrorKind, Readiness};
use hookbox_driver_rabbitmq::Rabbit;
use hookbox_testkit::eventually::eventually;
use hookbox_testkit::servers::RabbitmqServer;

use crate::world::{World, batch, route, take, until_ready};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_during_an_alarm_is_not_ready_until_that_is_over() {
    let server = RabbitmqServer::start().unwrap();
    let world = World::on(server.url()).await;
    world.declare_missing().await;
    server
        .ctl(&["set_vm_memory_high_watermark", "0.00001"])
        .unwrap();
    // The broker raises the alarm a moment after the command that lowers its memory limit has
    // returned.
    eventually("the broker must raise the resource alarm", async || {
        let alarms = ["eval", "rabbit_alarm:get_alarms()."];
        let alarms = server.ctl(&alarms).unwrap();
        alarms.contains("memory").then_some(()).ok_or(alarms)
    })
    .await;
    let rabbit = Rabbit::open(world.options()).await.unwrap();
    let Readiness::NotReady { kind, why } = rabbit.readiness() else {
        panic!("the driver must not be ready during an alarm");
    };
    assert_eq!(kind, NotReadyKind::Alarm, "{why}");
    let published = rabbit.publish(&[route()], &batch("meanwhile")).await;
    assert_eq!(published.unwrap_err().kind, PublishErrorKind::Blocked);
    server
        .ctl(&["set_vm_memory_high_watermark", "0.4"])
        .unwrap();
    until_ready(&rabbit).await;
    rabbit.publish(&[route()], &batch("after")).await.unwrap();
    take(&rabbit, "after").await;
    rabbit.close().await;
    world.finish().await;
}
