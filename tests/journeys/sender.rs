//! Sends signed events over TLS as a provider does, on connections that stay open or on a new one
//! for each event.

use hookbox_event::Timestamp;
use hookbox_signature::{Key, Preset, sign};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Whether the connection accepts another request.
    pub is_kept: bool,
}

/// Posts one event of Begini to a source, signed with this key. Returns `None` if no complete
/// answer arrives.
pub async fn post(
    stream: &mut TlsStream<TcpStream>,
    source: &str,
    key: &str,
    body: &str,
) -> Option<Answer> {
    let key = Key::new("sender", None, key.as_bytes().to_vec()).unwrap();
    let now = Timestamp::from_unix_micros(0);
    let mut request = format!(
        "POST /hooks/{source} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n",
        body.len()
    );
    // The signature scheme of Begini covers no time, so the time `now` has no effect.
    for (name, value) in sign(&Preset::Begini.scheme(), &key, body.as_bytes(), now, "") {
        request += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    request += "\r\n";
    request += body;
    stream.write_all(request.as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    answer(stream).await
}

async fn answer(stream: &mut TlsStream<TcpStream>) -> Option<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(key, value)| (key == name).then_some(value))
    };
    let length = header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Answer {
        status: head.split(' ').nth(1)?.parse().unwrap(),
        is_kept: header("connection") != Some("close"),
    })
}
