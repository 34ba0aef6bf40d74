//! Runs one fuzzing target. Threads mutate inputs and pass them to the parser. An input for which
//! the parser's result has a new class, such as another kind of error, is kept and mutated further.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hookbox_testkit::chance::Chance;

use crate::corpus;
use crate::minimise::minimise;
use crate::mutate::mutate;
use crate::target::{Named, Target};

/// The time that the parser may take for one input. An ordinary input takes microseconds. With an
/// input that takes longer than this limit, an attacker could keep hookbox busy.
const INPUT_MAX: Duration = Duration::from_secs(2);

/// The time after which the parser is assumed never to return, and the process is ended. When the
/// parser returns between [`INPUT_MAX`] and this time, the input is reported as an ordinary
/// failure.
const ENDLESS: Duration = Duration::from_secs(20);

/// The interval at which the threads are checked for an input on which the parser does not return.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The most inputs that a thread keeps for further mutation. When it has as many, a new input
/// replaces a random one.
const POOL_MAX: usize = 4_096;

/// The number of tried inputs after which a thread prints the progress.
const TELL_EVERY: u64 = 1_000_000;

/// The target and the settings of a run.
pub struct Engine<'a> {
    pub target: &'a Named,
    pub seed: u64,
    pub threads: u8,
    pub runs: u64,
}

/// The result of a run.
pub struct RunResult {
    pub runs: u64,
    /// How many different classes of results, such as kinds of errors, the parser returned for the
    /// inputs.
    pub classes: usize,
    pub seconds: f64,
    pub failure: Option<Failure>,
}

/// An input that fails, and the reason.
pub struct Failure {
    pub why: String,
    pub file: PathBuf,
}

/// The input that a thread is passing to the parser, with the time when the call began; `None`
/// between two inputs.
type Trying = Mutex<Option<(Instant, Vec<u8>)>>;

struct Shared {
    runs: AtomicU64,
    over: AtomicBool,
    classes: Mutex<HashSet<u64>>,
    failure: Mutex<Option<(Vec<u8>, String)>>,
    /// The input that each thread passes to the parser at the moment, to find an input on which the
    /// parser does not return.
    trying: Vec<Trying>,
}

