//! The target `identity`: parses bodies and extracts the fields that identify their events.

use hookbox_event::{ContentDigest, Extract, Pointer, scan};

use super::{Target, class, shape};

pub struct Identities {
    pointers: Vec<Pointer>,
}

impl Identities {
    pub fn new() -> Self {
        let pointers = [
            "/event",
            "/data/uid",
            "/data/items/0/id",
            "",
            "/a~1b",
            "/x/-1",
        ];
        Self {
            pointers: pointers.iter().filter_map(|it| it.parse().ok()).collect(),
        }
    }
}

impl Target for Identities {
    fn words(&self) -> Vec<&'static [u8]> {
        vec![
            b"\"event\":",
            b"\"uid\":\"x\"",
            b"\"data\":{",
            b"\\u0000",
            b"\\ud83d\\ude00",
            b"\\ud800",
            b"\xef\xbb\xbf",
            b"null",
            b"true",
            b"1e400",
            b"-0",
            b"\"a/b\":1",
            b"[[[[[[[[[[[[[[[[",
            b"{\"\":",
            b"1.0000000000000000001",
        ]
    }

    fn attempt(&mut self, input: &[u8]) -> Result<u64, String> {
        let document = match scan(input, &self.pointers) {
            Ok(document) => document,
            Err(error) => {
                // A body that `scan` rejects must not be valid JSON for a handler.
                let is_json = serde_json::from_slice::<serde_json::Value>(input).is_ok();
                return if is_json {
                    Err(format!(
                        "serde_json accepts the input, and scan refuses it: {error}"
                    ))
                } else {
                    Ok(class(shape(&error.to_string())))
                };
            }
        };
        let again = scan(&document.canonical, &self.pointers).map_err(|error| error.to_string())?;
        if again.canonical != document.canonical {
            return Err("the canonical text has another canonical text".to_owned());
        }
        if again.extracts != document.extracts {
            return Err("the canonical text has other fields".to_owned());
        }
        let digest = ContentDigest::of_canonical_json(&document.canonical);
        if digest != ContentDigest::of_canonical_json(&again.canonical) {
            return Err("one canonical text has two digests".to_owned());
        }
        let kind = |extract: &Extract| match extract {
            Extract::Found(scalar) => scalar.kind(),
            Extract::Absent => "absent",
            Extract::Container => "container",
            Extract::Ambiguous => "ambiguous",
        };
        Ok(class(
            document.extracts.iter().map(kind).collect::<Vec<_>>(),
        ))
    }
}
