//! Publishes one message to one queue with the fewest frames of AMQP 0-9-1 that suffice. It uses no
//! client library and no code of hookbox, so that it is independent of both.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// The time within which the broker must reply.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The types of AMQP frames that are used here (`METHOD`, `HEADER`, `BODY`), and the byte that ends
/// each frame (`END`).
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const END: u8 = 0xce;

/// An AMQP method: its class and its number, two bytes each.
type Method = [u8; 4];
const START: Method = [0, 10, 0, 10];
const START_OK: Method = [0, 10, 0, 11];
const TUNE: Method = [0, 10, 0, 30];
const TUNE_OK: Method = [0, 10, 0, 31];
const OPEN: Method = [0, 10, 0, 40];
const OPEN_OK: Method = [0, 10, 0, 41];
const CHANNEL: Method = [0, 20, 0, 10];
const CHANNEL_OK: Method = [0, 20, 0, 11];
const CONFIRM: Method = [0, 85, 0, 10];
const CONFIRM_OK: Method = [0, 85, 0, 11];
const PUBLISH: Method = [0, 60, 0, 40];
const ACK: Method = [0, 60, 0, 80];

/// Publishes a persistent message to a queue of the default virtual host, and waits until the
/// broker confirms it. The URL names one host.
///
/// # Errors
/// When the broker sends anything but the expected replies.
pub fn publish(url: &str, queue: &str, body: &[u8]) -> Result<()> {
    let rest = url
        .strip_prefix("amqp://")
        .context("the URL must begin with amqp://")?;
    let (account, place) = rest
        .split_once('@')
        .context("the URL must name a user and a password")?;
    let (user, password) = account
        .split_once(':')
        .context("the URL must have a password after the user")?;
    let (address, _) = place
        .split_once('/')
        .context("the URL must have a slash after the address")?;
    let mut link = Link(TcpStream::connect(address).context("connecting to the broker")?);
    link.0.set_read_timeout(Some(ANSWER_MAX))?;
    link.0.write_all(b"AMQP\0\0\x09\x01")?;
    link.expect(START)?;
    let account = format!("\0{user}\0{password}");
    let properties = 0_u32.to_be_bytes();
    let response = [
        &(account.len() as u32).to_be_bytes()[..],
        account.as_bytes(),
    ]
    .concat();
    let words = [
        &properties[..],
        &short("PLAIN")?,
        &response,
        &short("en_US")?,
    ]
    .concat();
    link.method(0, START_OK, &words)?;
    let mut tune = link.expect(TUNE)?;
    // The reply `tune-ok` repeats the limits of the broker's `tune`, except for the heartbeat
    // interval, which is the last two bytes. Zero turns heartbeats off.
    tune.truncate(6);
    tune.extend([0, 0]);
    link.method(0, TUNE_OK, &tune)?;
    link.method(0, OPEN, &[&short("/")?[..], &short("")?, &[0]].concat())?;
    link.expect(OPEN_OK)?;
    link.method(1, CHANNEL, &short("")?)?;
    link.expect(CHANNEL_OK)?;
    link.method(1, CONFIRM, &[0])?;
    link.expect(CONFIRM_OK)?;
    // The last byte of `basic.publish` sets the mandatory flag. With this flag, the broker returns
    // an unroutable message before it sends the ack. The next frame is then the returned message
    // and not the ack, so the publish fails.
    let to = [&[0, 0][..], &short("")?, &short(queue)?, &[1]].concat();
    link.method(1, PUBLISH, &to)?;
    let size = (body.len() as u64).to_be_bytes();
    // The only property of the message is its delivery mode, and 2 means persistent.
    link.frame(
        HEADER,
        1,
        &[&[0, 60, 0, 0][..], &size, &[0x10, 0, 2]].concat(),
    )?;
    link.frame(BODY, 1, body)?;
    link.expect(ACK).map(drop)
}

struct Link(TcpStream);

impl Link {
    fn method(&mut self, channel: u16, method: Method, words: &[u8]) -> Result<()> {
        self.frame(METHOD, channel, &[&method[..], words].concat())
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> Result<()> {
        let mut frame = vec![kind];
        frame.extend(channel.to_be_bytes());
        frame.extend((payload.len() as u32).to_be_bytes());
        frame.extend(payload);
        frame.push(END);
        self.0.write_all(&frame).context("writing to the broker")
    }

    /// Reads the next frame, which must hold this method, and returns the arguments of the method.
    fn expect(&mut self, method: Method) -> Result<Vec<u8>> {
        let mut head = [0; 7];
        self.0
            .read_exact(&mut head)
            .context("reading from the broker")?;
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let mut payload = vec![0; size as usize + 1];
        self.0.read_exact(&mut payload)?;
        payload.pop();
        ensure!(
            payload.starts_with(&method),
            "the broker sent {payload:?} instead of {method:?}"
        );
        Ok(payload.split_off(method.len()))
    }
}

fn short(text: &str) -> Result<Vec<u8>> {
    let length =
        u8::try_from(text.len()).context("a short string of AMQP has at most 255 bytes")?;
    Ok([&[length], text.as_bytes()].concat())
}
