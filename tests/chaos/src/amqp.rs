//! A minimal client of AMQP 0-9-1. It uses no client library and no code of hookbox, so that its
//! results depend on neither.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// The time within which the broker must reply.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The type of an AMQP frame that contains a method.
const METHOD: u8 = 1;

/// The type of an AMQP frame that contains the header of a message.
const HEADER: u8 = 2;

/// The type of an AMQP frame that contains a part of a message's body.
const BODY: u8 = 3;

/// The byte that ends each AMQP frame.
const END: u8 = 0xce;

/// The number of the only channel that a connection opens.
const CHANNEL: u16 = 1;

/// An AMQP method: its class and its number, two bytes each.
pub type Method = [u8; 4];

const START: Method = [0, 10, 0, 10];
const START_OK: Method = [0, 10, 0, 11];
const TUNE: Method = [0, 10, 0, 30];
const TUNE_OK: Method = [0, 10, 0, 31];
const OPEN: Method = [0, 10, 0, 40];
const OPEN_OK: Method = [0, 10, 0, 41];
const CHANNEL_OPEN: Method = [0, 20, 0, 10];
const CHANNEL_OK: Method = [0, 20, 0, 11];

/// The class of all methods about messages. The header frame of a message begins with it.
const BASIC: [u8; 2] = [0, 60];

/// A connection to the broker with one channel.
pub struct Connection(TcpStream);

impl Connection {
    /// Connects to the default virtual host. The URL must contain a user, a password and exactly
    /// one host.
    ///
    /// # Errors
    /// When the URL has another form, or the broker sends anything but the expected replies.
    pub fn open(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix("amqp://")
            .context("the URL of the broker must begin with amqp://")?;
        let (account, place) = rest
            .split_once('@')
            .context("the URL must name a user and a password")?;
        let (user, password) = account
            .split_once(':')
            .context("the URL must have a password after the user")?;
        let (address, _) = place
            .split_once('/')
            .context("the URL must have a slash after the address")?;
        let stream = TcpStream::connect(address).context("connecting to the broker")?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_nodelay(true)?;
        let mut connection = Self(stream);
        connection.0.write_all(b"AMQP\0\0\x09\x01")?;
        connection.expect(START)?;
        let properties = 0_u32.to_be_bytes();
        let response = long(format!("\0{user}\0{password}").as_bytes());
        let words = [
            &properties[..],
            &short("PLAIN")?,
            &response,
            &short("en_US")?,
        ]
        .concat();
        connection.method(0, START_OK, &words)?;
        let mut tune = connection.expect(TUNE)?;
        // The reply `tune-ok` repeats the limits of the broker's `tune`, except for the heartbeat
        // interval, which is the last two bytes. Zero turns heartbeats off.
        tune.truncate(6);
        tune.extend([0, 0]);
        connection.method(0, TUNE_OK, &tune)?;
        connection.method(0, OPEN, &[&short("/")?[..], &short("")?, &[0]].concat())?;
        connection.expect(OPEN_OK)?;
        connection.ask(CHANNEL_OPEN, &short("")?, CHANNEL_OK)?;
        Ok(connection)
    }

    /// Sends a method on the channel, and returns the arguments of the reply. The reply must be the
    /// method `reply`.
    ///
    /// # Errors
    /// When the broker sends anything but the method `reply`.
    pub fn ask(&mut self, method: Method, words: &[u8], reply: Method) -> Result<Vec<u8>> {
        self.method(CHANNEL, method, words)?;
        self.expect(reply)
    }

    /// Sends a method on the channel, and after it a message: the message's properties (their flags
    /// and then their values) and its body.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn send(
        &mut self,
        method: Method,
        words: &[u8],
        (properties, body): (&[u8], &[u8]),
    ) -> Result<()> {
        self.method(CHANNEL, method, words)?;
        let size = (body.len() as u64).to_be_bytes();
        let header = [&BASIC[..], &[0, 0], &size, properties].concat();
        self.frame(HEADER, CHANNEL, &header)?;
        self.frame(BODY, CHANNEL, body)
    }

    /// Sends a method on the channel without waiting for a reply.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn request(&mut self, method: Method, words: &[u8]) -> Result<()> {
        self.method(CHANNEL, method, words)
    }

    /// Reads a message that the broker sends with the method `method`. Returns the message's
    /// properties (their flags and then their values) and its body. Returns `None` when the broker
    /// sends the method `end` instead.
    ///
    /// # Errors
    /// When the broker sends neither of the two methods.
    pub fn message(&mut self, method: Method, end: Method) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let (kind, payload) = self.read()?;
        if kind == METHOD && payload.starts_with(&end) {
            return Ok(None);
        }
        ensure!(
            kind == METHOD && payload.starts_with(&method),
            "the broker sent {payload:?} instead of a message"
        );
        let (kind, mut header) = self.read()?;
        ensure!(
            kind == HEADER && header.len() >= 12,
            "the broker sent a frame of type {kind} instead of a message's header"
        );
        let properties = header.split_off(12);
        let size = u64::from_be_bytes(header[4..12].try_into()?);
        let size = usize::try_from(size).context("reading the size of a message")?;
        let mut body = Vec::with_capacity(size);
        while body.len() < size {
            let (kind, part) = self.read()?;
            ensure!(
                kind == BODY,
                "the broker sent a frame of type {kind} instead of a message's body"
            );
            body.extend(part);
        }
        Ok(Some((properties, body)))
    }

    /// Reads the next frame, which must contain the method `method`, and returns the arguments of
    /// the method.
    ///
    /// # Errors
    /// When the broker sends any other frame.
    pub fn expect(&mut self, method: Method) -> Result<Vec<u8>> {
        let (kind, mut payload) = self.read()?;
        if kind != METHOD || !payload.starts_with(&method) {
            bail!("the broker sent {payload:?} instead of {method:?}");
        }
        Ok(payload.split_off(method.len()))
    }

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

    /// Reads the next frame: its type and its payload.
    fn read(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut head = [0; 7];
        self.0
            .read_exact(&mut head)
            .context("reading from the broker")?;
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let mut payload = vec![0; size as usize + 1];
        self.0.read_exact(&mut payload)?;
        payload.pop();
        Ok((head[0], payload))
    }
}

/// Encodes a text as a short string of AMQP.
///
/// # Errors
/// When the text is longer than the 255 bytes that a short string may have.
pub fn short(text: &str) -> Result<Vec<u8>> {
    let length =
        u8::try_from(text.len()).context("a short string of AMQP has at most 255 bytes")?;
    Ok([&[length], text.as_bytes()].concat())
}

/// Encodes bytes as a long string of AMQP. A table has the same form: its bytes are its entries.
pub fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}
