//! What the tests share: for each test, a separate environment with its own queues, messages for
//! them, and a second connection to the broker.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use hookbox_driver::{Batch, Broker, Delivery, Queue, Readiness, Subscription};
use hookbox_driver_rabbitmq::{Options, Rabbit, declare, delete_topology, topology};
use hookbox_event::{EnvironmentName, ReceiptId, RouteName};
use hookbox_testkit::eventually::eventually;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};
use tokio::time::timeout;

const URL: &str = "HOOKBOX_TEST_AMQP_URL";

/// How long a test waits for something that must happen. Only a failing test waits this long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the test server's URL.
pub fn url() -> String {
    std::env::var(URL)
        .unwrap_or_else(|_| panic!("{URL} must name a RabbitMQ server, such as amqp://…/%2f"))
}

pub struct World {
    pub environment: EnvironmentName,
    /// A connection of the test's own, which the driver does not use.
    pub raw: Connection,
    url: String,
    routes: Vec<RouteName>,
    finished: bool,
}

impl World {
    pub async fn new() -> Self {
        Self::at(&url(), vec![route()]).await
    }

    /// Creates an environment with the given routes on the shared test server.
    pub async fn with(routes: Vec<RouteName>) -> Self {
        Self::at(&url(), routes).await
    }

    /// Creates an environment on a server that only this test uses.
    pub async fn on(url: &str) -> Self {
        Self::at(url, vec![route()]).await
    }

    /// Creates an environment with the given routes on the server of this URL.
    pub async fn at(url: &str, routes: Vec<RouteName>) -> Self {
        let random = RandomState::new().hash_one(0);
        let environment = format!("test-{random:016x}").parse().unwrap();
        Self {
            environment,
            raw: connect(url).await,
            url: url.to_owned(),
            routes,
            finished: false,
        }
    }

    /// Opens the test's own connection again, after the broker has closed it.
    pub async fn connect_again(&mut self) {
        self.raw = connect(&self.url).await;
    }

    pub fn options(&self) -> Options {
        Options::new(&*self.url, self.environment.clone(), self.routes.clone())
    }

    /// Declares the missing queues, and opens the driver.
    pub async fn open(&self) -> Rabbit {
        open(self.options()).await
    }

    /// Declares the missing queues, as an operator does.
    pub async fn declare_missing(&self) -> Vec<String> {
        declare(&self.options()).await.unwrap().declared
    }

    /// Returns the full name of the route's queue at the broker.
    pub fn queue(&self) -> String {
        format!("hookbox.{}.route.{}", self.environment, route())
    }

    /// Returns the name of the dead-letter queue.
    pub fn dead(&self) -> String {
        format!("hookbox.{}.dead", self.environment)
    }

    /// Declares a queue over the test's own connection, as another client would.
    pub async fn declare(&self, name: &str, arguments: &[(&str, AMQPValue)]) {
        let mut table = FieldTable::default();
        for (key, value) in arguments {
            table.insert((*key).into(), value.clone());
        }
        let channel = self.raw.create_channel().await.unwrap();
        channel
            .queue_declare(name.into(), QueueDeclareOptions::durable(), table)
            .await
            .unwrap();
    }

    /// Deletes a queue, and returns how many messages were in it.
    pub async fn delete(&self, name: &str) -> u32 {
        let channel = self.raw.create_channel().await.unwrap();
        channel
            .queue_delete(name.into(), QueueDeleteOptions::default())
            .await
            .unwrap()
    }

    /// Returns how many messages wait in a queue; `None` when there is no such queue.
    pub async fn waiting(&self, name: &str) -> Option<u32> {
        let channel = self.raw.create_channel().await.unwrap();
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::durable()
        };
        match channel
            .queue_declare(name.into(), passive, FieldTable::default())
            .await
        {
            Ok(queue) => Some(queue.message_count()),
            Err(error) => {
                assert!(error.to_string().contains("NOT_FOUND"), "{error}");
                None
            }
        }
    }

    /// Deletes the queues, and checks that none of them is left.
    pub async fn finish(mut self) {
        delete_topology(&self.options()).await.unwrap();
        let queues = topology(&self.environment, &self.routes).queues;
        assert_eq!(queues.len(), self.routes.len() + 3);
        for queue in queues {
            assert_eq!(self.waiting(&queue.name).await, None, "{}", queue.name);
        }
        self.raw.close(200, "done".into()).await.unwrap();
        self.finished = true;
    }
}

/// Deletes the queues of a test that failed before [`World::finish`].
impl Drop for World {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let options = self.options();
        let removed = std::thread::spawn(move || {
            tokio::runtime::Runtime::new()?.block_on(async {
                let removing = timeout(PATIENCE, delete_topology(&options)).await;
                removing
                    .map_err(std::io::Error::other)?
                    .map_err(std::io::Error::other)
            })
        })
        .join();
        if !matches!(removed, Ok(Ok(()))) {
            eprintln!(
                "the queues of {} may still exist, since their removal failed: {removed:?}",
                self.environment
            );
        }
    }
}

/// Declares the missing queues, and opens the driver.
pub async fn open(options: Options) -> Rabbit {
    declare(&options).await.unwrap();
    Rabbit::open(options).await.unwrap()
}

async fn connect(url: &str) -> Connection {
    Connection::connect(url, ConnectionProperties::default())
        .await
        .unwrap()
}

pub fn route() -> RouteName {
    "scores".parse().unwrap()
}

/// Returns a batch whose bytes are this text. The driver does not read the content.
pub fn batch(text: &str) -> Batch {
    Batch {
        topic: "provider.thing.happened".parse().unwrap(),
        count: 1,
        first_receipt: ReceiptId::from_bytes([7; 16]),
        bytes: text.to_owned().into(),
    }
}

pub async fn subscribe(rabbit: &Rabbit, queue: Queue) -> Box<dyn Subscription> {
    rabbit.subscribe(&queue, 10).await.unwrap()
}

pub async fn next(subscription: &mut dyn Subscription) -> Delivery {
    timeout(PATIENCE, subscription.next())
        .await
        .expect("a delivery must arrive in time")
        .unwrap()
}

/// Receives one message from the route's queue and acknowledges it. The message must have this
/// text.
pub async fn take(rabbit: &Rabbit, text: &str) {
    let mut subscription = subscribe(rabbit, Queue::Route(route())).await;
    let delivery = next(&mut *subscription).await;
    assert_eq!(delivery.bytes, text);
    delivery.ack().await.unwrap();
    subscription.close().await;
}

/// Receives and acknowledges messages until all of the given texts have arrived. Other messages may
/// arrive in between.
pub async fn all_are_there(subscription: &mut dyn Subscription, mut texts: HashSet<String>) {
    while !texts.is_empty() {
        let delivery = next(subscription).await;
        texts.remove(std::str::from_utf8(&delivery.bytes).unwrap());
        delivery.ack().await.unwrap();
    }
}

pub async fn until_ready(rabbit: &Rabbit) {
    eventually("the driver must become ready", async || {
        match rabbit.readiness() {
            Readiness::Ready => Ok(()),
            Readiness::NotReady { why, .. } => Err(why),
        }
    })
    .await;
}

/// Waits until the driver is not ready, and returns the reason. It reads the readiness every few
/// milliseconds, because a driver that recovers at once is not ready only for a moment.
pub async fn until_not_ready(rabbit: &Rabbit) -> String {
    eventually("the driver must become not ready", async || {
        match rabbit.readiness() {
            Readiness::Ready => Err("ready"),
            Readiness::NotReady { why, .. } => Ok(why),
        }
    })
    .await
}
