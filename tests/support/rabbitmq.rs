//! Queues of a test's own, behind a proxy.

use hookbox_driver_rabbitmq::{Options, Rabbit, delete_topology};
use hookbox_event::{EnvironmentName, RouteName};

use crate::proxy::{Proxy, address_of};
use crate::{random_environment, variable};

pub struct RabbitWorld {
    url: String,
    pub proxy: Proxy,
    pub environment: EnvironmentName,
    pub routes: Vec<RouteName>,
}

impl RabbitWorld {
    pub async fn new(routes: &[&str]) -> Self {
        let url = variable("HOOKBOX_TEST_AMQP_URL");
        let proxy = Proxy::before(address_of(&url)).await;
        let routes = routes.iter().map(|route| route.parse().unwrap()).collect();
        Self {
            url,
            proxy,
            environment: random_environment(),
            routes,
        }
    }

    /// The options through the proxy.
    pub fn options(&self) -> Options {
        let url = self
            .url
            .replacen(&address_of(&self.url), &self.proxy.address(), 1);
        Options::new(url, self.environment.clone(), self.routes.clone())
    }

    pub async fn open(&self) -> Rabbit {
        Rabbit::open(self.options()).await.unwrap()
    }

    /// Removes the queues.
    pub async fn finish(self) {
        let past = Options::new(self.url, self.environment, self.routes);
        delete_topology(&past).await.unwrap();
    }
}
