//! An HTTP client that sends any bytes, well-formed HTTP or not, and reads the responses.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest time to wait for something that must happen. Only a failing test takes as long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One HTTP response.
#[derive(Debug)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl HttpResponse {
    /// Returns the only value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(
            values.next().is_none(),
            "an answer must not have the header {name} twice"
        );
        value
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

/// One connection to an ingest.
pub struct Client<S = TcpStream> {
    stream: S,
    read: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    /// Makes a client of a connection that was opened with special options.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self::within(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Makes a client of a stream that is not a socket.
    pub fn within(stream: S) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Sends all bytes; fails the test if the ingest ends the connection before it has read them.
    pub async fn send(&mut self, bytes: &[u8]) {
        let sent = timeout(PATIENCE, self.stream.write_all(bytes)).await;
        sent.expect("the ingest must read all bytes in time")
            .unwrap();
    }

    /// Sends the bytes until the ingest ends the connection. Returns `false` if that happened
    /// before all bytes were sent.
    pub async fn offer(&mut self, bytes: &[u8]) -> bool {
        let sent = timeout(PATIENCE, self.stream.write_all(bytes)).await;
        sent.expect("the ingest must read the bytes or end the connection in time")
            .is_ok()
    }

    /// Closes this side's half of the connection.
    pub async fn end(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Reads the next answer; `None` when the connection ends without one.
    pub async fn answer(&mut self) -> Option<HttpResponse> {
        let head_end = loop {
            let found = self.read.windows(4).position(|four| four == b"\r\n\r\n");
            match found {
                Some(at) => break at,
                None if self.more().await => {}
                None => {
                    assert!(
                        self.read.is_empty(),
                        "the connection must not end in the middle of a head"
                    );
                    return None;
                }
            }
        };
        let head = String::from_utf8(self.read[..head_end].to_vec()).unwrap();
        self.read.drain(..head_end + 4);
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let status: u16 = status.parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.map_or(0, |(_, value)| value.parse().unwrap());
        while self.read.len() < length {
            assert!(
                self.more().await,
                "the connection must not end in the middle of a body"
            );
        }
        let text = String::from_utf8(self.read.drain(..length).collect()).unwrap();
        Some(HttpResponse {
            status,
            headers,
            text,
        })
    }

    /// Sends a request and reads its answer.
    pub async fn ask(&mut self, request: &[u8]) -> HttpResponse {
        self.send(request).await;
        self.answer().await.expect("the ingest must answer")
    }

    /// Returns whether the ingest closes the connection within this time without sending another
    /// byte.
    pub async fn closes_within(&mut self, limit: Duration) -> bool {
        match timeout(limit, self.more()).await {
            Ok(more) => !more && self.read.is_empty(),
            Err(_elapsed) => false,
        }
    }

    pub async fn closes(&mut self) -> bool {
        self.closes_within(PATIENCE).await
    }

    /// Returns whether the ingest closes the connection without sending another byte, and without
    /// a reset.
    pub async fn ends_without_reset(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
        let read = read.expect("the end of the connection must arrive in time");
        read.is_ok_and(|count| count == 0) && self.read.is_empty()
    }

    /// Appends to `heard` everything that arrives until the ingest closes the connection.
    pub async fn rest(&mut self, heard: &mut Vec<u8>) {
        while self.more().await {}
        heard.append(&mut self.read);
    }

    /// Reads some bytes. Returns `false` at the end of the stream, and when the connection is
    /// reset.
    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
        read.expect("an answer or the end of the connection must arrive in time")
            .is_ok_and(|count| count > 0)
    }
}

/// Returns a `POST` request with its body and a matching `Content-Length`.
pub fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let mut all = vec![("content-length", length.as_str())];
    all.extend_from_slice(headers);
    let mut bytes = head("POST", path, &all);
    bytes.extend_from_slice(body);
    bytes
}

/// Returns the head of a request that has exactly these headers after `Host`.
pub fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: hooks.example\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    (text + "\r\n").into_bytes()
}

/// Encodes a body as one chunk, followed by the last chunk.
pub fn chunked(body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{:x}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(b"\r\n0\r\n\r\n");
    bytes
}
