//! Tests each preset with the documentation of its provider.

use bytes::Bytes;
use hookbox_event::Timestamp;
use http::HeaderMap;

use super::*;
use crate::{Key, Refusal, sign, verify};

const NOW: Timestamp = Timestamp::from_unix_micros(1_764_000_000_000_000);

#[test]
fn every_name_is_a_preset_and_nothing_else_is() {
    for name in Preset::NAMES {
        assert!(Preset::parse(name).is_some(), "{name}");
    }
    for name in ["", "Begini", "begini ", "none"] {
        assert_eq!(Preset::parse(name), None, "{name:?}");
    }
}

/// The example values from GitHub's page "Validating webhook deliveries".
#[test]
fn githubs_own_example() {
    let text = "It's a Secret to Everybody";
    let secret = Preset::Github
        .secret(text)
        .expect("GitHub must allow any text as a secret");
    let keys = [Key::new("k", None, secret).expect("the signing key must be valid")];
    let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let check = |signature: &str, body: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-hub-signature-256", crate::header::value(signature));
        // GitHub does not sign the header with the delivery id, so this header must not change the
        // result of the verification.
        headers.insert("x-github-delivery", crate::header::value("d-1"));
        let body = Bytes::from_static(body.as_bytes());
        let verified = verify(&Preset::Github.scheme(), &keys, &headers, body, NOW)?;
        assert_eq!(verified.signed_id(), None);
        assert_eq!(verified.body(), "Hello, World!");
        Ok(())
    };
    assert_eq!(check(good, "Hello, World!"), Ok(()));
    assert_eq!(check(good, "Hello, World?"), Err(Refusal::WrongSignature));
    for bad in [&good[7..], &good.replace("sha256", "SHA256"), "sha256="] {
        assert_eq!(
            check(bad, "Hello, World!"),
            Err(Refusal::MalformedSignature),
            "{bad}"
        );
    }
}

#[test]
fn one_presets_signature_is_no_others() {
    let all =
        Preset::NAMES.map(|name| Preset::parse(name).expect("a preset with this name must exist"));
    let key = [Key::new("k", None, b"secret".to_vec()).expect("the signing key must be valid")];
    for signer in all {
        let headers: HeaderMap = sign(&signer.scheme(), &key[0], b"{}", NOW, "m-1")
            .into_iter()
            .collect();
        for verifier in all {
            let body = Bytes::from_static(b"{}");
            let verified = verify(&verifier.scheme(), &key, &headers, body, NOW);
            assert_eq!(verified.is_ok(), signer == verifier, "{signer:?}");
        }
    }
}

#[test]
fn an_identity_is_never_taken_from_what_is_not_signed() {
    // GitHub's delivery id and event type are in headers that the signature does not cover, so the
    // preset must not use them.
    assert_eq!(Preset::Github.identity(), Identity::Body);
    assert_eq!(Preset::Github.topic(), None);
    assert_eq!(Preset::StandardWebhooks.identity(), Identity::SignedId);
}

#[test]
fn a_secret_is_read_as_its_provider_writes_it() {
    assert_eq!(Preset::Begini.secret("a+b="), Some(b"a+b=".to_vec()));
    let standard = |text| Preset::StandardWebhooks.secret(text);
    assert_eq!(standard("whsec_c2VjcmV0"), Some(b"secret".to_vec()));
    assert_eq!(standard("c2VjcmV0"), Some(b"secret".to_vec()));
    assert_eq!(standard("whsec_not base64"), None);
}
