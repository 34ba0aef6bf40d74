//! A user's own exchange, to which the handler `publish` publishes, and a queue that gets all
//! messages of this exchange.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use crate::amqp::{Connection, Method, long, short};

const EXCHANGE_DECLARE: Method = [0, 40, 0, 10];
const EXCHANGE_DECLARE_OK: Method = [0, 40, 0, 11];
const QUEUE_DECLARE: Method = [0, 50, 0, 10];
const QUEUE_DECLARE_OK: Method = [0, 50, 0, 11];
const BIND: Method = [0, 50, 0, 20];
const BIND_OK: Method = [0, 50, 0, 21];
const CONSUME: Method = [0, 60, 0, 20];
const CONSUME_OK: Method = [0, 60, 0, 21];
const DELIVER: Method = [0, 60, 0, 60];
const CANCEL: Method = [0, 60, 0, 30];
const CANCEL_OK: Method = [0, 60, 0, 31];

/// The option bit of a declaration that only reads the state of a queue.
const PASSIVE: u8 = 1;

/// The option bit of a declaration whose queue or exchange survives a restart of the broker.
const DURABLE: u8 = 2;

/// The option bit of a consumer whose messages need no acknowledgement.
const NO_ACK: u8 = 2;

/// A message has a flag for each of its properties, and then their values in the same order. These
/// are the flags of the first two properties, whose values are short strings.
const TEXTS_BEFORE_HEADERS: [u16; 2] = [1 << 15, 1 << 14];

/// The flag of the property `headers`, whose value is a table of AMQP.
const HEADERS: u16 = 1 << 13;

/// The flags of the two properties after the headers, whose values are numbers of one byte.
const BYTES: [u16; 2] = [1 << 12, 1 << 11];

/// The flags of the three properties before the message id, whose values are short strings.
const TEXTS_BEFORE_ID: [u16; 3] = [1 << 10, 1 << 9, 1 << 8];

/// The flag of the message id, which is a short string. Later properties are not read.
const MESSAGE_ID: u16 = 1 << 7;

/// An exchange with a queue. Both are durable. Nothing deletes them: they stay until the broker is
/// removed at the end of the run.
pub struct TargetExchange {
    url: String,
    name: String,
}

