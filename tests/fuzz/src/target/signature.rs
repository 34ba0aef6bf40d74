//! The target `signature`: verifies signed requests of every scheme. An input is a line with the
//! name of the scheme, lines with headers, an empty line and a body.

use std::collections::HashSet;

use bytes::Bytes;
use hookbox_event::Timestamp;
use hookbox_signature::{Key, Preset, Scheme, sign, verify};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Target, class};

const PRESETS: [(&str, Preset); 3] = [
    ("begini", Preset::Begini),
    ("github", Preset::Github),
    ("standard-webhooks", Preset::StandardWebhooks),
];

const BODIES: [&[u8]; 4] = [
    b"{\"event\":\"score.complete\",\"uid\":\"A\"}",
    b"",
    b"{}",
    b"\xff\x00 not text",
];

pub struct Signatures {
    now: Timestamp,
    keys: Vec<Key>,
    signed: HashSet<(&'static str, Vec<u8>)>,
}

impl Signatures {
    pub fn new() -> Self {
        let secrets = [
            b"an-old-key-of-many-bytes".to_vec(),
            b"a-new-key-of-many-bytes".to_vec(),
        ];
        let keys = secrets.into_iter().enumerate();
        let signed = PRESETS
            .iter()
            .flat_map(|(name, _)| BODIES.iter().map(|body| (*name, body.to_vec())));
        Self {
            now: Timestamp::from_unix_micros(1_764_000_000_000_000),
            keys: keys
                .filter_map(|(at, secret)| Key::new(format!("k{at}"), None, secret).ok())
                .collect(),
            signed: signed.collect(),
        }
    }

    fn scheme(name: &[u8]) -> Option<(&'static str, Scheme)> {
        let found = PRESETS.iter().find(|(known, _)| known.as_bytes() == name);
        found.map(|(name, preset)| (*name, preset.scheme()))
    }
}

impl Target for Signatures {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds = Vec::new();
        for (name, preset) in &PRESETS {
            for (key, body) in self.keys.iter().cycle().zip(BODIES) {
                let mut text = format!("{name}\n").into_bytes();
                for (header, value) in sign(&preset.scheme(), key, body, self.now, "msg_1") {
                    text.extend_from_slice(header.as_str().as_bytes());
                    text.extend_from_slice(b": ");
                    text.extend_from_slice(value.as_bytes());
                    text.push(b'\n');
                }
                text.push(b'\n');
                text.extend_from_slice(body);
                seeds.push(text);
            }
        }
        seeds
    }

    fn words(&self) -> Vec<&'static [u8]> {
        vec![
            b"sha256=",
            b"v1,",
            b"v1a,",
            b"webhook-timestamp: ",
            b"webhook-signature: ",
            b"webhook-id: ",
            b"x-signature: ",
            b"x-hub-signature-256: ",
            b"==",
            b"1764000000",
            b"\n\n",
            b" v1,AAAA",
        ]
    }

    fn attempt(&mut self, input: &[u8]) -> Result<u64, String> {
        let (first, rest) = split(input, b"\n");
        let Some((name, scheme)) = Self::scheme(first) else {
            return Ok(0);
        };
        let (head, body) = split(rest, b"\n\n");
        let mut headers = HeaderMap::new();
        for line in head.split(|&byte| byte == b'\n').take(64) {
            let (header, value) = split(line, b": ");
            if let (Ok(header), Ok(value)) = (
                HeaderName::from_bytes(header),
                HeaderValue::from_bytes(value),
            ) {
                headers.append(header, value);
            }
        }
        match verify(
            &scheme,
            &self.keys,
            &headers,
            Bytes::copy_from_slice(body),
            self.now,
        ) {
            Ok(verified) if verified.body() != body => {
                Err("the verified body is not the body of the request".to_owned())
            }
            Ok(_) if !self.signed.contains(&(name, body.to_vec())) => {
                Err(format!("an unsigned body verified as {name}"))
            }
            Ok(verified) => Ok(class((
                name,
                verified.key_id(),
                verified.signed_id().is_some(),
            ))),
            Err(refusal) => Ok(class((name, format!("{refusal:?}")))),
        }
    }
}

/// Splits bytes at the first `mark`: returns the bytes before it and those after it.
fn split<'a>(bytes: &'a [u8], mark: &[u8]) -> (&'a [u8], &'a [u8]) {
    match bytes.windows(mark.len()).position(|window| window == mark) {
        Some(at) => (&bytes[..at], &bytes[at + mark.len()..]),
        None => (bytes, &[]),
    }
}
