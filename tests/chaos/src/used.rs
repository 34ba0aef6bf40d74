//! I14: what processes use of the machine, read from /proc: all the time by a thread of its own,
//! as what grows while a server is unavailable may be released when it has recovered, and compared
//! once all is healed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hookbox_testkit::servers::process::wait_until;

use crate::fault::pause;

/// Most threads of a process, also while a server is unavailable: two runtimes on two cores, a
/// driver's own, and their blocking pools are 14. One that is lost with each attempt to connect
/// soon shows.
const THREADS_MAX: usize = 24;

/// Most open files of a process: the load's connections, pools, and what is just being closed.
const FILES_MAX: usize = 256;

/// Most memory of a process, in MiB. Ingest may hold 64 MiB of bodies and as much that is not
/// confirmed, a worker a batch for each of its slots; a debug build itself takes some 60.
const MEMORY_MAX: usize = 256;

/// More threads than before the faults, that are no leak: pools grow to their bounds.
const THREADS_MORE_MAX: usize = 12;

/// More open files than before the faults, that are no leak: connections of the load and pools.
const FILES_MORE_MAX: usize = 64;

/// More memory than before the faults, in MiB, that is no leak: what the allocator keeps of the
/// load's peak, in an arena for each thread.
const MEMORY_MORE_MAX: usize = 96;

/// Until what was needed during the faults is given back.
const GIVEN_BACK_MAX: Duration = Duration::from_secs(30);

/// How often a process is sampled.
const LOOK: Duration = Duration::from_millis(100);

/// The processes of a world by their names, as they come and go.
pub type LiveProcesses = Arc<Mutex<BTreeMap<&'static str, u32>>>;

/// What a process uses, or the most of each that any did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    pub threads: usize,
    pub files: usize,
    /// In MiB.
    pub memory: usize,
}

impl Used {
    /// By a process, while it runs.
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

    /// The most of both.
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

/// The character of a process's state.
pub fn state(process: u32) -> Option<char> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    text.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Samples all processes of a world until it is stopped.
pub struct Watch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<BTreeMap<&'static str, Used>>>,
}

impl Watch {
    /// Starts to sample.
    ///
    /// # Errors
    /// When there is no thread to be had.
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
            thread: Some(thread.context("starting the thread that samples")?),
        })
    }

    /// Ends it, and gives the most that any process used.
    ///
    /// # Errors
    /// When that was more than it may be.
    pub fn end(mut self) -> Result<Used> {
        self.over.store(true, Ordering::SeqCst);
        let most = self.thread.take().and_then(|thread| thread.join().ok());
        let most = most.context("the thread that samples panicked")?;
        ensure!(!most.is_empty(), "no process was ever seen");
        for (name, used) in &most {
            ensure!(
                used.is_within(THREADS_MAX, FILES_MAX, MEMORY_MAX),
                "I14: {name} had up to {} threads, {} open files and {} MiB",
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

/// What each process of a world uses now, by its name and id.
pub fn now(living: &LiveProcesses) -> BTreeMap<(&'static str, u32), Used> {
    let processes = lock(living).clone().into_iter();
    let used = processes.filter_map(|(name, id)| Some(((name, id), Used::by(id)?)));
    used.collect()
}

/// Of every process that lived through it, nothing has leaked.
///
/// # Errors
/// When one does not give back what it took.
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
            "I14: {name} had {was:?} before the faults, and has {now:?} after them"
        );
        pause(500);
    }
}

/// The processes, also after a thread has panicked.
pub fn lock(living: &LiveProcesses) -> MutexGuard<'_, BTreeMap<&'static str, u32>> {
    living.lock().unwrap_or_else(PoisonError::into_inner)
}
