//! A signed request, byte for byte as `hookbox send` makes it. It is for tests that send over their
//! own socket and need the whole answer.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::deployment::Deployment;

/// The longest time that the test waits for one answer. It is longer than every deadline of
/// hookbox, so that hookbox answers or closes the connection first.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// The answer of the test's listener, after which `hookbox send` considers its request accepted.
const TAKEN: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\
                     connection: close\r\n\r\n{}";

/// The bytes of one request with one event.
pub struct Signed(Vec<u8>);

/// One answer, and how long it took.
pub struct Answer {
    pub status: u16,
    head: String,
    pub took: Duration,
}

impl Signed {
    /// Runs `hookbox send` against a listener of the test, and returns the request that the
    /// listener receives.
    pub fn catch(deployment: &Deployment, arguments: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let catching = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
            let request = read_request(&mut stream);
            stream.write_all(TAKEN.as_bytes()).unwrap();
            request
        });
        let url = format!("http://{address}");
        deployment.run(&[&["send", "--url", &url], arguments].concat());
        Self(catching.join().unwrap())
    }

    /// Returns the value of a header of the request.
    pub fn header(&self, name: &str) -> String {
        let text = String::from_utf8_lossy(&self.0).into_owned();
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        header(head, name).unwrap()
    }

    /// Returns the bytes of the request.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Sends the request on a new connection, and returns the answer.
    pub fn send(&self, port: u16) -> Answer {
        let began = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
        stream.write_all(&self.0).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let took = began.elapsed();
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, took }
    }
}

impl Answer {
    /// Returns the value of a header of the answer.
    pub fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }
}

/// Reads a request: its head, and the body with the length that the head announces.
fn read_request(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        request.extend(byte);
    }
    let head = String::from_utf8_lossy(&request).into_owned();
    let length = header(&head, "content-length").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    request.extend(body);
    request
}

fn header(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut named = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim().to_owned())
}
