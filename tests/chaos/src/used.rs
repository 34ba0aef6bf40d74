//! Checks invariant I14, that the threads, open files and memory of processes stay within their
//! limits. The numbers are those of /proc. A thread samples them all the time, because usage that
//! grows while a server is unavailable may be gone once the server has recovered. After the faults
//! the usage is compared with that before them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hookbox_testkit::servers::process::wait_until;

use crate::fault::pause;

/// The most threads that a process may have, also while a server is unavailable. Two async runtimes
/// on two cores, the threads of a driver and the blocking pools need 14 threads. If each attempt to
/// connect leaked a thread, the limit would soon be exceeded.
const THREADS_MAX: usize = 24;

/// The most open files that a process may have: connections of the load, connection pools, and
/// files that are just being closed.
const FILES_MAX: usize = 256;

/// The most memory in MiB that a process may use. Ingest may hold 64 MiB of bodies and 64 MiB of
/// unconfirmed publishes, and a worker one batch for each transaction that it runs at once. A debug
/// build itself takes about 60 MiB.
const MEMORY_MAX: usize = 256;

/// How many more threads a process may have after the faults than before them. A difference up to
/// this number is not a leak, because pools of threads grow to their limits under load.
const THREADS_MORE_MAX: usize = 12;

/// How many more open files a process may have after the faults than before them. A difference up
/// to this number is not a leak: it comes from connections of the load and of the pools.
const FILES_MORE_MAX: usize = 64;

/// How many more MiB of memory a process may use after the faults than before them. A difference up
/// to this number is not a leak: the allocator keeps memory from the peak of the load for each
/// thread.
const MEMORY_MORE_MAX: usize = 96;

/// The time within which a process must release the threads, files and memory that it needed only
/// during the faults.
const GIVEN_BACK_MAX: Duration = Duration::from_secs(30);

/// The interval at which processes are sampled.
const LOOK: Duration = Duration::from_millis(100);

/// The process ids of the running processes of a case, by the names of the services.
pub type LiveProcesses = Arc<Mutex<BTreeMap<&'static str, u32>>>;

/// The resources that a process uses, or the maximum of each over several processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    pub threads: usize,
    pub files: usize,
    /// The resident memory in MiB.
    pub memory: usize,
}

impl Used {
    /// Reads the resources of a process. Returns `None` when the process has ended.
    pub fn by(process: u32) -> Option<Self> {
        let count = |what| {
            let folder = format!("/proc/{process}/{what}");
            std::fs::read_dir(folder).ok().map(Iterator::count)
        };
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
        let kibibytes: usize = line.split_whitespace().next()?.parse().ok()?;
        Some(Self {
            threads: count("task")?,
            files: count("fd")?,
            memory: kibibytes.div_ceil(1024),
        })
    }

    /// Returns the larger of the two values of each resource.
    pub fn most(self, other: Self) -> Self {
        Self {
            threads: self.threads.max(other.threads),
            files: self.files.max(other.files),
            memory: self.memory.max(other.memory),
        }
    }

    fn is_within(self, threads: usize, files: usize, memory: usize) -> bool {
        self.threads <= threads && self.files <= files && self.memory <= memory
    }
}

/// Returns the character of the state of a process, such as `T` for stopped.
pub fn state(process: u32) -> Option<char> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    text.rsplit_once(')')?.1.trim_start().chars().next()
}

/// A thread that samples what all processes of a case use.
pub struct Watch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<BTreeMap<&'static str, Used>>>,
}

impl Watch {
    /// Starts the thread that samples these processes.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn over(living: &LiveProcesses) -> Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let (living, stop) = (Arc::clone(living), Arc::clone(&over));
        let thread = std::thread::Builder::new().name("watch".into());
        let thread = thread.spawn(move || {
            let mut most: BTreeMap<&'static str, Used> = BTreeMap::new();
            while !stop.load(Ordering::SeqCst) {
                let now: Vec<_> = lock(&living).clone().into_iter().collect();
                for (name, used) in now
                    .into_iter()
                    .filter_map(|(name, process)| Used::by(process).map(|used| (name, used)))
                {
                    let before = most.entry(name).or_default();
                    *before = before.most(used);
                }
                wait_until(LOOK, || stop.load(Ordering::SeqCst));
            }
            most
        });
        Ok(Self {
            over,
            thread: Some(
                thread.context("starting the thread that samples the resources of processes")?,
            ),
        })
    }

    /// Stops the thread, and returns the maximum of each resource over all processes.
    ///
    /// # Errors
    /// When a process exceeded a limit.
    pub fn end(mut self) -> Result<Used> {
        self.over.store(true, Ordering::SeqCst);
        let most = self.thread.take().and_then(|thread| thread.join().ok());
        let most = most.context("the thread that samples the resources of processes panicked")?;
        ensure!(
            !most.is_empty(),
            "the thread that samples resources must find a running process, but found none"
        );
        for (name, used) in &most {
            ensure!(
                used.is_within(THREADS_MAX, FILES_MAX, MEMORY_MAX),
                "I14: {name} exceeded a limit: up to {} threads, {} open files and {} MiB",
                used.threads,
                used.files,
                used.memory
            );
        }
        Ok(most.into_values().fold(Used::default(), Used::most))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// Returns the resources that each running process of a case uses now, by name and process id.
pub fn now(living: &LiveProcesses) -> BTreeMap<(&'static str, u32), Used> {
    let processes = lock(living).clone().into_iter();
    let used = processes.filter_map(|(name, id)| Some(((name, id), Used::by(id)?)));
    used.collect()
}

/// Waits until each process uses about as much memory, as many threads and as many files as before
/// the faults. Processes that were restarted since `before` was taken are left out.
///
/// # Errors
/// When a process still uses much more than before the faults.
pub fn given_back(
    living: &LiveProcesses,
    before: &BTreeMap<(&'static str, u32), Used>,
) -> Result<()> {
    let began = Instant::now();
    loop {
        let now = now(living);
        let more = now.iter().find_map(|(key, now)| {
            let was = before.get(key)?;
            let bounded = now.is_within(
                was.threads + THREADS_MORE_MAX,
                was.files + FILES_MORE_MAX,
                was.memory + MEMORY_MORE_MAX,
            );
            (!bounded).then_some((key.0, was, *now))
        });
        let Some((name, was, now)) = more else {
            return Ok(());
        };
        ensure!(
            began.elapsed() < GIVEN_BACK_MAX,
            "I14: {name} still uses {now:?} after the faults, much more than before: {was:?}"
        );
        pause(500);
    }
}

/// Locks the map of processes, even after another thread has panicked.
pub fn lock(living: &LiveProcesses) -> MutexGuard<'_, BTreeMap<&'static str, u32>> {
    living.lock().unwrap_or_else(PoisonError::into_inner)
}
