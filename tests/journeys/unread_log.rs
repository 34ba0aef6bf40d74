//! The process that reads hookbox's log from a pipe stops reading, and the pipe fills up. Requests,
//! processing and the shutdown must continue; only the thread that writes the log may block. When
//! the pipe is read again, the log must have a line or a count for each refusal.

use std::io::{PipeWriter, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use hookbox_testkit::binary;
use hookbox_testkit::eventually::within;

use crate::deployment::{Deployment, Pair, Process};
use crate::shown::{Shown, get};

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The line of the config that limits the time of an orderly shutdown (a drain).
const DRAIN: &str = "drain = \"10 s\"\n";

/// The time within which a drain must end: the limit in [`DRAIN`], and one more second for a debug
/// build.
const DRAIN_MAX: Duration = Duration::from_secs(11);

/// The number of sources that are flooded with forged requests. Hookbox logs refusals for each
/// source separately, so that many sources give many lines.
const SOURCES: usize = 40;

/// The capacity of a pipe on Linux.
const PIPE_BYTES: usize = 64 * 1024;

/// Makes a deployment with [`SOURCES`] sources besides the usual one, each with its own key, and
/// with the drain limit [`DRAIN`].
async fn deployment() -> Deployment {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let mut config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    for number in 0..SOURCES {
        deployment.write(
            &format!("key-{number}"),
            &format!("a-key-of-source-{number:04}"),
        );
        config += &format!(
            "[[source]]\nname = \"flooded-{number}\"\npreset = \"begini\"\n\
             secrets = [{{ id = \"k\", file = \"key-{number}\" }}]\n"
        );
    }
    deployment.write("hookbox.toml", &format!("{DRAIN}{config}"));
    deployment
}

/// Starts all roles, with standard error written into a pipe.
fn start(deployment: &Deployment, shown: &Shown, log: PipeWriter) -> Process {
    let mut run = deployment.command(&["run", "--metrics", &shown.address()]);
    let run = binary::Process::start(run.stdout(Stdio::null()).stderr(log));
    Process::from(run.unwrap())
}

/// Sends a request without a signature, and returns the status of its answer.
fn forge(port: u16, source: &str) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "POST /hooks/{source} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\
         connection: close\r\n\r\n{{}}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Sends this many forged requests to each source.
fn flood(deployment: &Deployment, times: usize) {
    for _ in 0..times {
        for number in 0..SOURCES {
            assert_eq!(forge(deployment.port, &format!("flooded-{number}")), 403);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_not_read_stops_nothing() {
    let deployment = deployment().await;
    let shown = Shown::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut full = writer.try_clone().unwrap();
    // This thread writes to the pipe until the reader closes it, so that the pipe is always full.
    std::thread::spawn(move || while full.write_all(&[b'\n'; 512]).is_ok() {});
    let running = start(&deployment, &shown, writer);
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    flood(&deployment, 10);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(deployment.port, path).unwrap().0, 200, "{path}");
    }
    deployment.run(&["send", "--source", "begini"]);
    let done = "select count(*) from claims where state = 'done'";
    within(PATIENCE, "the event must be processed", async || {
        deployment.count(done).await == 1
    })
    .await;
    running.signal("TERM");
    assert_eq!(running.ends_within(DRAIN_MAX), Some(0));
    drop(reader);
    deployment.finish().await;
}

/// Returns how many refusals the log reports. Some refusals have a line of their own, and others
/// are only counted in a later line.
fn refusals(log: &str) -> usize {
    let own = log
        .lines()
        .filter(|line| line.contains(" was not accepted: "));
    let more = log.lines().filter_map(|line| {
        let (before, _) = line.split_once(" more requests to source flooded-")?;
        before.rsplit(' ').next()?.parse::<usize>().ok()
    });
    own.count() + more.sum::<usize>()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_read_late_has_every_line() {
    const TIMES: usize = 40;
    let deployment = deployment().await;
    let shown = Shown::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut full = writer.try_clone().unwrap();
    let filled = std::thread::spawn(move || full.write_all(&[b'\n'; PIPE_BYTES]));
    let running = start(&deployment, &shown, writer);
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    flood(&deployment, TIMES);
    let dropped = shown.metric("hookbox_log_lines_dropped_total");
    assert_eq!(dropped, Some(0.0));
    let read = std::thread::spawn(move || {
        let mut log = String::new();
        reader.read_to_string(&mut log).unwrap();
        log
    });
    running.signal("TERM");
    assert_eq!(running.ends_within(DRAIN_MAX), Some(0));
    filled.join().unwrap().unwrap();
    let log = read.join().unwrap();
    assert_eq!(refusals(&log), TIMES * SOURCES, "{log}");
    let lines = log.matches(" was not accepted: ").count();
    assert!(
        lines >= 10 * SOURCES,
        "each source must have at least ten log lines"
    );
    assert!(log.contains("draining; Ctrl-C"), "{log}");
    deployment.finish().await;
}