impl Engine<'_> {
    /// Passes one input to the parser, and returns the result.
    pub fn one(&self, input: &[u8]) -> RunResult {
        let began = Instant::now();
        let mut target = (self.target.make)();
        let tried = attempt(&mut *target, input);
        RunResult {
            runs: 1,
            classes: 1,
            seconds: began.elapsed().as_secs_f64(),
            failure: tried.err().map(|why| Failure {
                why,
                file: PathBuf::from("the same file"),
            }),
        }
    }

    /// Passes the requested number of inputs to the parser, and returns the result.
    ///
    /// # Errors
    /// When the corpus cannot be read, or a failing input cannot be written.
    pub fn run(&self) -> Result<RunResult> {
        let corpus = corpus::read(self.target.name)?;
        let began = Instant::now();
        let shared = Shared {
            runs: AtomicU64::new(0),
            over: AtomicBool::new(false),
            classes: Mutex::default(),
            failure: Mutex::new(None),
            trying: (0..self.threads).map(|_| Mutex::default()).collect(),
        };
        thread::scope(|scope| {
            let threads = (0..self.threads).map(|number| {
                let (shared, corpus) = (&shared, &corpus);
                scope.spawn(move || self.thread(number, corpus.clone(), shared))
            });
            let threads: Vec<_> = threads.collect();
            while threads.iter().any(|thread| !thread.is_finished()) {
                thread::park_timeout(LOOK_EVERY);
                if let Some(input) = endless(&shared.trying, Instant::now()) {
                    self.give_up(&input);
                }
            }
        });
        let classes = lock(&shared.classes).len();
        let failure = lock(&shared.failure).take();
        let failure = failure.map(|(input, why)| self.keep(&input, why));
        Ok(RunResult {
            runs: shared.runs.load(Ordering::Relaxed),
            classes,
            seconds: began.elapsed().as_secs_f64(),
            failure: failure.transpose()?,
        })
    }

    fn thread(&self, number: u8, mut pool: Vec<Vec<u8>>, shared: &Shared) {
        let mut chance = Chance::new(self.seed ^ (u64::from(number) << 56));
        let mut target = (self.target.make)();
        pool.extend(target.seeds());
        let words = target.words();
        let mut seen = HashSet::new();
        // Each thread tries the inputs of the corpus before it mutates any.
        let first = pool.clone();
        let own = self.runs / u64::from(self.threads) + 1;
        for run in 0..own.max(first.len() as u64) {
            if shared.over.load(Ordering::Relaxed) {
                return;
            }
            let input = match first.get(usize::try_from(run).unwrap_or(usize::MAX)) {
                Some(input) => input.clone(),
                None => {
                    let before: &Vec<u8> = chance.one_of(&pool);
                    mutate(before, &pool, &words, &mut chance)
                }
            };
            let trying = &shared.trying[usize::from(number)];
            *lock(trying) = Some((Instant::now(), input.clone()));
            let tried = attempt(&mut *target, &input);
            *lock(trying) = None;
            match tried {
                Ok(class) => {
                    if seen.insert(class) {
                        lock(&shared.classes).insert(class);
                        remember(&mut pool, input, &mut chance);
                    }
                }
                Err(why) => {
                    shared.over.store(true, Ordering::Relaxed);
                    lock(&shared.failure).get_or_insert((input, why));
                    return;
                }
            }
            let runs = shared.runs.fetch_add(1, Ordering::Relaxed) + 1;
            if runs.is_multiple_of(TELL_EVERY) {
                eprintln!("{}: {runs} of {} inputs", self.target.name, self.runs);
            }
        }
    }

    /// Reports an input on which the parser does not return, and ends the process, because a thread
    /// in an endless loop cannot be stopped in any other way.
    fn give_up(&self, input: &[u8]) -> ! {
        let name = self.target.name;
        println!("FAILED {name}: the parser has not returned after {ENDLESS:?}");
        match self.write(input) {
            Ok(file) => println!(
                "repeat it with: cargo xtask fuzz --target {name} --input {}",
                file.display()
            ),
            Err(error) => println!(
                "the input cannot be written: {error:#}; repeat with --target {name} --seed {}",
                self.seed
            ),
        }
        std::process::exit(1)
    }

    /// Shortens a failing input as long as it still fails, and writes the result to a file.
    fn keep(&self, input: &[u8], why: String) -> Result<Failure> {
        let mut target = (self.target.make)();
        let short = minimise(input, |shorter| attempt(&mut *target, shorter).is_err());
        let file = self.write(&short)?;
        Ok(Failure { why, file })
    }

    fn write(&self, input: &[u8]) -> Result<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz");
        std::fs::create_dir_all(&folder).context("making target/fuzz")?;
        let file = folder.join(format!("{}-{}", self.target.name, self.seed));
        std::fs::write(&file, input).with_context(|| format!("writing {}", file.display()))?;
        Ok(file)
    }
}

/// Returns an input that a thread has been trying for longer than [`ENDLESS`].
fn endless(trying: &[Trying], now: Instant) -> Option<Vec<u8>> {
    trying.iter().find_map(|it| {
        let trying = lock(it);
        let (since, input) = trying.as_ref()?;
        (now.saturating_duration_since(*since) > ENDLESS).then(|| input.clone())
    })
}

/// Tries an input. Returns the class of the parser's result, or the reason why that result is a
/// failure of the parser.
pub fn attempt(target: &mut dyn Target, input: &[u8]) -> Result<u64, String> {
    let began = Instant::now();
    let tried = catch_unwind(AssertUnwindSafe(|| target.attempt(input)));
    let class = tried.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        Err(format!("the parser panicked: {}", text.unwrap_or_default()))
    })?;
    if began.elapsed() > INPUT_MAX {
        return Err(format!("the input took {:?}", began.elapsed()));
    }
    Ok(class)
}

fn remember(pool: &mut Vec<Vec<u8>>, input: Vec<u8>, chance: &mut Chance) {
    if pool.len() < POOL_MAX {
        pool.push(input);
    } else {
        let place = chance.between(0, POOL_MAX as u64 - 1);
        pool[usize::try_from(place).unwrap_or(0)] = input;
    }
}

fn lock<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
