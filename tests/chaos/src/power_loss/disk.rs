//! A recording of all writes and syncs to one SQLite file, from which the contents of the disk
//! after a power failure are computed. The recorder is `tests/chaos/power_loss/disk.c`.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hookbox_testkit::chance::Chance;

use crate::repository::path;
use crate::world::World;

/// The name of the recording. It is a file in the folder of the case.
const LOG: &str = "disk.done";

/// The bytes of the header of an operation: its kind, its file, its position and its length, as
/// `disk.c` writes them.
const HEADER: usize = 24;

/// Which unsynced writes survive a power failure. The operating system promises nothing about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survivors {
    Nothing,
    Everything,
    /// All earlier writes survive, and the first half of the last write of each file.
    Torn,
    /// Some later writes survive without earlier ones.
    Holes,
}

/// The two files of a database: the database itself, and its write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    Database,
    Log,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Write,
    Truncate,
    /// Makes all writes before a position of the recording durable.
    Sync,
}

/// One recorded operation on one of the two files of the database.
#[derive(Debug)]
struct Done {
    what: What,
    file: File,
    /// A number of bytes. For a write it is the position in the file, and for a truncation the new
    /// length of the file. For a sync it is the position in the recording before which all writes
    /// are durable.
    at: u64,
    bytes: Vec<u8>,
    /// The position of the operation in the recording.
    place: u64,
}

/// The contents of the database file and of its write-ahead log.
#[derive(Debug, Default)]
pub struct Files {
    pub database: Vec<u8>,
    pub log: Vec<u8>,
    /// The number of unsynced writes at the power failure. The field `kept` is the number of these
    /// writes that survived.
    pub unsynced: usize,
    pub kept: usize,
}

/// The disk of a case. Every process of the case loads a library that records the operations on the
/// disk.
pub struct Disk {
    /// The contents of the two files when the recording started.
    before: Files,
}

impl Survivors {
    /// All variants.
    pub const ALL: [Survivors; 4] = [
        Survivors::Nothing,
        Survivors::Everything,
        Survivors::Torn,
        Survivors::Holes,
    ];
}

impl Disk {
    /// Builds the library that records the disk operations, and makes every process of the case
    /// load it. No process may run yet, because the recording must begin with the first operation.
    ///
    /// # Errors
    /// When there is no C compiler, or the file cannot be read.
    pub fn under(world: &mut World) -> Result<Self> {
        let library = world.path("disk.so");
        let output = Command::new("cc")
            .args([
                "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o",
            ])
            .arg(&library)
            .arg(path("tests/chaos/power_loss/disk.c"))
            .args(["-ldl", "-pthread"])
            .output()
            .context("running cc")?;
        ensure!(
            output.status.success(),
            "disk.c does not build: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let database = world.path("hookbox.db");
        for (name, value) in [
            ("LD_PRELOAD", &library),
            ("HOOKBOX_DISK_LOG", &world.path(LOG)),
            ("HOOKBOX_DISK_FILE", &database),
        ] {
            world.variables.push((name, value.clone()));
        }
        ensure!(
            !world.path("hookbox.db-wal").exists(),
            "a process has the SQLite file open before the recording of its writes has begun: \
             hookbox.db-wal exists"
        );
        let before = Files {
            database: fs::read(&database).context("reading the SQLite file")?,
            ..Files::default()
        };
        Ok(Self { before })
    }

    /// Returns the current length of the recording in bytes, which identifies the present moment.
    ///
    /// # Errors
    /// When there is no recording.
    pub fn moment(&self, world: &World) -> Result<u64> {
        let log = fs::metadata(world.path(LOG))
            .context("reading the length of the recording of disk operations")?;
        Ok(log.len())
    }

    /// Returns what would be on the disk if the power had failed at this moment or soon after it.
    /// The function `fullest` chooses the moment of the failure, so that several writes are
    /// unsynced.
    ///
    /// # Errors
    /// When the recording cannot be read.
    pub fn failed(
        &self,
        world: &World,
        moment: u64,
        left: Survivors,
        chance: &mut Chance,
    ) -> Result<Files> {
        let text = fs::read(world.path(LOG)).context("reading the recording of disk operations")?;
        let all = parse(&text)?;
        let end = fullest(&all, moment);
        let until: Vec<&Done> = all.iter().filter(|done| done.place < end).collect();
        let mut files = Files {
            database: self.before.database.clone(),
            ..Files::default()
        };
        for file in [File::Database, File::Log] {
            let of_file = || until.iter().copied().filter(|done| done.file == file);
            let synced = of_file().filter_map(Done::synced).max().unwrap_or(0);
            let changes: Vec<&Done> = of_file().filter(|it| it.synced().is_none()).collect();
            let (durable, open) =
                changes.split_at(changes.partition_point(|done| done.place < synced));
            let bytes = match file {
                File::Database => &mut files.database,
                File::Log => &mut files.log,
            };
            durable.iter().for_each(|done| done.apply(bytes, None));
            files.unsynced += open.len();
            for (number, done) in open.iter().enumerate() {
                let is_last = number + 1 == open.len();
                if let Some(part) = done.part(left, (number == 0, is_last), chance) {
                    done.apply(bytes, Some(part));
                    files.kept += 1;
                }
            }
        }
        Ok(files)
    }
}

impl Done {
    /// For a sync, returns the position in the recording before which all writes are durable.
    fn synced(&self) -> Option<u64> {
        match self.what {
            What::Sync => Some(self.at),
            What::Write | What::Truncate => None,
        }
    }

