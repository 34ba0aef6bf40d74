//! The `Broker` seam over RabbitMQ: passes publishes to the publishers, and creates subscriptions.

use std::sync::Arc;

use async_trait::async_trait;
use hookbox_driver::{
    Batch, Broker, Depth, Fault, FaultKind, NotReadyKind, OpenError, PublishError,
    PublishErrorKind, Queue, Readiness, Subscription,
};
use hookbox_event::{Account, RouteName, Witness};
use lapin::Connection;
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::background::Background;
use crate::connection::{close, connect};
use crate::depth::depth;
use crate::diagnose::late;
use crate::establish::{ConnectResult, establish};
use crate::late_queues::{LateQueues, Probe};
use crate::nodes::Nodes;
use crate::prober::ProbeRequest;
use crate::publisher::{Answer, Reply, Request};
use crate::rejections::Rejections;
use crate::supervisor::Supervisor;
use crate::topology::{accounts_queue, dead_queue, route_queue, witness_queue};
use crate::watch::missing_text;
use crate::{Options, consumer, witnesses};

/// The driver for RabbitMQ as hookbox's broker.
pub struct Rabbit {
    options: Options,
    nodes: Arc<Nodes>,
    requests: mpsc::Sender<Request>,
    probes: mpsc::Sender<ProbeRequest>,
    rejections: Arc<Rejections>,
    late_queues: Arc<LateQueues>,
    messages: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    readiness: watch::Receiver<Readiness>,
    consuming: Mutex<Option<Arc<Connection>>>,
    /// A lock that allows one read of the witness messages at a time in this process, because two
    /// concurrent reads would each get only a part of the messages.
    reading: Arc<Mutex<()>>,
    stop: CancellationToken,
    tasks: TaskTracker,
    runtime: Option<Runtime>,
}

