//! One message into one queue, in the fewest frames of AMQP 0-9-1 that do it: by no client library
//! that hookbox uses, and by none of its code.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Until a broker has answered.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Kinds of frames, and what ends each.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const END: u8 = 0xce;

/// Methods by class and number.
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

/// Puts a message that survives into a queue of the default virtual host, and waits until it is
/// confirmed. The URL names one host.
///
/// # Errors
/// When anything is answered but that.
pub fn publish(url: &str, queue: &str, body: &[u8]) -> Result<()> {
    let rest = url.strip_prefix("amqp://").context("a URL of AMQP")?;
    let (account, place) = rest.split_once('@').context("an account in the URL")?;
    let (user, password) = account.split_once(':').context("a password in the URL")?;
    let (address, _) = place.split_once('/').context("a virtual host in the URL")?;
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
    // The last two are the heartbeat: none.
    tune.truncate(6);
    tune.extend([0, 0]);
    link.method(0, TUNE_OK, &tune)?;
    link.method(0, OPEN, &[&short("/")?[..], &short("")?, &[0]].concat())?;
    link.expect(OPEN_OK)?;
    link.method(1, CHANNEL, &short("")?)?;
    link.expect(CHANNEL_OK)?;
    link.method(1, CONFIRM, &[0])?;
    link.expect(CONFIRM_OK)?;
    // Mandatory: a message that no queue takes comes back, and is not acknowledged first.
    let to = [&[0, 0][..], &short("")?, &short(queue)?, &[1]].concat();
    link.method(1, PUBLISH, &to)?;
    let size = (body.len() as u64).to_be_bytes();
    // One property: the delivery mode, and its number for what survives.
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

    /// The words of the method that must come next.
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
    let length = u8::try_from(text.len()).context("a text of 255 bytes at most")?;
    Ok([&[length], text.as_bytes()].concat())
}
