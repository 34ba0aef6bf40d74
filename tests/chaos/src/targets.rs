//! The targets of the external calls of a case: a service to which the handler `forward` posts, and
//! an exchange to which the handler `publish` publishes. They keep every call for the checker.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use hookbox_testkit::receiver::{Answer, Received, Receiver};
use hookbox_testkit::servers::ports;
use tokio::runtime::Runtime;

use crate::target_call::TargetCall;
use crate::target_exchange::TargetExchange;
use crate::user_route::{TargetAddresses, UserRoute, UserRoutes};

/// The calls to one target. For each uid of an applicant, they are in the order in which the target
/// received them.
pub type CallsByUid = BTreeMap<String, Vec<TargetCall>>;

/// The targets of the user routes of a case.
pub struct Targets {
    routes: UserRoutes,
    // Rust drops fields in the order of their declaration. The service must end before the runtime
    // on which it runs, so it is declared first.
    service: Option<Receiver>,
    runtime: Option<Runtime>,
    exchange: Option<TargetExchange>,
    calls: BTreeMap<UserRoute, CallsByUid>,
}

/// How the service to which `forward` posts behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceMode {
    /// The service takes every event immediately.
    Well,
    /// The service takes every event after this time.
    Slow(Duration),
    /// The service refuses connections.
    Down,
    /// The service accepts requests and never answers them.
    Unresponsive,
    /// The service answers with this status. Headers may follow the status, each after `\r\n`.
    Declining(&'static str),
}

impl Targets {
    /// Starts the targets of these routes. `broker` is the URL of the broker; `None` if the broker
    /// is not RabbitMQ.
    ///
    /// # Errors
    /// When the service cannot listen, or the broker refuses the exchange.
    pub fn start(routes: UserRoutes, broker: Option<&str>) -> Result<Self> {
        let mut targets = Self {
            routes,
            service: None,
            runtime: None,
            exchange: None,
            calls: BTreeMap::new(),
        };
        if routes.has(UserRoute::Forward) {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("target")
                .enable_all()
                .build()
                .context("building an async runtime for the service to which `forward` posts")?;
            let started = runtime.block_on(Receiver::start(answer_of(ServiceMode::Well)));
            let started = started.context("starting the service to which `forward` posts")?;
            targets.service = Some(started);
            targets.runtime = Some(runtime);
        }
        if routes.has(UserRoute::Publish) {
            let broker = broker.context("the handler `publish` needs RabbitMQ as broker")?;
            let name = format!("target-{}", &ports::random_name()?[..12]);
            let exchange = TargetExchange::declare(broker, &name);
            let exchange = exchange.context("declaring the exchange for `publish`")?;
            targets.exchange = Some(exchange);
        }
        Ok(targets)
    }

    /// Returns the user routes of the case.
    pub fn routes(&self) -> &UserRoutes {
        &self.routes
    }

    /// Returns the sections of the config for the user routes.
    pub fn config(&self) -> String {
        let url = self.service.as_ref().map(Receiver::url);
        self.routes.config(&TargetAddresses {
            url: &url.unwrap_or_default(),
            exchange: self.exchange.as_ref().map_or("", TargetExchange::name),
        })
    }

    /// Sets how the service behaves from now on. It answers earlier requests as before.
    pub fn set(&self, mode: ServiceMode) {
        let Some(service) = &self.service else {
            return;
        };
        service.answer(answer_of(mode));
        service.set_down(mode == ServiceMode::Down);
    }

    /// Reads the calls that the targets have received since the previous reading.
    ///
    /// # Errors
    /// When the exchange's queue cannot be read.
    pub fn gather(&mut self) -> Result<()> {
        self.gather_requests();
        if let Some(exchange) = &self.exchange {
            let messages = exchange
                .take()
                .context("reading the messages of `publish` from their queue")?;
            for message in &messages {
                self.add(UserRoute::Publish, TargetCall::of_message(message));
            }
        }
        Ok(())
    }

    /// Returns how many requests the service has received that were not read yet.
    pub fn requests(&self) -> u64 {
        let service = self.service.as_ref();
        service.map_or(0, |service| service.count() as u64)
    }

    /// Reads the requests that the service has received since the previous reading, and returns
    /// their number.
    pub fn gather_requests(&mut self) -> usize {
        let taken = self.service.as_ref().map(Receiver::take);
        let taken = taken.unwrap_or_default();
        for (received, answer) in &taken {
            self.add(
                UserRoute::Forward,
                TargetCall::of_request(received, *answer),
            );
        }
        taken.len()
    }

    fn add(&mut self, route: UserRoute, call: TargetCall) {
        let calls = self.calls.entry(route).or_default();
        calls.entry(call.uid.clone()).or_default().push(call);
    }

    /// Returns the calls of a route that were read so far: for each uid of an applicant, its calls.
    pub fn calls(&self, route: UserRoute) -> impl Iterator<Item = (&str, &[TargetCall])> {
        let calls = self.calls.get(&route).into_iter().flatten();
        calls.map(|(uid, calls)| (uid.as_str(), calls.as_slice()))
    }

    /// Returns the calls of a route for one uid of an applicant that were read so far.
    pub fn calls_of(&self, route: UserRoute, uid: &str) -> &[TargetCall] {
        let calls = self.calls.get(&route).and_then(|calls| calls.get(uid));
        calls.map_or(&[][..], Vec::as_slice)
    }

    /// Returns how many of the calls of a route that were read so far repeat an earlier call for
    /// the same event.
    pub fn repeated(&self, route: UserRoute) -> usize {
        let calls = self.calls(route);
        calls.map(|(_, calls)| calls.len().saturating_sub(1)).sum()
    }

    /// Forgets the calls that were read so far. A case that runs for hours must do this, because
    /// its calls would need too much memory.
    pub fn forget(&mut self) {
        self.calls.clear();
    }
}

/// Returns how a service in this mode answers. A service that is down still answers the requests
/// that arrived before it went down.
fn answer_of(mode: ServiceMode) -> impl Fn(&Received, usize) -> Answer + Send + Sync + 'static {
    let answer = match mode {
        ServiceMode::Well | ServiceMode::Down => Answer::Status("200 OK"),
        ServiceMode::Slow(time) => Answer::Late(time, "200 OK"),
        ServiceMode::Unresponsive => Answer::Nothing,
        ServiceMode::Declining(status) => Answer::Status(status),
    };
    move |_, _| answer
}
