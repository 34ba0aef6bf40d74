//! The target `identity`: parses bodies and extracts the fields that identify their events.

use hookbox_event::{Conditions, ContentDigest, Digester, Extract, Pointer, digest_json, scan};

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
                let pointers: Vec<&Pointer> = self.pointers.iter().collect();
                if digest_json(&Digester::Plain, input, &pointers, &Conditions::default())
                    != Err(error)
                {
                    return Err(format!(
                        "scan returns an error that digest_json does not: {error}"
                    ));
                }
                // A body that `scan` rejects must not be valid JSON for a handler.
                let is_json = serde_json::from_slice::<serde_json::Value>(input).is_ok();
                return if is_json {
                    Err(format!(
                        "serde_json accepts the input, but scan refuses it: {error}"
                    ))
                } else {
                    Ok(class(shape(&error.to_string())))
                };
            }
        };
        let again = scan(&document.canonical, &self.pointers).map_err(|error| error.to_string())?;
        if again.canonical != document.canonical {
            return Err("the canonical text changes when it is scanned again".to_owned());
        }
        if again.extracts != document.extracts {
            return Err("the canonical text does not have the same fields as the body".to_owned());
        }
        let pointers: Vec<&Pointer> = self.pointers.iter().collect();
        let digested = digest_json(&Digester::Plain, input, &pointers, &Conditions::default())
            .map_err(|error| error.to_string())?;
        if digested.digest
            != ContentDigest::of_canonical_json(&Digester::Plain, &document.canonical)
        {
            return Err("the digest of the body is not that of its canonical text".to_owned());
        }
        if digested.extracts != document.extracts {
            return Err("digest_json finds other fields in the body than scan".to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Content digests are stored for ever and compared with those of later receipts, so each
    /// build must compute the same digest for the same body, and find the same fields. `-` stands
    /// for a field that is absent.
    #[test]
    fn the_digests_of_the_corpus_never_change() {
        let identities = Identities::new();
        let pointers: Vec<&Pointer> = identities.pointers.iter().collect();
        let folder = crate::corpus::folder("identity");
        let mut names: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            PINNED.map(|(name, _, _)| name),
            "the list of pinned digests must have every file of the corpus"
        );
        for (name, digest, what) in PINNED {
            let body = std::fs::read(folder.join(name)).unwrap();
            let found =
                match digest_json(&Digester::Plain, &body, &pointers, &Conditions::default()) {
                    Ok(json) => {
                        let fields = format!("{:?}", json.extracts).replace("Absent", "-");
                        (json.digest, fields)
                    }
                    Err(error) => (
                        ContentDigest::of_raw_body(&Digester::Plain, &body),
                        error.to_string(),
                    ),
                };
            assert_eq!(
                found,
                (digest.to_owned().try_into().unwrap(), what.to_owned()),
                "{name}"
            );
        }
    }

    const PINNED: [(&str, &str, &str); 12] = [
        (
            "bom",
            "eb9b59031486e8a0a973165a58471d3d27d6a0dbd9f6793fbdc5a7b1a33d2d5f",
            "the body is not JSON (at byte 0)",
        ),
        (
            "deep",
            "7aa2ab836a84cfc173ed0e47fab3527c27d0b1652a7f1e360a568230c756be37",
            "the body nests deeper than 127 levels (at byte 127)",
        ),
        (
            "deep-enough",
            "607ed8323818826047b5c4e8dd8c0af9833bbf9c83f8b2629725f457a5ff3371",
            "[-, -, -, -, -]",
        ),
        (
            "empty",
            "2f24276f838972564e68e7aa0ff3cec28163a1451905547d5c1fa2cacdd83401",
            "the body is not JSON (at byte 0)",
        ),
        (
            "escaped-pointer",
            "8f58a2b64ad1e03027543ec86e0bae4583894069932f5bb668f30fe8eb76e040",
            r#"[-, -, -, Container, -]"#,
        ),
        (
            "latin1",
            "3c6c0eefd0fd89836f5fc2150b422aae7303fe4884f7ee8773d77a8601ade897",
            "the body is not UTF-8 (first at byte 10)",
        ),
        (
            "number",
            "e1a39d394cdd3a4c34ff743ebaede7f3b0a68c3ca7870a76b916598cedf9523d",
            r#"[Found(Number("1e400")), Found(Number("-0.0")), -, -, -]"#,
        ),
        (
            "scalar",
            "aeb10adbf667f16f39ba5d17d247ab15a2bda987f8d1a706ebabdd4d427132b1",
            "[-, -, -, -, -]",
        ),
        (
            "score",
            "d5e16e68480c8dc7dd717cc54888c139382b997a7d0eb801e15f772fb3a84611",
            r#"[Found(String("score.complete")), Found(String("A")), Found(Number("1.50")), -, -]"#,
        ),
        (
            "spaces",
            "bfe883cae8c1ae57c725d2568c1261874f31c91cc263b3223efc9bc2776507cd",
            "[-, -, -, -, -]",
        ),
        (
            "surrogates",
            "849203c417df4a0cd4f635fc45bb7acdeb8f350f09f779783f6290c469cfbda7",
            "[-, -, -, -, -]",
        ),
        (
            "twice",
            "95b3c8d1e6d1c179658522c3d618c1c7ef9c12e80e23d907283ae31d5ea68e75",
            "[Ambiguous, -, -, -, -]",
        ),
    ];
}