    /// Returns how many bytes of an unsynced write survive; `None` when none of them does.
    fn part(
        &self,
        left: Survivors,
        (first, last): (bool, bool),
        chance: &mut Chance,
    ) -> Option<usize> {
        let all = self.bytes.len();
        match left {
            Survivors::Nothing => None,
            Survivors::Everything => Some(all),
            Survivors::Torn if last => Some(all / 2),
            Survivors::Torn => Some(all),
            // The first write is always lost and the last one survives, so that a write survives
            // without an earlier one.
            Survivors::Holes if first || last => last.then_some(all),
            Survivors::Holes => (chance.between(0, 1) == 1).then_some(all),
        }
    }

    fn apply(&self, bytes: &mut Vec<u8>, part: Option<usize>) {
        let at = usize::try_from(self.at).unwrap_or(usize::MAX);
        match self.what {
            What::Sync => {}
            What::Truncate => bytes.resize(at, 0),
            What::Write => {
                let written = &self.bytes[..part.unwrap_or(self.bytes.len())];
                bytes.resize(bytes.len().max(at + written.len()), 0);
                bytes[at..at + written.len()].copy_from_slice(written);
            }
        }
    }
}

/// Returns the position in the recording at which the power fails. This is the position right
/// before a sync of the write-ahead log: the first sync after the given moment that makes several
/// writes durable. If there is no such sync, it is the given moment itself.
fn fullest(all: &[Done], moment: u64) -> u64 {
    let mut open = 0;
    for done in all.iter().filter(|done| done.file == File::Log) {
        match done.what {
            // Only a sync after at least two writes counts, so that some of them may be lost. Even
            // a commit of one page has two: the header of a frame, and the page.
            What::Sync if done.place >= moment && open >= 2 => return done.place,
            What::Sync => open = 0,
            What::Write | What::Truncate => open += 1,
        }
    }
    moment
}

fn parse(text: &[u8]) -> Result<Vec<Done>> {
    let mut all = Vec::new();
    let mut place = 0;
    while let Some(header) = text.get(place..place + HEADER) {
        let small = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().unwrap_or([0; 4]));
        let large = |at: usize| u64::from_ne_bytes(header[at..at + 8].try_into().unwrap_or([0; 8]));
        let what = match small(0) {
            1 => What::Write,
            2 => What::Truncate,
            3 => What::Sync,
            other => {
                anyhow::bail!("the recording contains an operation of the unknown kind {other}")
            }
        };
        let file = match small(4) {
            1 => File::Database,
            2 => File::Log,
            other => {
                anyhow::bail!("the recording contains an operation on the unknown file {other}")
            }
        };
        let start = place + HEADER;
        let Some(bytes) = text.get(start..start + large(16) as usize) else {
            // The last operation is not recorded completely yet, so it is ignored.
            break;
        };
        all.push(Done {
            what,
            file,
            at: large(8),
            bytes: bytes.to_vec(),
            place: place as u64,
        });
        place = start + bytes.len();
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
