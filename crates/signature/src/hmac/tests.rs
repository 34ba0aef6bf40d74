//! Tests HMAC signatures with the examples of RFC 4231, with requests that were damaged in many
//! ways, and with random inputs.

use super::*;
use crate::{Preset, Scheme, can_verify, sign, verify};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_unix_micros(1_764_000_000_000_000);
const BODY: &[u8] = br#"{"uid":"1234QWER-TYUI4567-ASDFD890"}"#;

fn key(id: &str, secret: &str) -> Key {
    Key::new(id, None, secret.as_bytes().to_vec()).expect("the signing key must be valid")
}

fn signed(scheme: &Scheme, key: &Key, body: &[u8]) -> HeaderMap {
    sign(scheme, key, body, NOW, "id").into_iter().collect()
}

fn check(
    scheme: &Scheme,
    keys: &[Key],
    headers: &HeaderMap,
    body: &[u8],
) -> Result<String, Refusal> {
    let body = Bytes::copy_from_slice(body);
    verify(scheme, keys, headers, body, NOW).map(|verified| verified.key_id().to_owned())
}

/// The HMAC must have the values that RFC 4231 gives for its test cases 1 and 2.
#[test]
fn known_answers() {
    for (secret, data, sha256, sha512) in [
        (
            vec![0x0b; 20],
            "Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde\
             daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
        ),
        (
            b"Jefe".to_vec(),
            "what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
             9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ] {
        let key = Key::new("k", None, secret).expect("the signing key must be valid");
        let tag = |algorithm| hex::encode(tag(algorithm, &key, &[data.as_bytes()]));
        assert_eq!(tag(Algorithm::Sha256), sha256);
        assert_eq!(tag(Algorithm::Sha512), sha512);
    }
}

#[test]
fn a_good_signature_identifies_its_key() {
    let scheme = Preset::Begini.scheme();
    let (old, new) = (key("old", "one"), key("new", "two"));
    let headers = signed(&scheme, &new, BODY);
    assert_eq!(
        check(&scheme, &[old.clone(), new.clone()], &headers, BODY),
        Ok("new".into())
    );
    assert_eq!(
        check(&scheme, &[old], &headers, BODY),
        Err(Refusal::WrongSignature)
    );
    let ended = Key::new("new", Some(NOW), b"two".to_vec()).expect("the signing key must be valid");
    assert_eq!(
        check(&scheme, &[ended], &headers, BODY),
        Err(Refusal::NoValidKey)
    );
    let empty = signed(&scheme, &new, b"");
    assert_eq!(check(&scheme, &[new], &empty, b""), Ok("new".into()));
    assert!(Key::new("none", None, Vec::new()).is_err());
}

/// A signature in upper-case or mixed-case hex verifies only if the scheme has
/// [`Encoding::HexAnyCase`].
#[test]
fn hex_in_either_case_verifies_where_the_scheme_allows_it() {
    let key = [key("k", "secret")];
    let any_case = |preset: Preset| match preset.scheme() {
        Scheme::Hmac(hmac) => Scheme::Hmac(HmacScheme {
            encoding: Encoding::HexAnyCase,
            ..hmac
        }),
        other => other,
    };
    for (preset, header, prefix) in [
        (Preset::Begini, "x-signature", ""),
        (Preset::Github, "x-hub-signature-256", "sha256="),
    ] {
        let (strict, loose) = (preset.scheme(), any_case(preset));
        let good = signed(&strict, &key[0], BODY);
        let good = good[header]
            .to_str()
            .expect("the header must be ASCII")
            .to_owned();
        let hex = good
            .strip_prefix(prefix)
            .expect("the signature must have its prefix");
        let half = hex.len() / 2;
        let mixed = hex[..half].to_uppercase() + &hex[half..];
        let wrong = hex.replace(['0', '1'], "A");
        let of = |text: String| -> HeaderMap {
            let name: HeaderName = header.parse().expect("the header name must be valid");
            [(name, value(&text))].into_iter().collect()
        };
        for text in [hex.to_owned(), hex.to_uppercase(), mixed] {
            let headers = of(format!("{prefix}{text}"));
            assert_eq!(
                check(&loose, &key, &headers, BODY),
                Ok("k".into()),
                "{text}"
            );
            let strictly = check(&strict, &key, &headers, BODY);
            assert_eq!(strictly.is_ok(), text == hex, "{text}");
        }
        for (text, expect) in [
            (format!("{prefix}{wrong}"), Refusal::WrongSignature),
            (
                format!("{prefix}{}", &hex[2..]),
                Refusal::MalformedSignature,
            ),
            (
                format!("{prefix}{}", "g".repeat(hex.len())),
                Refusal::MalformedSignature,
            ),
            (format!("SHA256={hex}"), Refusal::MalformedSignature),
        ] {
            assert_eq!(
                check(&loose, &key, &of(text.clone()), BODY),
                Err(expect),
                "{text}"
            );
        }
        // With `HexAnyCase`, `sign` (which the command `send` uses) must write the signature in
        // upper case, and the signature must verify.
        let sent = signed(&loose, &key[0], BODY);
        assert_eq!(
            sent[header],
            format!("{prefix}{}", hex.to_uppercase()).as_str()
        );
        assert_eq!(check(&loose, &key, &sent, BODY), Ok("k".into()));
        assert_eq!(can_verify(&loose, &key[0], NOW), Ok(()));
    }
}

#[test]
fn a_bad_signature_is_refused_by_its_kind() {
    let scheme = Preset::Begini.scheme();
    let key = [key("k", "secret")];
    let good = signed(&scheme, &key[0], BODY);
    let good = good["x-signature"]
        .to_str()
        .expect("the header must be ASCII")
        .to_owned();
    let other_body = signed(&scheme, &key[0], b"{}");
    let other_body = other_body["x-signature"]
        .to_str()
        .expect("the header must be ASCII")
        .to_owned();
    for (values, expect) in [
        (vec![], Refusal::MissingHeader),
        (vec![good.clone(), good.clone()], Refusal::RepeatedHeader),
        (vec![good.to_uppercase()], Refusal::MalformedSignature),
        (vec![String::new()], Refusal::MalformedSignature),
        (vec![good[..126].to_owned()], Refusal::MalformedSignature),
        (vec![format!("{good}00")], Refusal::MalformedSignature),
        (vec![format!("sha512={good}")], Refusal::MalformedSignature),
        (
            vec![format!("{} ", &good[..127])],
            Refusal::MalformedSignature,
        ),
        (
            vec![format!("{}g", &good[..127])],
            Refusal::MalformedSignature,
        ),
        (vec!["0".repeat(128)], Refusal::WrongSignature),
        (vec![other_body], Refusal::WrongSignature),
        (vec!["a".repeat(5000)], Refusal::UnreadableHeader),
        (vec![format!("{good},{good}")], Refusal::MalformedSignature),
        (vec![format!("{good}\t")], Refusal::MalformedSignature),
        (vec![format!("\u{feff}{good}")], Refusal::UnreadableHeader),
        (vec![good.clone(); 1_000], Refusal::RepeatedHeader),
        (
            vec![vec![good.as_str(); 1_000].join(",")],
            Refusal::UnreadableHeader,
        ),
    ] {
        let mut headers = HeaderMap::new();
        for text in &values {
            let text =
                HeaderValue::from_bytes(text.as_bytes()).expect("the header value must be allowed");
            headers.append("x-signature", text);
        }
        assert_eq!(
            check(&scheme, &key, &headers, BODY),
            Err(expect),
            "{values:?}"
        );
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A text in UTF-16 has other bytes than the same text in UTF-8. So a signature, a body or a secret
/// that was converted to UTF-16 on the way must be refused.
#[test]
fn text_in_utf16_is_refused() {
    let scheme = Preset::Begini.scheme();
    let keys = [key("k", "secret")];
    let good = signed(&scheme, &keys[0], BODY);
    let text = good["x-signature"]
        .to_str()
        .expect("the header must be ASCII");
    // UTF-16 text contains zero bytes, which are not allowed in headers.
    assert!(HeaderValue::from_bytes(&utf16(text)).is_err());
    let wide: String = text
        .chars()
        .map(|digit| char::from_u32(digit as u32 + 0xfee0).expect("the character must exist"))
        .collect();
    for bytes in [&b"\xff\xfe"[..], wide.as_bytes()] {
        let mut strange = HeaderMap::new();
        let bytes = HeaderValue::from_bytes(bytes).expect("the header value must be allowed");
        strange.insert("x-signature", bytes);
        assert_eq!(
            check(&scheme, &keys, &strange, BODY),
            Err(Refusal::UnreadableHeader)
        );
    }
    let body = utf16(std::str::from_utf8(BODY).expect("the text must be UTF-8"));
    assert_eq!(
        check(&scheme, &keys, &good, &body),
        Err(Refusal::WrongSignature)
    );
    let secret = Key::new("k", None, utf16("secret")).expect("the signing key must be valid");
    assert_eq!(
        check(&scheme, &[secret], &good, BODY),
        Err(Refusal::WrongSignature)
    );
    let own = signed(&scheme, &keys[0], &body);
    assert_eq!(check(&scheme, &keys, &own, &body), Ok("k".into()));
}

/// A line end that was added to a body, or to a file with a secret, makes the signature wrong. A
/// header value cannot contain a line end.
#[test]
fn a_line_end_too_many_is_refused() {
    let scheme = Preset::Begini.scheme();
    let keys = [key("k", "secret")];
    let good = signed(&scheme, &keys[0], BODY);
    let text = good["x-signature"]
        .to_str()
        .expect("the header must be ASCII");
    for end in ["\n", "\r\n", "\0"] {
        assert!(HeaderValue::from_str(&format!("{text}{end}")).is_err());
        let body = [BODY, end.as_bytes()].concat();
        assert_eq!(
            check(&scheme, &keys, &good, &body),
            Err(Refusal::WrongSignature)
        );
        if end == "\0" {
            // HMAC pads a short key with zero bytes (RFC 2104), so a key with a zero byte added
            // gives the same signatures.
            continue;
        }
        let other = [key("k", &format!("secret{end}"))];
        assert_eq!(
            check(&scheme, &other, &good, BODY),
            Err(Refusal::WrongSignature)
        );
    }
}

#[test]
fn a_timestamp_is_signed_and_has_one_text() {
    let scheme = Scheme::Hmac(HmacScheme {
        algorithm: Algorithm::Sha256,
        encoding: Encoding::Base64,
        header: HeaderName::from_static("x-sig"),
        prefix: "v0=".into(),
        timestamp: Some(TimestampRule {
            header: HeaderName::from_static("x-time"),
            separator: ".".into(),
            tolerance: Duration::from_secs(300),
        }),
    });
    let keys = [key("k", "secret")];
    let headers = signed(&scheme, &keys[0], BODY);
    assert_eq!(check(&scheme, &keys, &headers, BODY), Ok("k".into()));
    let stamped = |text: &str| {
        let tag = tag(Algorithm::Sha256, &keys[0], &[text.as_bytes(), b".", BODY]);
        let mut headers = HeaderMap::new();
        headers.insert("x-time", value(text));
        headers.insert("x-sig", value(&format!("v0={}", STANDARD.encode(tag))));
        check(&scheme, &keys, &headers, BODY)
    };
    assert_eq!(stamped("1763999700"), Ok("k".into()));
    assert_eq!(stamped("1764000300"), Ok("k".into()));
    for (text, expect) in [
        ("1763999699", Refusal::OutOfTolerance),
        ("1764000301", Refusal::OutOfTolerance),
        ("1764000000000", Refusal::OutOfTolerance),
        ("9223372036854775807", Refusal::OutOfTolerance),
        ("0", Refusal::OutOfTolerance),
        ("+1764000000", Refusal::MalformedTimestamp),
        ("01764000000", Refusal::MalformedTimestamp),
        ("-9223372036854775808", Refusal::MalformedTimestamp),
        ("1764000000.0", Refusal::MalformedTimestamp),
        ("99999999999999999999", Refusal::MalformedTimestamp),
        ("", Refusal::MalformedTimestamp),
    ] {
        assert_eq!(stamped(text), Err(expect), "{text:?}");
    }
    let mut bare = headers.clone();
    bare.remove("x-time");
    assert_eq!(
        check(&scheme, &keys, &bare, BODY),
        Err(Refusal::MissingHeader)
    );
}

proptest! {
    #[test]
    fn any_flipped_bit_is_refused(
        body in prop::collection::vec(any::<u8>(), 1..200),
        secret in prop::collection::vec(any::<u8>(), 1..100),
        bit in any::<prop::sample::Index>(),
    ) {
        let scheme = Preset::Begini.scheme();
        let keys = [Key::new("k", None, secret.clone()).expect("the signing key must be valid")];
        let headers = signed(&scheme, &keys[0], &body);
        prop_assert!(check(&scheme, &keys, &headers, &body).is_ok());
        let flip = |bytes: &[u8]| {
            let at = bit.index(bytes.len() * 8);
            let mut bytes = bytes.to_vec();
            bytes[at / 8] ^= 1 << (at % 8);
            bytes
        };
        prop_assert!(check(&scheme, &keys, &headers, &flip(&body)).is_err());
        let other = [Key::new("k", None, flip(&secret)).expect("the signing key must be valid")];
        prop_assert!(check(&scheme, &other, &headers, &body).is_err());
        let text = headers["x-signature"].to_str().expect("the header must be ASCII");
        let mut forged = HeaderMap::new();
        let signature = hex::decode(text).expect("the signature must be hex");
        forged.insert("x-signature", value(&hex::encode(flip(&signature))));
        prop_assert!(check(&scheme, &keys, &forged, &body).is_err());
    }
}

#[test]
fn a_scheme_that_contradicts_itself_can_never_verify() {
    let key = key("k", "a-key-for-tests");
    let judge = |header: &'static str, prefix: &str, stamp: Option<&'static str>| {
        let scheme = Scheme::Hmac(HmacScheme {
            algorithm: Algorithm::Sha256,
            encoding: Encoding::Hex,
            header: HeaderName::from_static(header),
            prefix: prefix.to_owned(),
            timestamp: stamp.map(|stamp| TimestampRule {
                header: HeaderName::from_static(stamp),
                separator: ".".to_owned(),
                tolerance: Duration::from_secs(300),
            }),
        });
        can_verify(&scheme, &key, NOW)
    };
    assert_eq!(judge("x-sig", "v0=", Some("x-time")), Ok(()));
    assert_eq!(judge("x-sig", "Bearer ", None), Ok(()));
    let twice = judge("x-sig", "", Some("x-sig"));
    assert_eq!(twice, Err(Refusal::RepeatedHeader));
    for prefix in [" v0=", "v\u{e9}", "v0\n"] {
        assert!(judge("x-sig", prefix, None).is_err(), "{prefix:?}");
    }
    for name in Preset::NAMES {
        let preset = Preset::parse(name).expect("a preset with this name must exist");
        assert_eq!(can_verify(&preset.scheme(), &key, NOW), Ok(()), "{name}");
    }
}
