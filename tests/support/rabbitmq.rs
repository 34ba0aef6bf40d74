//! Private queues for one test, behind a proxy.

use hookbox_driver_rabbitmq::{Options, Rabbit, declare, delete_topology};
use hookbox_event::{EnvironmentName, RouteName};
use hookbox_testkit::proxy::Proxy;

use crate::{random_environment, variable};

pub struct RabbitWorld {
    pub url: String,
    pub proxy: Proxy,
    pub environment: EnvironmentName,
    pub routes: Vec<RouteName>,
    finished: bool,
}

impl RabbitWorld {
    pub async fn new(routes: &[&str]) -> Self {
        let url = variable("HOOKBOX_TEST_AMQP_URL");
        let proxy = Proxy::before(&url).unwrap();
        let routes = routes.iter().map(|route| route.parse().unwrap()).collect();
        Self {
            url,
            proxy,
            environment: random_environment(),
            routes,
            finished: false,
        }
    }

    /// Returns the options of a driver that connects through the proxy.
    pub fn options(&self) -> Options {
        let url = self.proxy.url(&self.url);
        Options::new(url, self.environment.clone(), self.routes.clone())
    }

    pub async fn open(&self) -> Rabbit {
        self.declare().await;
        Rabbit::open(self.options()).await.unwrap()
    }

    /// Declares those queues of the test that do not exist yet.
    pub async fn declare(&self) {
        declare(&self.past()).await.unwrap();
    }

    /// Removes all queues of the test.
    pub async fn finish(mut self) {
        delete_topology(&self.past()).await.unwrap();
        self.finished = true;
    }

    /// Returns the options of a driver that bypasses the proxy.
    fn past(&self) -> Options {
        Options::new(&*self.url, self.environment.clone(), self.routes.clone())
    }
}

impl Drop for RabbitWorld {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // A test that panics must leave no queue behind either. The removal runs on another thread,
        // because blocking on a runtime is not allowed inside the test's runtime.
        let past = self.past();
        let removing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.is_ok_and(|it| it.block_on(delete_topology(&past)).is_ok())
        });
        if !removing.join().unwrap_or(false) {
            eprintln!("the queues of {} could not be removed", self.environment);
        }
    }
}
