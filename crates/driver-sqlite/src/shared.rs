//! The state that the driver, its tasks and its subscriptions share.

use std::sync::Arc;

use hookbox_driver::Queue;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Options;
use crate::connect::for_reading;
use crate::health::Health;
use crate::job::Job;
use crate::notifier::Notifiers;
use crate::opened_file::OpenedFile;
use crate::readers::Readers;
use crate::room::Room;
use crate::writer::Writer;

/// How many publishes may wait for the publisher. Further ones wait for a place in the channel,
/// within their deadline. The limit bounds the memory of a burst while the file is locked.
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
    /// Allows one query for due retries at a time in this process; between processes, the fence
    /// decides.
    pub(crate) requeueing: Mutex<()>,
    /// Asks the tasks to finish their work and then to end.
    pub(crate) closing: CancellationToken,
    /// Asks the tasks to end at once and to leave the file as it is, as if the process had died.
    pub(crate) abandoned: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    /// Creates the state for an open file. `pinned` has read the file, and stays open as long as
    /// this state.
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

    /// Returns the name of a queue in the table, the same as at any other broker of hookbox.
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
