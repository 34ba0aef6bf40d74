//! The state that the driver, its tasks and its subscriptions share.

use std::sync::Arc;

use hookbox_driver::Queue;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Options;
use crate::broker::health::Health;
use crate::broker::job::Job;
use crate::broker::notifier::Notifiers;
use crate::file::connect::for_reading;
use crate::file::opened_file::OpenedFile;
use crate::file::readers::Readers;
use crate::file::room::Room;
use crate::file::writer::Writer;

/// How many waiting publishes the channel to the publisher holds. Further publishes wait, within
/// their deadlines, until the channel has space. The limit bounds the memory that a burst uses
/// while the file is locked.
const LINE: usize = 256;

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) file: Arc<OpenedFile>,
    pub(crate) room: Arc<Room>,
    pub(crate) writer: Writer,
    pub(crate) readers: Readers,
    pub(crate) notifiers: Notifiers,
    pub(crate) health: Health,
    pub(crate) jobs: mpsc::Sender<Job>,
    /// Held while due retries are read and published, so that two calls in this process do not
    /// publish the same retry. Two processes may still do so; then the store grants the attempt to
    /// one delivery only.
    pub(crate) requeueing: Mutex<()>,
    /// Cancelled to make the tasks finish their work and end.
    pub(crate) closing: CancellationToken,
    /// Cancelled to make the tasks end at once and leave the file as it is, as if the process had
    /// died.
    pub(crate) abandoned: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    /// Creates the state for an open file. `pinned` is the connection that keeps the file open. It
    /// must have read the file before, and is closed when this state is dropped.
    pub(crate) fn new(
        options: Options,
        file: OpenedFile,
        pinned: SqliteConnection,
    ) -> (Self, mpsc::Receiver<Job>) {
        let file = Arc::new(file);
        let room = Arc::new(Room::of(&options.path));
        let (jobs, line) = mpsc::channel(LINE);
        let queues = options
            .routes
            .iter()
            .map(|route| Queue::Route(route.clone()))
            .chain([Queue::Dead, Queue::Accounts])
            .map(|queue| name(&options, &queue))
            .collect::<Vec<_>>();
        let shared = Self {
            writer: Writer::new(&options, Arc::clone(&file), Arc::clone(&room)),
            readers: Readers::new(&options, Arc::clone(&file), pinned),
            file,
            room,
            notifiers: Notifiers::new(queues),
            health: Health::default(),
            jobs,
            requeueing: Mutex::default(),
            closing: CancellationToken::new(),
            abandoned: CancellationToken::new(),
            tasks: TaskTracker::new(),
            options,
        };
        (shared, line)
    }

    /// Returns the name of a queue in the table. The RabbitMQ driver uses the same names.
    pub(crate) fn queue_name(&self, queue: &Queue) -> String {
        name(&self.options, queue)
    }

    pub(crate) fn read_options(&self) -> SqliteConnectOptions {
        for_reading(&self.options)
    }
}

fn name(options: &Options, queue: &Queue) -> String {
    format!("hookbox.{}.{queue}", options.environment)
}
