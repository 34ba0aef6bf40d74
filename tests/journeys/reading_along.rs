//! A reader runs `hookbox events follow` while workers are killed. The reader is killed too, and
//! continues from the last cursor that it has received. It must get every end of an event once.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use hookbox_testkit::eventually::within;
use serde_json::Value;

use crate::deployment::{Deployment, Pair};

/// The longest time that the test waits for the next part of the events. A busy machine may need
/// that long.
const PATIENCE: Duration = Duration::from_secs(240);

const EVENTS: &str = "3000";

/// A worker and the reader are killed each time when this many more receipts have an outcome.
const PART: u64 = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_gets_every_end_once_on_rabbitmq_and_postgres() {
    survive(Pair::RabbitmqPostgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_gets_every_end_once_on_sqlite() {
    survive(Pair::SqliteAlone).await;
}

async fn survive(pair: Pair) {
    let deployment = Deployment::new(pair).await;
    let ingest = deployment.start_ingest();
    let steady = deployment.start(&["worker"]);
    let mut victim = deployment.start(&["worker"]);
    let mut lines: Vec<Value> = Vec::new();
    let mut reader = Reader::start(&deployment, &lines);
    let load = ["--duplicates", "5", "--malformed", "3", "--seed", "7"];
    let mut generate = deployment
        .command(&[&["generate", "--count", EVENTS][..], &load].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for part in 1..=3 {
        within(
            PATIENCE,
            "another part of the events must get outcomes",
            async || deployment.count("select count(*) from receipts").await >= part * PART,
        )
        .await;
        victim.kill();
        victim = deployment.start(&["worker"]);
        lines.extend(reader.kill());
        reader = Reader::start(&deployment, &lines);
    }
    assert!(generate.wait().unwrap().success());
    deployment.json(&["reconcile", "--wait", "120s"]);
    victim.stop();
    steady.stop();
    ingest.stop();
    lines.extend(reader.kill());
    let ends = deployment.count("select count(*) from ends").await;
    within(PATIENCE, "every end must be read", async || {
        // The last ends may become readable only later: a reader waits for all transactions that
        // run on the server, and other tests may have such transactions open.
        lines.extend(once(&deployment, &lines));
        lines.len() as u64 >= ends
    })
    .await;
    let claims = "select count(*) from claims where state in ('done', 'dead')";
    assert_eq!(
        (lines.len() as u64, ends),
        (ends, deployment.count(claims).await)
    );
    let texts = |name: &str| -> BTreeSet<String> {
        lines.iter().map(|line| line[name].to_string()).collect()
    };
    assert_eq!(texts("cursor").len(), lines.len());
    assert_eq!(
        texts("event").len(),
        lines.len(),
        "an event must have one end, because each event has one route here"
    );
    let dead = lines.iter().filter(|line| line["outcome"] == "dead");
    let stored = "select count(*) from claims where state = 'dead'";
    assert_eq!(dead.count() as u64, deployment.count(stored).await);
    deployment.finish().await;
}

/// Returns the arguments of a reader that continues after these lines.
fn arguments(lines: &[Value]) -> Vec<String> {
    let mut arguments = vec!["events", "follow", "--json"];
    let after = lines.last().map(|line| line["cursor"].as_str().unwrap());
    if let Some(after) = after {
        arguments.extend(["--after", after]);
    }
    arguments.into_iter().map(str::to_owned).collect()
}

/// Reads the ends after these lines that can be read now.
fn once(deployment: &Deployment, lines: &[Value]) -> Vec<Value> {
    let arguments = arguments(lines);
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    arguments.push("--once");
    let output = deployment.run(&arguments);
    output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A running `hookbox events follow`, and the thread that collects the lines of its output.
struct Reader {
    process: Child,
    lines: JoinHandle<Vec<Value>>,
}

impl Reader {
    fn start(deployment: &Deployment, after: &[Value]) -> Self {
        let arguments = arguments(after);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut process = deployment
            .command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let lines = std::thread::spawn(move || {
            // The last line may be cut off, because the process is killed. Such a line is dropped,
            // and the next reader reads its end again.
            let lines = output.lines().map_while(Result::ok);
            let lines = lines.map_while(|line| serde_json::from_str(&line).ok());
            lines.collect()
        });
        Self { process, lines }
    }

    /// Kills the process with SIGKILL, and returns the lines that it has printed.
    fn kill(mut self) -> Vec<Value> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.lines.join().unwrap()
    }
}
