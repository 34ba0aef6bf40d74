//! One keep-alive connection. It reads only those parts of a response that the bench needs.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The length of the text of a receipt id, in bytes.
const ID_LENGTH: usize = 36;

/// The largest response that is read, in bytes. The responses of hookbox have fewer than 500.
const RESPONSE_MAX: usize = 16 * 1024;

/// A connection to ingest.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub status: u16,
    /// The receipt id, if the request was accepted.
    pub receipt: Option<String>,
}

impl Connection {
    pub async fn open(port: u16) -> Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        let stream = stream.with_context(|| format!("connecting to ingest on port {port}"))?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            buffer: Vec::with_capacity(1024),
        })
    }

    /// Sends a request and reads its response.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Response> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "ingest closed a connection before its answer");
            if let Some(response) = parse(&self.buffer)? {
                return Ok(response);
            }
            ensure!(
                self.buffer.len() < RESPONSE_MAX,
                "a response of ingest is too long"
            );
        }
    }
}

/// Reads a response; `None` while it is incomplete.
fn parse(bytes: &[u8]) -> Result<Option<Response>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, body) = (&bytes[..end], &bytes[end + 4..]);
    let head = std::str::from_utf8(head).context("the head of a response is not UTF-8")?;
    let status = head.get(9..12).and_then(|digits| digits.parse().ok());
    let Some(status) = status else {
        bail!("an answer begins with {:?}", head.lines().next());
    };
    let length = content_length(head).unwrap_or(0);
    if body.len() < length {
        return Ok(None);
    }
    let name = br#""receipt":""#;
    let at = body.windows(name.len()).position(|part| part == name);
    let receipt = at.and_then(|at| body.get(at + name.len()..at + name.len() + ID_LENGTH));
    let receipt = receipt.map(|text| String::from_utf8_lossy(text).into_owned());
    Ok(Some(Response { status, receipt }))
}

/// Returns the length of the body that the head of a request or of a response announces.
pub(crate) fn content_length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_read_when_it_is_complete() {
        let text = "HTTP/1.1 200 OK\r\ncontent-length: 61\r\n\r\n{\"receipt\":\
                    \"01890000-0000-7000-8000-00000000000a\",\"status\":1}";
        for end in 0..text.len() {
            let found = parse(&text.as_bytes()[..end]).expect("no error");
            assert_eq!(found, None, "after {end} bytes");
        }
        let found = parse(text.as_bytes()).expect("no error").expect("complete");
        assert_eq!(found.status, 200);
        let id = "01890000-0000-7000-8000-00000000000a";
        assert_eq!(found.receipt.as_deref(), Some(id));
        assert!(parse(b"SSH-2.0\r\n\r\n").is_err());
    }
}
