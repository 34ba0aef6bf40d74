//! The target `envelope`: decodes the messages of the broker.

use bytes::Bytes;
use hookbox_event::{Envelope, decode_batch, encode_batch};

use super::{Target, class, shape};

pub struct Envelopes;

impl Target for Envelopes {
    fn words(&self) -> Vec<&'static [u8]> {
        vec![
            b"HKBX",
            b"\"redo\":{\"attempt\":2}",
            b"\"seal\":\"x\"",
            b"\"receipt\":",
            b"\"topic\":",
            b"\"number\":",
            b"\"traceparent\":",
            b"\"received_at\":",
        ]
    }

    fn attempt(&mut self, input: &[u8]) -> Result<u64, String> {
        let input = Bytes::copy_from_slice(input);
        let frames = match decode_batch(&input) {
            Ok(frames) => frames,
            Err(bad) => return Ok(class(bad.0.to_string())),
        };
        let read: Vec<Envelope> = frames.iter().flatten().cloned().collect();
        let kept: usize = frames
            .iter()
            .map(|frame| match frame {
                Ok(envelope) => envelope.body.len(),
                Err(bad) => bad.bytes.len(),
            })
            .sum();
        if kept > input.len() {
            return Err("the bodies have more bytes than the message".to_owned());
        }
        let again = decode_batch(&encode_batch(&read)).map_err(|error| error.to_string())?;
        let again: Result<Vec<Envelope>, _> = again.into_iter().collect();
        if again.as_ref() != Ok(&read) {
            return Err("the envelopes change when they are encoded and decoded again".to_owned());
        }
        let kind = |frame: &hookbox_event::Frame| match frame {
            Ok(it) => format!(
                "{} {} {}",
                it.redo.is_some(),
                it.seal.is_some(),
                it.body.is_empty()
            ),
            Err(bad) => shape(&bad.error.to_string()),
        };
        Ok(class(frames.iter().take(6).map(kind).collect::<Vec<_>>()))
    }
}