impl Rabbit {
    /// Connects and verifies the queues. If a queue is missing, the driver opens all the same, but
    /// is not ready until [`crate::declare`] has declared that queue; meanwhile the other queues
    /// can be consumed. The AMQP connections run on a small runtime of their own, so that a busy
    /// handler does not delay their heartbeats.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let nodes = Arc::new(Nodes::of(&options)?);
        let runtime = Background::start("hookbox-amqp")?;
        let first = {
            let (options, nodes) = (options.clone(), Arc::clone(&nodes));
            let task = async move { establish(&options, &nodes).await };
            let joined = runtime.handle().spawn(task).await;
            joined.map_err(|error| OpenError::Unavailable {
                what: "the broker",
                source: error.into(),
            })??
        };
        let (first, now) = match first {
            ConnectResult::Whole(opened) => {
                let starting =
                    Readiness::not_ready(NotReadyKind::Starting, "the driver is starting");
                (Some(opened), starting)
            }
            ConnectResult::Missing(queues) => {
                let why = missing_text(&queues);
                (None, Readiness::not_ready(NotReadyKind::Topology, why))
            }
        };
        let (requests, receiver) = mpsc::channel(options.in_flight_max);
        let (probes, probes_receiver) = mpsc::channel(options.in_flight_max);
        let (ready, readiness) = watch::channel(now);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let rejections = Arc::new(Rejections::default());
        let late_queues = Arc::new(LateQueues::default());
        let supervisor = Supervisor {
            options: options.clone(),
            nodes: Arc::clone(&nodes),
            requests: Arc::new(Mutex::new(receiver)),
            probes: Arc::new(Mutex::new(probes_receiver)),
            rejections: Arc::clone(&rejections),
            late_queues: Arc::clone(&late_queues),
            readiness: ready,
            stop: stop.clone(),
        };
        tasks.spawn_on(supervisor.run(first), &runtime.handle());
        let mut watching = readiness.clone();
        // `wait_for` fails only when the supervisor has ended. That is no error here, because the
        // supervisor sets the readiness before it ends.
        let _ = watching.wait_for(has_begun).await;
        Ok(Self {
            messages: Arc::new(Semaphore::new(options.in_flight_max)),
            bytes: Arc::new(Semaphore::new(options.in_flight_bytes_max)),
            options,
            nodes,
            requests,
            probes,
            rejections,
            late_queues,
            readiness,
            consuming: Mutex::new(None),
            reading: Arc::default(),
            stop,
            tasks,
            runtime: runtime.keep(),
        })
    }

    fn queue_name(&self, queue: &Queue) -> String {
        match queue {
            Queue::Route(route) => route_queue(&self.options.environment, route),
            Queue::Dead => dead_queue(&self.options.environment),
            Queue::Accounts => accounts_queue(&self.options.environment),
            Queue::Witness => witness_queue(&self.options.environment),
        }
    }

    /// Publishes one message to each queue, and waits for the confirms.
    async fn send(&self, queues: Vec<String>, batch: Batch) -> Result<(), PublishError> {
        if let Readiness::NotReady { kind, why } = self.readiness() {
            match kind {
                NotReadyKind::Alarm => return Err(PublishError::plain(PublishErrorKind::Blocked)),
                // The broker has rejected every publish for some time. This publish is tried all
                // the same, because only a publish shows when the broker accepts publishes again.
                NotReadyKind::Refused if self.rejections.is_shown() => {}
                NotReadyKind::Starting
                | NotReadyKind::Unreachable
                | NotReadyKind::Topology
                | NotReadyKind::Refused
                | NotReadyKind::Storage
                | NotReadyKind::Closing => return Err(unavailable(why)),
            }
        }
        match timeout(self.options.confirm_deadline, self.request(queues, batch)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(PublishError::plain(PublishErrorKind::TimedOut)),
        }
    }

    /// Passes a batch to a publisher, or to the prober if it is the probe of a queue that is held
    /// back, and waits for the result.
    async fn request(&self, mut queues: Vec<String>, mut batch: Batch) -> Result<(), PublishError> {
        loop {
            let probe = self.late_queues.enter(&queues).await;
            let probe = probe.inspect_err(|_| self.rejections.rejected(Instant::now()))?;
            match self.pass(queues, batch, probe).await? {
                Answer::Published(result) => return result,
                // A queue became late after `enter`.
                Answer::HeldBack(not_published, same) => (queues, batch) = (not_published, same),
            }
        }
    }

    async fn pass(
        &self,
        queues: Vec<String>,
        batch: Batch,
        probe: Option<Probe>,
    ) -> Result<Answer, PublishError> {
        // A batch that is larger than the limit takes all permits of the limit, so it is published
        // while no other batch is.
        let messages = permits(queues.len(), self.options.in_flight_max);
        let total = batch.bytes.len() * queues.len();
        let bytes = permits(total, self.options.in_flight_bytes_max);
        let closed = |_| unavailable("the driver is closed");
        let messages = Arc::clone(&self.messages)
            .acquire_many_owned(messages)
            .await;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(bytes).await;
        let room = (messages.map_err(closed)?, bytes.map_err(closed)?);
        let (answer, answered) = oneshot::channel();
        let request = Request {
            queues,
            batch,
            reply: Reply { answer, room },
        };
        let gone = || unavailable("the connection was lost during the publish");
        match probe {
            None => self.requests.send(request).await.map_err(|_| gone())?,
            Some(probe) => {
                let request = ProbeRequest { request, probe };
                self.probes.send(request).await.map_err(|_| gone())?;
            }
        }
        answered.await.map_err(|_| gone())
    }

    /// Runs an operation of lapin on the runtime for AMQP. When the returned future is dropped, the
    /// operation still runs to its end: lapin's operations must not be cancelled half-way.
    async fn on_amqp<T: Send + 'static>(
        &self,
        doing: &str,
        operation: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        let doing = format!("{doing}: the driver is closed");
        let closed = || Fault::plain(FaultKind::Unavailable, doing.clone());
        let Some(runtime) = &self.runtime else {
            return Err(closed());
        };
        self.tasks
            .spawn_on(operation, runtime.handle())
            .await
            .map_err(|_| closed())?
    }

    /// Returns the connection for consuming, and opens it if it is not open. Publishing has another
    /// connection, because the broker may block that connection, and acknowledgements must be
    /// written even then.
    async fn consuming(&self) -> Result<Arc<Connection>, Fault> {
        let mut held = self.consuming.lock().await;
        let closed = || {
            let doing = "connect to the broker for consuming: the driver is closed";
            Fault::plain(FaultKind::Unavailable, doing)
        };
        if self.stop.is_cancelled() {
            return Err(closed());
        }
        if let Some(connection) = held.as_ref().filter(|it| it.status().connected()) {
            return Ok(Arc::clone(connection));
        }
        let (options, nodes) = (self.options.clone(), Arc::clone(&self.nodes));
        let doing = "connect to the broker for consuming";
        let connecting = self.on_amqp(doing, async move {
            connect(&options, &nodes, "consume")
                .await
                .map_err(|error| Fault::new(FaultKind::Unavailable, doing, error))
        });
        let connection = tokio::select! {
            connected = connecting => connected?,
            // `close` waits for the lock that this call holds, so this call must end as soon as the
            // driver closes.
            () = self.stop.cancelled() => return Err(closed()),
        };
        let connection = Arc::new(connection);
        *held = Some(Arc::clone(&connection));
        Ok(connection)
    }
}

