//! Publishes one message to one queue, independently of any client library.

use anyhow::Result;

use crate::amqp::{Connection, Method, short};

const CONFIRM: Method = [0, 85, 0, 10];
const CONFIRM_OK: Method = [0, 85, 0, 11];
const PUBLISH: Method = [0, 60, 0, 40];
const ACK: Method = [0, 60, 0, 80];

/// The only property of the message is its delivery mode, and 2 means persistent.
const PERSISTENT: [u8; 3] = [0x10, 0, 2];

/// Publishes a persistent message to a queue of the default virtual host, and waits until the
/// broker confirms it. The URL names one host.
///
/// # Errors
/// When the broker sends anything but the expected replies.
pub fn publish(url: &str, queue: &str, body: &[u8]) -> Result<()> {
    let mut connection = Connection::open(url)?;
    connection.ask(CONFIRM, &[0], CONFIRM_OK)?;
    // The last byte of `basic.publish` sets the mandatory flag. With this flag, the broker returns
    // an unroutable message before it sends the ack. The next frame is then the returned message
    // and not the ack, so the publish fails.
    let to = [&[0, 0][..], &short("")?, &short(queue)?, &[1]].concat();
    connection.send(PUBLISH, &to, (&PERSISTENT, body))?;
    connection.expect(ACK).map(drop)
}
