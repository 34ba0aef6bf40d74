//! Tests of the private servers: they start, can be killed, frozen and restarted, and leave nothing
//! behind.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use hookbox_testkit::servers::process::{family, is_alive, wait_until};
use hookbox_testkit::servers::{PostgresServer, RabbitmqServer};

/// The longest wait until all processes and the folder are gone. The keeper, which ends the
/// processes and removes the folder, usually takes one second, and ten at most.
const GONE_MAX: Duration = Duration::from_secs(60);

/// The environment variable that makes this test program act as the owner of the servers. The test
/// starts this program with the variable as a child process, and kills the child.
const OWNER: &str = "HOOKBOX_TESTKIT_OWNER";

#[test]
fn postgres_is_killed_restarted_frozen_and_gone() {
    let mut postgres = PostgresServer::start().unwrap();
    let folder = postgres.folder().to_owned();
    assert!(postgres.url().contains(&postgres.port().to_string()));
    let first = family(postgres.id());
    assert!(
        first.len() > 3,
        "a running postmaster must have children: {first:?}"
    );

    postgres.kill().unwrap();
    assert_eq!(alive(&first), [0_u32; 0]);
    assert!(postgres_answer(postgres.port()).is_none());

    postgres.restart().unwrap();
    assert!(wait_until(GONE_MAX, || postgres_answer(postgres.port()) == Some(b'N')));
    assert_eq!(notes(&folder), [postgres.id()]);

    postgres.stop().unwrap();
    assert!(postgres_answer(postgres.port()).is_none());
    postgres.cont().unwrap();
    assert!(wait_until(GONE_MAX, || postgres_answer(postgres.port()) == Some(b'N')));

    let second = family(postgres.id());
    drop(postgres);
    assert_eq!(alive(&second), [0_u32; 0]);
    assert!(!folder.exists());
}

#[test]
fn rabbitmq_is_killed_restarted_frozen_and_gone() {
    let mut rabbitmq = RabbitmqServer::start().unwrap();
    let folder = rabbitmq.folder().to_owned();
    rabbitmq.ctl(&["add_vhost", "kept"]).unwrap();
    let first = family(rabbitmq.id());

    rabbitmq.kill().unwrap();
    assert_eq!(alive(&first), [0_u32; 0]);
    assert!(!rabbitmq_greets(rabbitmq.port()));

    rabbitmq.restart().unwrap();
    assert!(wait_until(GONE_MAX, || rabbitmq_greets(rabbitmq.port())));
    assert!(
        rabbitmq
            .ctl(&["list_vhosts"])
            .unwrap()
            .lines()
            .any(|line| line == "kept")
    );

    rabbitmq.stop().unwrap();
    assert!(!rabbitmq_greets(rabbitmq.port()));
    rabbitmq.cont().unwrap();
    assert!(wait_until(GONE_MAX, || rabbitmq_greets(rabbitmq.port())));

    let error = rabbitmq.ctl(&["no_such_command"]).unwrap_err().to_string();
    assert!(error.contains("no_such_command"), "{error}");

    let mut everyone = family(rabbitmq.id());
    everyone.extend(notes(&folder));
    drop(rabbitmq);
    assert_eq!(alive(&everyone), [0_u32; 0]);
    assert!(!folder.exists());
}

#[test]
fn a_frozen_server_ends_too() {
    let postgres = PostgresServer::start().unwrap();
    let folder = postgres.folder().to_owned();
    let everyone = family(postgres.id());
    postgres.stop().unwrap();
    drop(postgres);
    assert_eq!(alive(&everyone), [0_u32; 0]);
    assert!(!folder.exists());
}

#[test]
fn a_server_that_cannot_start_shows_its_log_and_is_gone() {
    let found = hookbox_testkit::servers::find::postgres().unwrap();
    let broken = [("shared_buffers", "a lot")];
    let error = PostgresServer::start_found(&found, &broken)
        .unwrap_err()
        .to_string();
    assert!(error.contains("ended while it was starting"), "{error}");
    assert!(error.contains("shared_buffers"), "{error}");
}

#[test]
fn an_owner_that_is_killed_leaves_nothing() {
    if std::env::var_os(OWNER).is_some() {
        own_both_until_killed();
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "an_owner_that_is_killed_leaves_nothing",
            "--nocapture",
        ])
        .env(OWNER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    // In the output of the child, the test harness may write its own text in front of the owner's
    // line, without a line break.
    let owned: Vec<(u32, PathBuf)> = lines
        .map_while(Result::ok)
        .filter_map(|line| {
            let (_, owned) = line.split_once("owns ")?;
            let (id, folder) = owned.split_once(' ')?;
            Some((id.parse().unwrap(), PathBuf::from(folder)))
        })
        .take(2)
        .collect();
    assert_eq!(owned.len(), 2);
    let mut everyone: Vec<u32> = owned.iter().flat_map(|(id, _)| family(*id)).collect();
    everyone.extend(owned.iter().flat_map(|(_, folder)| notes(folder)));
    assert!(everyone.len() > 6, "{everyone:?}");

    owner.kill().unwrap();
    owner.wait().unwrap();
    let gone = || alive(&everyone).is_empty() && owned.iter().all(|(_, folder)| !folder.exists());
    assert!(
        wait_until(GONE_MAX, gone),
        "the keepers left the processes {:?}, or a folder of {owned:?}",
        alive(&everyone)
    );
}

fn own_both_until_killed() -> ! {
    let rabbitmq = thread::spawn(|| RabbitmqServer::start().unwrap());
    let postgres = PostgresServer::start().unwrap();
    let rabbitmq = rabbitmq.join().unwrap();
    println!("\nowns {} {}", postgres.id(), postgres.folder().display());
    println!("\nowns {} {}", rabbitmq.id(), rabbitmq.folder().display());
    std::io::stdout().flush().unwrap();
    loop {
        thread::park();
    }
}

/// Returns the ids of the processes that the keeper of this folder would end.
fn notes(folder: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(folder.join("processes")).unwrap();
    entries
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect()
}

fn alive(processes: &[u32]) -> Vec<u32> {
    processes
        .iter()
        .copied()
        .filter(|process| is_alive(*process))
        .collect()
}

/// Returns PostgreSQL's answer to a request for TLS, if it answers within one second.
fn postgres_answer(port: u16) -> Option<u8> {
    ask(port, &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])
}

fn rabbitmq_greets(port: u16) -> bool {
    ask(port, b"AMQP\0\0\x09\x01") == Some(1)
}

fn ask(port: u16, question: &[u8]) -> Option<u8> {
    let limit = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.write_all(question).ok()?;
    let mut answer = [0];
    stream.read_exact(&mut answer).ok()?;
    Some(answer[0])
}
