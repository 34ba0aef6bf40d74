//! Tests Standard Webhooks with the example of the specification and with damaged requests.

use super::*;
use crate::{Preset, Scheme, sign, verify};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn keys() -> Vec<Key> {
    let secret = Preset::StandardWebhooks
        .secret(SECRET)
        .expect("the secret must be base64");
    vec![Key::new("k", None, secret).expect("the signing key must be valid")]
}

fn check(headers: &[(&'static str, &str)], body: &[u8], now: i64) -> Result<String, Refusal> {
    let mut map = HeaderMap::new();
    for (name, text) in headers {
        map.append(*name, value(text));
    }
    let scheme = Scheme::StandardWebhooks {
        tolerance: Duration::from_secs(300),
    };
    let now = Timestamp::from_unix_micros(now * 1_000_000);
    verify(&scheme, &keys(), &map, Bytes::copy_from_slice(body), now)
        .map(|verified| verified.signed_id().unwrap_or_default().to_owned())
}

const ID: (&str, &str) = ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek");
const STAMP: (&str, &str) = ("webhook-timestamp", "1614265330");
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const GOOD: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

#[test]
fn the_specifications_example() {
    let signature = ("webhook-signature", GOOD);
    assert_eq!(
        check(&[ID, STAMP, signature], BODY, 1_614_265_330),
        Ok(ID.1.to_owned())
    );
    let many = format!("v1,{} v1a,x {GOOD}", STANDARD.encode([0; 32]));
    let signature = ("webhook-signature", many.as_str());
    assert_eq!(
        check(&[ID, STAMP, signature], BODY, 1_614_265_330),
        Ok(ID.1.to_owned())
    );
}

#[test]
fn damage_is_refused_by_its_kind() {
    let good = ("webhook-signature", GOOD);
    let now = 1_614_265_330;
    let seventeen = ["v1,x"; 17].join(" ");
    let long = "x".repeat(256);
    for (headers, expect) in [
        (vec![STAMP, good], Refusal::MissingHeader),
        (vec![ID, good], Refusal::MissingHeader),
        (vec![ID, STAMP], Refusal::MissingHeader),
        (vec![ID, ID, STAMP, good], Refusal::RepeatedHeader),
        (
            vec![("webhook-id", "a.b"), STAMP, good],
            Refusal::MalformedId,
        ),
        (vec![("webhook-id", ""), STAMP, good], Refusal::MalformedId),
        (
            vec![("webhook-id", long.as_str()), STAMP, good],
            Refusal::MalformedId,
        ),
        (
            vec![ID, ("webhook-timestamp", "+1614265330"), good],
            Refusal::MalformedTimestamp,
        ),
        (
            vec![ID, ("webhook-timestamp", "1614265331"), good],
            Refusal::WrongSignature,
        ),
        (
            vec![("webhook-id", "msg_other"), STAMP, good],
            Refusal::WrongSignature,
        ),
        (
            vec![ID, STAMP, ("webhook-signature", &GOOD[3..])],
            Refusal::MalformedSignature,
        ),
        (
            vec![ID, STAMP, ("webhook-signature", "v2,AAAA")],
            Refusal::MalformedSignature,
        ),
        (
            vec![ID, STAMP, ("webhook-signature", &seventeen)],
            Refusal::TooManySignatures,
        ),
    ] {
        assert_eq!(check(&headers, BODY, now), Err(expect), "{headers:?}");
    }
    assert_eq!(
        check(&[ID, STAMP, good], BODY, now + 301),
        Err(Refusal::OutOfTolerance)
    );
    assert_eq!(
        check(&[ID, STAMP, good], b"{}", now),
        Err(Refusal::WrongSignature)
    );
}

/// A header with very many signatures is an attempt to exhaust the CPU, so none of them is checked,
/// even if some are valid.
#[test]
fn a_thousand_signatures_are_refused_unread() {
    let last_good = [&["v1,"; 999][..], &[GOOD]].concat().join(" ");
    let all_good = [GOOD; 1_000].join(" ");
    for (signatures, expect) in [
        (["v1,"; 1_000].join(" "), Refusal::TooManySignatures),
        (last_good, Refusal::TooManySignatures),
        (all_good, Refusal::UnreadableHeader),
    ] {
        let signature = ("webhook-signature", signatures.as_str());
        let refused = check(&[ID, STAMP, signature], BODY, 1_614_265_330);
        assert_eq!(refused, Err(expect), "{} bytes", signatures.len());
    }
}

#[test]
fn what_is_signed_here_verifies() {
    let scheme = Preset::StandardWebhooks.scheme();
    let now = Timestamp::from_unix_micros(1_764_000_000_000_000);
    let headers: HeaderMap = sign(&scheme, &keys()[0], b"\xff", now, "m1")
        .into_iter()
        .collect();
    let verified = verify(&scheme, &keys(), &headers, Bytes::from_static(b"\xff"), now);
    assert_eq!(
        verified
            .expect("the signature must be verified")
            .signed_id(),
        Some("m1")
    );
}

/// A receiver that knows only the old key or only the new one accepts what is signed with both.
#[test]
fn what_is_signed_with_two_keys_verifies_with_either() {
    let scheme = Preset::StandardWebhooks.scheme();
    let now = Timestamp::from_unix_micros(1_764_000_000_000_000);
    let other = Key::new("other", None, vec![7; 32]).expect("the signing key must be valid");
    let both = [keys().remove(0), other];
    let headers: HeaderMap = super::sign(&both, BODY, now, "m1").into_iter().collect();
    for key in both {
        let key = std::slice::from_ref(&key);
        let verified = verify(&scheme, key, &headers, Bytes::from_static(BODY), now);
        assert_eq!(
            verified.expect("the signature must be verified").key_id(),
            key[0].id()
        );
    }
    let third = Key::new("third", None, vec![8; 32]).expect("the signing key must be valid");
    let refused = verify(&scheme, &[third], &headers, Bytes::from_static(BODY), now);
    assert_eq!(refused.err(), Some(Refusal::WrongSignature));
}