/// A message that was taken from the queue.
#[derive(Debug)]
pub struct Message {
    /// The id of the message; empty if it has none.
    pub id: String,
    /// The headers. Numbers are stored as text.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl TargetExchange {
    /// Declares the exchange and its queue on the broker at this URL.
    ///
    /// # Errors
    /// When the broker refuses the declaration.
    pub fn declare(url: &str, name: &str) -> Result<Self> {
        let mut connection = Connection::open(url)?;
        let none = long(&[]);
        let named = [&[0, 0][..], &short(name)?].concat();
        let exchange = [&named[..], &short("fanout")?, &[DURABLE], &none].concat();
        connection.ask(EXCHANGE_DECLARE, &exchange, EXCHANGE_DECLARE_OK)?;
        // The queue is a quorum queue, because such a queue keeps its confirmed messages when the
        // broker is killed.
        let kind = [&short("x-queue-type")?[..], b"S", &long(b"quorum")].concat();
        let queue = [&named[..], &[DURABLE], &long(&kind)].concat();
        connection.ask(QUEUE_DECLARE, &queue, QUEUE_DECLARE_OK)?;
        let bound = [&named[..], &short(name)?, &short("")?, &[0], &none].concat();
        connection.ask(BIND, &bound, BIND_OK)?;
        Ok(Self {
            url: url.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Returns the name of the exchange. The queue has the same name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes all messages from the queue, in the order in which the queue delivers them.
    ///
    /// # Errors
    /// When the broker sends anything but the expected replies.
    pub fn take(&self) -> Result<Vec<Message>> {
        let mut connection = Connection::open(&self.url)?;
        let mut messages = Vec::new();
        loop {
            let ready = self.ready(&mut connection)? as usize;
            if ready == 0 {
                return Ok(messages);
            }
            let named = [&[0, 0][..], &short(&self.name)?, &short("")?].concat();
            let consumer = [&named[..], &[NO_ACK], &long(&[])].concat();
            let tag = connection.ask(CONSUME, &consumer, CONSUME_OK)?;
            let wanted = messages.len() + ready;
            while let Some((properties, body)) = connection.message(DELIVER, CANCEL_OK)? {
                messages.push(Message::read(&properties, body)?);
                if messages.len() == wanted {
                    connection.request(CANCEL, &[&tag[..], &[0]].concat())?;
                }
            }
        }
    }

    /// Returns how many messages are in the queue.
    fn ready(&self, connection: &mut Connection) -> Result<u32> {
        let named = [&[0, 0][..], &short(&self.name)?].concat();
        let queue = [&named[..], &[PASSIVE], &long(&[])].concat();
        let declared = connection.ask(QUEUE_DECLARE, &queue, QUEUE_DECLARE_OK)?;
        let mut words = Words(&declared);
        words.text()?;
        words.number()
    }
}

impl Message {
    fn read(properties: &[u8], body: Vec<u8>) -> Result<Self> {
        let mut words = Words(properties);
        let [high, low] = words.bytes()?;
        let flags = u16::from_be_bytes([high, low]);
        let has = |bit: u16| flags & bit != 0;
        for _ in TEXTS_BEFORE_HEADERS.into_iter().filter(|bit| has(*bit)) {
            words.text()?;
        }
        let headers = if has(HEADERS) {
            words.table()?
        } else {
            BTreeMap::new()
        };
        for _ in BYTES.into_iter().filter(|bit| has(*bit)) {
            words.bytes::<1>()?;
        }
        for _ in TEXTS_BEFORE_ID.into_iter().filter(|bit| has(*bit)) {
            words.text()?;
        }
        let id = if has(MESSAGE_ID) {
            words.text()?
        } else {
            String::new()
        };
        Ok(Self { id, headers, body })
    }
}

/// The part of a frame that is not read yet: a sequence of encoded values.
struct Words<'b>(&'b [u8]);

impl<'b> Words<'b> {
    fn take(&mut self, count: usize) -> Result<&'b [u8]> {
        let split = self.0.split_at_checked(count);
        let (taken, rest) = split.context("a frame of the broker is too short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    fn number(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.bytes()?))
    }

    fn text(&mut self) -> Result<String> {
        let [length] = self.bytes()?;
        Ok(String::from_utf8(self.take(length.into())?.to_vec())?)
    }

    fn long(&mut self) -> Result<&'b [u8]> {
        let length = self.number()?;
        self.take(length as usize)
    }

    /// Reads a table of texts and whole numbers, and returns it with the numbers as text.
    fn table(&mut self) -> Result<BTreeMap<String, String>> {
        let mut entries = Words(self.long()?);
        let mut table = BTreeMap::new();
        while !entries.0.is_empty() {
            let name = entries.text()?;
            let [kind] = entries.bytes()?;
            let value = match kind {
                b'S' => String::from_utf8(entries.long()?.to_vec())?,
                b'l' => i64::from_be_bytes(entries.bytes()?).to_string(),
                b'I' => i32::from_be_bytes(entries.bytes()?).to_string(),
                other => bail!("the header {name} has a value of the type {other}"),
            };
            table.insert(name, value);
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_properties_of_a_message_are_read() {
        let headers = [
            &short("hookbox-topic").unwrap()[..],
            b"S",
            &long(b"begini.a"),
            &short("hookbox-epoch").unwrap(),
            b"l",
            &7_i64.to_be_bytes(),
        ]
        .concat();
        let flags = TEXTS_BEFORE_HEADERS[0] | HEADERS | BYTES[0] | MESSAGE_ID;
        let properties = [
            &u16::to_be_bytes(flags)[..],
            &short("application/json").unwrap(),
            &long(&headers),
            &[2],
            &short("0f1e-publish-1").unwrap(),
        ]
        .concat();
        let message = Message::read(&properties, b"{}".to_vec()).unwrap();
        assert_eq!(message.id, "0f1e-publish-1");
        assert_eq!(message.headers["hookbox-topic"], "begini.a");
        assert_eq!(message.headers["hookbox-epoch"], "7");
        let bare = Message::read(&[0, 0], Vec::new()).unwrap();
        assert!(bare.id.is_empty() && bare.headers.is_empty());
        assert!(Message::read(&properties[..9], Vec::new()).is_err());
    }
}