#[async_trait]
impl Broker for Rabbit {
    async fn publish(&self, routes: &[RouteName], batch: &Batch) -> Result<(), PublishError> {
        let known = |route: &RouteName| self.options.routes.contains(route);
        if routes.is_empty() || !routes.iter().all(known) {
            // A publish to no route would publish nothing and return `Ok`. For a publish to an
            // unknown route, the broker would return the message, and the driver would then close
            // the connection, over which other callers publish too.
            return Err(PublishError::plain(PublishErrorKind::Unroutable));
        }
        let queues = routes
            .iter()
            .map(|route| route_queue(&self.options.environment, route))
            .collect();
        self.send(queues, batch.clone()).await
    }

    async fn publish_report(&self, account: &Account) -> Result<(), PublishError> {
        let queue = accounts_queue(&self.options.environment);
        self.send(vec![queue], Batch::of_account(account)).await
    }

    async fn publish_witness(&self, witness: &Witness) -> Result<(), PublishError> {
        let queue = witness_queue(&self.options.environment);
        self.send(vec![queue], Batch::of_witness(witness)).await
    }

    async fn witnesses(&self) -> Result<Vec<Witness>, Fault> {
        let connection = self.consuming().await?;
        let queue = witness_queue(&self.options.environment);
        let (deadline, reading) = (self.options.connect_deadline, Arc::clone(&self.reading));
        self.on_amqp("read the witnesses", async move {
            let _alone = reading.lock().await;
            witnesses::read(&connection, &queue, deadline).await
        })
        .await
    }

    async fn subscribe(
        &self,
        queue: &Queue,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, Fault> {
        let beginning = consumer::Beginning {
            connection: self.consuming().await?,
            account: self.nodes.account().clone(),
            queue: self.queue_name(queue),
            prefetch,
            options: self.options.clone(),
            tasks: self.tasks.clone(),
            stop: self.stop.clone(),
        };
        let doing = format!("subscribe to {}", beginning.queue);
        let subscribing = consumer::subscribe(beginning);
        let subscription = self.on_amqp(&doing, subscribing).await?;
        Ok(Box::new(subscription))
    }

    async fn depths(&self) -> Result<Vec<Depth>, Fault> {
        let connection = self.consuming().await?;
        let routes = self.options.routes.iter().cloned().map(Queue::Route);
        let queues: Vec<(Queue, String)> = routes
            .chain([Queue::Dead, Queue::Accounts])
            .map(|queue| {
                let name = self.queue_name(&queue);
                (queue, name)
            })
            .collect();
        let deadline = self.options.connect_deadline;
        self.on_amqp("read the depths of the queues", async move {
            let read = async {
                let mut depths = Vec::with_capacity(queues.len());
                for (queue, name) in queues {
                    depths.push(depth(&connection, queue, name).await?);
                }
                Ok(depths)
            };
            let late = |_| Err(late("read the depths of the queues"));
            timeout(deadline, read).await.unwrap_or_else(late)
        })
        .await
    }

    fn readiness(&self) -> Readiness {
        self.readiness.borrow().clone()
    }

    async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        // The settlements that were requested are written before the connection for consuming is
        // closed. The supervisor closes the publishing connection within its own deadline.
        let _ = timeout(self.options.close_deadline * 2, self.tasks.wait()).await;
        let consuming = self.consuming.lock().await.take();
        if let (Some(connection), Some(runtime)) = (consuming, &self.runtime) {
            let deadline = self.options.close_deadline;
            // Subscriptions that use this connection will get a fault from their next call.
            let closing = async move { close(&connection, deadline).await };
            let _ = runtime.spawn(closing).await;
        }
    }
}

/// Returns whether the first attempt to connect has ended, whether it succeeded or failed.
fn has_begun(readiness: &Readiness) -> bool {
    match readiness {
        Readiness::Ready => true,
        Readiness::NotReady { kind, .. } => *kind != NotReadyKind::Starting,
    }
}

fn unavailable(why: impl Into<String>) -> PublishError {
    PublishError::new(PublishErrorKind::Unavailable, why.into())
}

fn permits(wanted: usize, bound: usize) -> u32 {
    u32::try_from(wanted.min(bound)).unwrap_or(u32::MAX)
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        self.stop.cancel();
        drop(Background(self.runtime.take()));
    }
}
