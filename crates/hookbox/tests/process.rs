//! Tests the process: what `dev` creates, what it refuses, and how it reacts to signals.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hookbox_testkit::binary::{self, Lines, Process};

/// The longest wait for an expected result; a debug build on a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// The number of bytes in the body of a slow request.
const BODY: usize = 100;

/// A folder that is removed at the end of its test.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let name = format!("hookbox-process-{}-{test}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn hookbox(&self, arguments: &[&str]) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_hookbox"));
        binary::command(binary, &self.0, arguments)
    }

    fn dev(&self) -> Running {
        let mut command = self.hookbox(&["dev", "--json", "--listen", "127.0.0.1:0"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::start(&mut command).unwrap();
        let log = process.stderr().unwrap();
        let greeting = process.stdout().unwrap().find(PATIENCE, |line| {
            Some(serde_json::from_str::<serde_json::Value>(line).unwrap())
        });
        let greeting = greeting.unwrap();
        let url = greeting["url"].as_str().unwrap();
        let address = url.strip_prefix("http://").unwrap();
        let address = address.strip_suffix("/hooks/begini").unwrap().to_owned();
        Running {
            process,
            address,
            log,
        }
    }

    /// Returns a process that is draining, and an open request that delays its end, because the
    /// process waits for the body of that request.
    fn draining(&self) -> (Running, TcpStream) {
        let mut dev = self.dev();
        let mut request = TcpStream::connect(&dev.address).unwrap();
        let head = format!(
            "POST /hooks/begini HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n\
             content-length: {BODY}\r\n\r\n"
        );
        request.write_all(head.as_bytes()).unwrap();
        request.set_read_timeout(Some(PATIENCE)).unwrap();
        // The process has asked for the body, so it has read the head of the request and waits for
        // the body.
        let mut asked = [0; 12];
        request.read_exact(&mut asked).unwrap();
        assert_eq!(&asked, b"HTTP/1.1 100");
        dev.terminate();
        assert!(dev.logs("draining"));
        (dev, request)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process that is killed at the end of its test.
struct Running {
    process: Process,
    address: String,
    log: Lines,
}

impl Running {
    fn terminate(&self) {
        self.signal("TERM");
    }

    fn signal(&self, name: &str) {
        self.process.signal(name).unwrap();
    }

    /// Reads the log of the process until this text or the end; returns whether the text was found.
    fn logs(&mut self, what: &str) -> bool {
        let found = |line: &str| line.contains(what).then_some(());
        self.log.find(PATIENCE, found).is_some()
    }

    /// Returns the response to a request without a body.
    fn answers(&self, what: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head =
            format!("{what} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn code(mut self) -> Option<i32> {
        self.process.wait(PATIENCE)?.code()
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_dev_makes_is_its_owners_only_and_stays() {
    let folder = Folder::new("owner");
    let made = folder.0.join(".hookbox-dev");
    let first = folder.dev();
    assert_eq!(mode(&made), 0o700);
    for name in ["begini.key", "hookbox.toml", "hookbox.db", "broker.db"] {
        assert_eq!(mode(&made.join(name)), 0o600, "{name}");
    }
    let key = std::fs::read_to_string(made.join("begini.key")).unwrap();
    assert_eq!(key.len(), 64);
    first.terminate();
    assert_eq!(first.code(), Some(0));
    let second = folder.dev();
    let kept = std::fs::read_to_string(made.join("begini.key")).unwrap();
    assert_eq!(kept, key);
    second.terminate();
    assert_eq!(second.code(), Some(0));
}

#[test]
fn dev_keeps_one_file_where_a_folder_has_one() {
    let folder = Folder::new("one-file");
    let made = folder.0.join(".hookbox-dev");
    let first = folder.dev();
    first.terminate();
    assert_eq!(first.code(), Some(0));
    // The folder now looks as an earlier version created it: with one file for the store and the
    // broker.
    std::fs::remove_file(made.join("broker.db")).unwrap();
    let config = std::fs::read_to_string(made.join("hookbox.toml")).unwrap();
    let one_file = config.replace("sqlite:broker.db", "sqlite:hookbox.db");
    for is_kept in [true, false] {
        // If the config is missing, `dev` creates a config that names the existing file.
        if is_kept {
            std::fs::write(made.join("hookbox.toml"), &one_file).unwrap();
        } else {
            std::fs::remove_file(made.join("hookbox.toml")).unwrap();
        }
        let mut command = folder.hookbox(&["dev", "--listen", "127.0.0.1:0"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut dev = Process::start(&mut command).unwrap();
        let is_said = |line: &str| {
            line.contains("Store and broker share one file")
                .then_some(())
        };
        let said = dev.stdout().unwrap().find(PATIENCE, is_said);
        assert!(
            said.is_some(),
            "`hookbox dev` must print that the store and the broker share one \
            file"
        );
        assert!(!made.join("broker.db").exists());
        dev.signal("TERM").unwrap();
        assert_eq!(dev.wait(PATIENCE).unwrap().code(), Some(0));
    }
}

#[test]
fn an_address_that_dev_cannot_have_is_reported() {
    let folder = Folder::new("address");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    for (listen, why) in [
        (listen.as_str(), "cannot listen on"),
        ("0.0.0.0:0", "is not loopback"),
    ] {
        let output = folder
            .hookbox(&["dev", "--listen", listen])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn an_interrupt_stops_at_once_what_drains() {
    let folder = Folder::new("interrupt");
    let (dev, request) = folder.draining();
    dev.signal("INT");
    assert_eq!(dev.code(), Some(130));
    drop(request);
}

/// A terminal that closes sends SIGHUP, so `dev` drains. SIGUSR1, SIGUSR2 and SIGALRM are ignored.
#[test]
fn a_hangup_drains_dev() {
    let folder = Folder::new("hangup");
    let mut dev = folder.dev();
    for name in ["USR1", "USR2", "ALRM"] {
        dev.signal(name);
        assert!(dev.logs(&format!("SIG{name} is ignored")));
    }
    dev.signal("HUP");
    assert_eq!(dev.code(), Some(0));
}

/// Service managers may send SIGTERM twice. An open request must be answered even after the second
/// SIGTERM.
#[test]
fn a_second_sigterm_leaves_open_requests_their_answers() {
    let folder = Folder::new("twice");
    let (mut dev, mut request) = folder.draining();
    dev.terminate();
    assert!(dev.logs("already draining"));
    assert!(dev.process.ended().is_none());
    request.write_all(&[b'x'; BODY]).unwrap();
    let mut answer = String::new();
    request.read_to_string(&mut answer).unwrap();
    // The request is not signed, so the regular answer to it is 403.
    assert!(answer.contains("HTTP/1.1 403"), "{answer}");
    assert_eq!(dev.code(), Some(0));
}

#[test]
fn for_the_lead_of_a_drain_readiness_is_red_and_requests_are_answered() {
    let folder = Folder::new("lead");
    let dev = folder.dev();
    dev.terminate();
    assert_eq!(dev.code(), Some(0));
    let path = folder.0.join(".hookbox-dev/hookbox.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    assert!(config.contains("[ingest]\n"));
    let leads = config.replace("[ingest]\n", "[ingest]\ndrain_lead = \"6 s\"\n");
    std::fs::write(&path, leads).unwrap();
    let dev = folder.dev();
    assert!(dev.answers("GET /readyz").contains("200 OK"));
    let stopped_at = Instant::now();
    dev.terminate();
    while !dev.answers("GET /readyz").contains("503 ") {
        assert!(
            stopped_at.elapsed() < Duration::from_secs(6),
            "/readyz must report 503 within the drain_lead of 6 s"
        );
    }
    let answer = dev.answers("POST /hooks/begini");
    assert!(answer.contains("HTTP/1.1 403"), "{answer}");
    assert_eq!(dev.code(), Some(0));
    assert!(stopped_at.elapsed() >= Duration::from_secs(6));
}

#[test]
fn what_is_waited_for_is_left_by_a_signal() {
    let folder = Folder::new("waiting");
    let config = "environment = \"test\"\n[store]\nurl = { file = \"store\" }\n\
                  [broker]\nurl = \"sqlite:broker.db\"\n[[source]]\nname = \"begini\"\n\
                  preset = \"begini\"\nsecrets = [{ id = \"a\", file = \"key\" }]\n";
    std::fs::write(folder.0.join("hookbox.toml"), config).unwrap();
    std::fs::write(folder.0.join("key"), "a-key-for-tests").unwrap();
    // Nothing listens on port 1, and no test uses it, so the worker must wait for its store.
    let url = "postgres://someone:hunter2@127.0.0.1:1/db";
    std::fs::write(folder.0.join("store"), url).unwrap();
    let mut worker = folder.hookbox(&["worker", "--log-format", "json", "--log", "trace"]);
    let mut process = Process::start(worker.stderr(Stdio::piped())).unwrap();
    let mut log = process.stderr().unwrap();
    let waiting = log.find(PATIENCE, |line| {
        let is_it = line.contains("waiting for");
        is_it.then(|| serde_json::from_str::<serde_json::Value>(line).unwrap())
    });
    assert_eq!(waiting.unwrap()["fields"]["what"], "the store");
    process.signal("TERM").unwrap();
    let logged = log.to_end(PATIENCE);
    assert_eq!(process.wait(PATIENCE).unwrap().code(), Some(0));
    assert!(!logged.contains("hunter2"));
}
