//! Parses form bodies (`application/x-www-form-urlencoded`). Some providers send the JSON of an
//! event as the value of one field of a form. The signature covers the form as it was sent, so a
//! form is parsed only after its signature was verified.

/// Returns the decoded value of the only form field with this name. Returns `None` if the field is
/// absent, occurs twice (two readers might choose different ones), or has an invalid encoding.
pub(crate) fn field(body: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut found = None;
    for pair in body.split(|byte| *byte == b'&') {
        let split = pair.iter().position(|byte| *byte == b'=');
        let (key, value) = match split {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        if decode(key)? == name.as_bytes() && found.replace(decode(value)?).is_some() {
            return None;
        }
    }
    found
}

/// Decodes percent-encoded text strictly. The URL Standard would keep a `%` that starts no escape,
/// but a body that two readers may understand differently must be refused.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => digit(bytes.next())? << 4 | digit(bytes.next())?,
            other => *other,
        });
    }
    Some(decoded)
}

fn digit(byte: Option<&u8>) -> Option<u8> {
    let digit = char::from(*byte?).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn payload(body: &str) -> Option<String> {
        let value = field(body.as_bytes(), "payload")?;
        Some(String::from_utf8(value).expect("the value must be UTF-8"))
    }

    #[test]
    fn a_field_is_decoded() {
        let json = r#"{"zen":"a b+c&d=e %"}"#;
        let body = "payload=%7B%22zen%22%3A%22a+b%2Bc%26d%3De%20%25%22%7d";
        assert_eq!(payload(body).as_deref(), Some(json));
        assert_eq!(payload("a=1&pay%6Coad=x&b").as_deref(), Some("x"));
        assert_eq!(payload("payload").as_deref(), Some(""));
        assert_eq!(payload("payload=a=b").as_deref(), Some("a=b"));
        assert_eq!(field(b"payload=%ff%00", "payload"), Some(vec![0xff, 0]));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_not_read() {
        for body in [
            "",
            "a=1",
            "Payload=x",
            "payload=x&payload=x",
            "payload=x&pay%6coad=y",
            "payload=%",
            "payload=%7",
            "payload=%zz",
            "payload=%+1",
            "%=1&payload=x",
        ] {
            assert_eq!(payload(body), None, "{body}");
        }
        // Only the value of `payload` is decoded, so an invalid encoding of `a` does not matter.
        assert_eq!(payload("a=%&payload=x").as_deref(), Some("x"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(value: Vec<u8>, other: Vec<u8>) {
            let encode = |bytes: &[u8]| -> String {
                bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
            };
            let body = format!("x{}={}&payload={}", encode(&other), encode(&other), encode(&value));
            prop_assert_eq!(field(body.as_bytes(), "payload"), Some(value));
        }

        #[test]
        fn any_bytes_are_read_or_refused(body: Vec<u8>) {
            let found = field(&body, "payload");
            prop_assert!(found.is_none_or(|value| value.len() <= body.len()));
        }
    }
}
