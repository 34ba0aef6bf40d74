//! Known ids and digests, with and without a key. Stores keep them for ever, so the same input must
//! always give the same id or digest.

use std::collections::BTreeSet;

use super::*;
use crate::{
    Conditions, ContentDigest, EventId, IdDigest, Newest, Scalar, SourceName, VersionKind,
    digest_json, scan,
};

const BODY: &[u8] = br#"{"uid":"u"}"#;

/// One id or digest of each kind, as text.
struct Digests {
    id: String,
    json: String,
    raw: String,
    id_by_body: String,
    typed: String,
    delivery: String,
    conflict: String,
    undecodable: String,
    key: String,
}

impl Digests {
    fn of(digester: &Digester) -> Self {
        let source: SourceName = "begini".parse().expect("the source name must be valid");
        let text = |text: &str| Scalar::String(text.to_owned());
        let fields = [text("1"), text("u"), text("t")];
        let id = IdDigest::from_fields(digester, &source, &fields);
        let json = ContentDigest::of_canonical_json(digester, BODY);
        let newest = Newest {
            key: vec!["/uid".parse().expect("the pointer must be valid")],
            version: "/v".parse().expect("the pointer must be valid"),
            kind: VersionKind::Integer,
        };
        let key = newest.digest(digester, &[text("u")]);
        Self {
            id: id.event().to_string(),
            json: json.to_string(),
            raw: ContentDigest::of_raw_body(digester, BODY).to_string(),
            id_by_body: EventId::from_digest(digester, &source, &json).to_string(),
            typed: IdDigest::of_typed(digester, &id, b"push")
                .event()
                .to_string(),
            delivery: IdDigest::of_delivery(digester, &id, b"push")
                .event()
                .to_string(),
            conflict: EventId::of_conflict(digester, &id.event(), &json).to_string(),
            undecodable: EventId::of_undecodable(digester, b"junk").to_string(),
            key: hex::encode(key.as_bytes()),
        }
    }

    fn all(&self) -> [&str; 9] {
        [
            &self.id,
            &self.json,
            &self.raw,
            &self.id_by_body,
            &self.typed,
            &self.delivery,
            &self.conflict,
            &self.undecodable,
            &self.key,
        ]
    }
}

fn keyed() -> Digester {
    let text = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    Digester::Keyed(text.parse().expect("the identity key must be valid"))
}

#[test]
fn plain_digests_are_those_of_every_version_so_far() {
    assert_eq!(
        Digests::of(&Digester::Plain).all(),
        [
            "85d0a4f83619a804ab7c3e0a7b1e1e07",
            "085dc652e67a3ff272979fd67367a9e37c23a8a60bd47d415c7ee845c4cec7f3",
            "f93bc0efcf60d90b20755fc5b664df501651a084b55fffb323ed618a40a7e8e3",
            "f55fad47da78c01c2bed4dbfdac0c51c",
            "efe50c16bab9b0606f3769b711375a99",
            "dbf4c224e9c9909da2755a2f4dea0aa7",
            "1a3ddecea645b3df64e19afd8eb25a83",
            "b5facf71070ab11d05e7e3cbed812f1f",
            "1396911e692306d5d321382f38016026",
        ]
    );
}

#[test]
fn keyed_digests_are_stable() {
    assert_eq!(
        Digests::of(&keyed()).all(),
        [
            "101a703d17e8d126c5c4c7017dab649b",
            "af2ab2bb199e8d37923170b11b8676f2ae2c9e98d2aa6dde57c3ed3fd16405cb",
            "28f1484e6dd8bff8e88c8229f228dd98f0b0dd1e46c1b3a142b3911135755e03",
            "39b9bace357115cfac268021ed218c47",
            "7f275a3a87abe4b547c06bffbf035c47",
            "7ec5b54cb31f31e6a191e4c466191fbd",
            "d772a939609c1d3c6076de3af82801de",
            "b36aeda648cd085575fa0b6b5706612e",
            "d6e7566bd57a2bdf600dab91b51d4fab",
        ]
    );
}

#[test]
fn digests_of_different_keys_and_purposes_differ() {
    let other = Digester::Keyed(IdentityKey::from_bytes([7; IdentityKey::BYTES]));
    let digesters = [Digester::Plain, keyed(), other];
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for digester in &digesters {
        let fingerprint = digester.fingerprint().map(|it| it.to_string());
        let digests = Digests::of(digester);
        let all = digests.all().into_iter().map(str::to_owned);
        for digest in all.chain(fingerprint) {
            seen.insert(digest[..32].to_owned());
            count += 1;
        }
    }
    assert_eq!(seen.len(), count);
}

#[test]
fn a_body_has_the_digest_of_its_canonical_form() {
    for digester in [Digester::Plain, keyed()] {
        let body = br#" {"b" : 1, "a" : "\u0061"} "#;
        let read = digest_json(&digester, body, &[], &Conditions::default())
            .expect("the body must be JSON");
        let canonical = scan(body, &[]).expect("the body must be JSON").canonical;
        assert_eq!(
            read.digest,
            ContentDigest::of_canonical_json(&digester, &canonical)
        );
    }
}

#[test]
fn debug_shows_no_key() {
    let shown = format!("{:?}", keyed());
    assert!(!shown.contains("0001"), "{shown}");
    assert!(
        shown.contains(
            &keyed()
                .fingerprint()
                .expect("the digester must have an identity key")
                .to_string()
        )
    );
}
