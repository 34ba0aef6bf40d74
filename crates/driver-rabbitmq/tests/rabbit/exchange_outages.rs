//! Tests messages to an exchange that belongs to the user when the connection is lost: which error
//! a message gets, and that later messages are published.

use std::time::Duration;

use hookbox_driver_rabbitmq::{ExchangeError, ExchangePublisher};
use hookbox_testkit::eventually::eventually;
use hookbox_testkit::proxy::{Mode, Proxy};

use crate::exchange::{Exchange, message};
use crate::world::{World, url};

async fn until_published(publisher: &ExchangePublisher, id: &str) {
    eventually("a message must be confirmed", async || {
        publisher.publish(message(id, "kept.a")).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_without_a_confirm_is_unknown_and_a_later_one_is_published() {
    let world = World::new().await;
    let exchange = Exchange::new(&world).await;
    let proxy = Proxy::before(&url()).unwrap();
    let mut options = world.options();
    options.url = proxy.url(&url());
    options.confirm_deadline = Duration::from_secs(1);
    options.close_deadline = Duration::from_millis(300);
    let publisher = ExchangePublisher::new(options, &*exchange.name).unwrap();
    for mode in [Mode::LoseAnswers, Mode::LoseRequests, Mode::Hole] {
        proxy.set(Mode::Pass);
        until_published(&publisher, "before").await;
        let before = world.waiting(&exchange.queue).await.unwrap();
        proxy.set(mode);
        let lost = publisher.publish(message("lost", "kept.a")).await;
        assert!(
            matches!(lost, Err(ExchangeError::Unknown)),
            "{mode:?}: {lost:?}"
        );
        let stored = u32::from(mode == Mode::LoseAnswers);
        eventually(
            "the queue must hold exactly the messages that reached the broker",
            async || match world.waiting(&exchange.queue).await {
                Some(found) if found == before + stored => Ok(()),
                other => Err(other),
            },
        )
        .await;
    }
    proxy.set(Mode::Cut);
    eventually("the broker must be unreachable", async || {
        match publisher.publish(message("cut", "kept.a")).await {
            Err(ExchangeError::Unavailable(_)) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    proxy.set(Mode::Pass);
    until_published(&publisher, "after").await;
    publisher.close().await;
    exchange.finish().await;
    world.finish().await;
}
