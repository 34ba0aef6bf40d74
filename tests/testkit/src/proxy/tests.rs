//! Tests of the modes and traps of the proxy, in front of a server that echoes what it receives.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Mode, Proxy, Snap, address_of};

/// Starts a server that echoes what it receives, and also sends it to the test.
fn echo() -> (String, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (received_by, received) = mpsc::channel();
    thread::spawn(move || {
        for link in listener.incoming() {
            let mut link = link.unwrap();
            let received_by = received_by.clone();
            thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok(read @ 1..) = link.read(&mut buffer) {
                    let _ = received_by.send(buffer[..read].to_vec());
                    let _ = link.write_all(&buffer[..read]);
                }
            });
        }
    });
    (address, received)
}

fn client(proxy: &Proxy) -> TcpStream {
    let link = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
    link.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    link
}

/// Sends `words` and returns the reply; `None` when no reply comes, or the connection is cut.
fn ask(link: &mut TcpStream, words: &[u8]) -> Option<Vec<u8>> {
    link.write_all(words).ok()?;
    let mut buffer = [0; 64];
    match link.read(&mut buffer) {
        Ok(0) | Err(_) => None,
        Ok(read) => Some(buffer[..read].to_vec()),
    }
}

#[test]
fn modes_hold_for_open_and_new_connections() {
    let (server, received) = echo();
    let proxy = Proxy::before(&server).unwrap();
    let mut link = client(&proxy);
    assert_eq!(ask(&mut link, b"one").unwrap(), b"one");
    received.recv().unwrap();
    proxy.set(Mode::Hole);
    assert_eq!(ask(&mut link, b"two"), None);
    assert!(received.try_recv().is_err());
    proxy.set(Mode::LoseAnswers);
    assert_eq!(ask(&mut link, b"three"), None);
    assert_eq!(received.recv().unwrap(), b"three");
    proxy.set(Mode::LoseRequests);
    assert_eq!(ask(&mut link, b"lost"), None);
    assert!(received.try_recv().is_err());
    assert_eq!(
        proxy.forgotten(),
        12,
        "expected 12 dropped bytes: `two`, the reply `three`, and `lost`"
    );
    proxy.set(Mode::Pass);
    assert_eq!(ask(&mut link, b"four").unwrap(), b"four");
    proxy.cut();
    assert_eq!(ask(&mut link, b"five"), None);
    assert_eq!(ask(&mut client(&proxy), b"six").unwrap(), b"six");
}

#[test]
fn bytes_that_were_waited_for_cut_the_connection() {
    let (server, received) = echo();
    let proxy = Proxy::before(&server).unwrap();
    proxy.arm(b"COMMIT", Snap::After, 1);
    let mut link = client(&proxy);
    assert_eq!(ask(&mut link, b"begin").unwrap(), b"begin");
    assert_eq!(ask(&mut link, b"COMMIT"), None);
    assert_eq!(received.recv().unwrap(), b"begin");
    assert_eq!(received.recv().unwrap(), b"COMMIT");
    proxy.arm(b"COMMIT", Snap::Before, 1);
    assert_eq!(ask(&mut client(&proxy), b"COMMIT"), None);
    assert!(
        received.try_recv().is_err(),
        "the server must not receive the bytes"
    );
    proxy.arm(b"COMMIT", Snap::Amid, 1);
    assert_eq!(ask(&mut client(&proxy), b"COMMIT"), None);
    assert_eq!(received.recv().unwrap(), b"COM");
    assert_eq!(proxy.snapped(), 3);
    assert_eq!(ask(&mut client(&proxy), b"COMMIT").unwrap(), b"COMMIT");
}

#[test]
fn a_cut_closes_old_connections_and_new_ones() {
    let (server, _received) = echo();
    let proxy = Proxy::before(&server).unwrap();
    let mut link = client(&proxy);
    assert_eq!(ask(&mut link, b"one").unwrap(), b"one");
    proxy.set(Mode::Cut);
    assert_eq!(ask(&mut link, b"two"), None);
    assert_eq!(ask(&mut client(&proxy), b"three"), None);
    proxy.set(Mode::Pass);
    let mut link = client(&proxy);
    assert_eq!(ask(&mut link, b"four").unwrap(), b"four");
    assert_eq!(
        proxy.cut(),
        1,
        "a connection that has ended must not be counted"
    );
    drop(proxy);
    assert_eq!(ask(&mut link, b"five"), None);
}

#[test]
fn answers_are_late_by_the_given_time() {
    let (server, _received) = echo();
    let proxy = Proxy::before(&server).unwrap();
    let by = Duration::from_millis(30);
    proxy.set(Mode::Late(by));
    let mut link = client(&proxy);
    let began = Instant::now();
    assert_eq!(ask(&mut link, b"one").unwrap(), b"one");
    assert!(began.elapsed() >= by);
}

#[test]
fn the_proxy_takes_the_place_of_the_address_in_a_url() {
    let (server, _received) = echo();
    let url = format!("amqp://user:p%40ss@{server}/%2f?heartbeat=5");
    assert_eq!(address_of(&url), server);
    let proxy = Proxy::before(&url).unwrap();
    let through = proxy.url(&url);
    let port = proxy.port();
    assert_eq!(
        through,
        format!("amqp://user:p%40ss@127.0.0.1:{port}/%2f?heartbeat=5")
    );
    assert!(Proxy::before("a server without a port").is_err());
}
