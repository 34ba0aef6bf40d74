//! Tests of the versions and keys of `newest`.

use proptest::prelude::*;

use super::*;

/// 2026-11-26T17:30:00Z in microseconds since the Unix epoch.
const NOW: i64 = 1_795_714_200_000_000;

fn text(text: &str) -> Scalar {
    Scalar::String(text.to_owned())
}

fn number(text: &str) -> Scalar {
    Scalar::Number(text.to_owned())
}

fn read(kind: VersionKind, value: &Scalar) -> Result<Version, InvalidVersion> {
    kind.read(value, Timestamp::from_unix_micros(NOW))
}

fn compare(kind: VersionKind, a: &str, b: &str) -> Option<Ordering> {
    let version = |it: &str| read(kind, &text(it)).expect("the version must be valid");
    version(a).compare(&version(b))
}

#[test]
fn numbers_are_compared_by_their_exact_values() {
    for (a, b, expect) in [
        ("1", "1.0", Ordering::Equal),
        ("10e-1", "1", Ordering::Equal),
        ("9007199254740992", "9007199254740993", Ordering::Less),
        ("0.1", "0.10000000000000000001", Ordering::Less),
        ("-2", "-1", Ordering::Less),
        ("1e30", "999", Ordering::Greater),
    ] {
        assert_eq!(
            compare(VersionKind::Decimal, a, b),
            Some(expect),
            "{a} and {b}"
        );
    }
}

#[test]
fn times_are_compared_by_their_exact_values() {
    for (a, b, expect) in [
        (
            "2026-11-26T17:30:00Z",
            "2026-11-26T18:30:00+01:00",
            Ordering::Equal,
        ),
        (
            "2026-11-26T17:30:00Z",
            "2026-11-26T17:30:00.000Z",
            Ordering::Equal,
        ),
        (
            "2026-11-26T17:30:00.5Z",
            "2026-11-26T17:30:00.49Z",
            Ordering::Greater,
        ),
        (
            "2026-11-26T17:30:00.1234567891Z",
            "2026-11-26T17:30:00.1234567892Z",
            Ordering::Less,
        ),
        (
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59.9Z",
            Ordering::Less,
        ),
        (
            "2025-12-31T23:30:00-01:00",
            "2026-01-01T00:00:00Z",
            Ordering::Greater,
        ),
        // The point between date and hour does not begin the fraction of the second.
        (
            "2026-11-26.17:30:00.5Z",
            "2026-11-26T17:30:00.5Z",
            Ordering::Equal,
        ),
        (
            "2026-11-26.17:30:00Z",
            "2026-11-26T17:30:00Z",
            Ordering::Equal,
        ),
    ] {
        assert_eq!(
            compare(VersionKind::Rfc3339, a, b),
            Some(expect),
            "{a} and {b}"
        );
    }
}

#[test]
fn a_version_of_the_wrong_type_is_refused() {
    use InvalidVersion::{NotInteger, NotNumber, NotTime};
    use VersionKind::{Decimal, Integer, Rfc3339};
    for (kind, value, expect) in [
        (Integer, number("1.5"), NotInteger),
        (Integer, text("1e-1"), NotInteger),
        (Integer, text("one"), NotNumber),
        (Integer, text("2026-11-26T17:30:00Z"), NotNumber),
        (Integer, Scalar::Bool(true), NotNumber),
        (Decimal, text(""), NotNumber),
        (Decimal, number("1e1000"), NotNumber),
        (Rfc3339, number("1764000000"), NotTime),
        (Rfc3339, text("2026-11-26"), NotTime),
        (Rfc3339, Scalar::Bool(false), NotTime),
        // In UTC, these are in the years 10000 and -1.
        (Rfc3339, text("9999-12-31T23:59:59-01:00"), NotTime),
        (Rfc3339, text("0000-01-01T00:00:00+01:00"), NotTime),
    ] {
        assert_eq!(read(kind, &value), Err(expect), "{kind:?}: {value:?}");
    }
    for (kind, value) in [
        (Integer, number("7.12e2")),
        (Integer, text("123456789012345678901234567890")),
        (Decimal, number("0.5")),
        (Rfc3339, text("2026-11-26t17:30:00z")),
    ] {
        assert!(read(kind, &value).is_ok(), "{kind:?}: {value:?}");
    }
}

#[test]
fn a_time_may_be_ahead_by_five_minutes() {
    let read = |it: &str| read(VersionKind::Rfc3339, &text(it));
    assert!(read("2026-11-26T17:35:00Z").is_ok());
    for ahead in ["2026-11-26T17:35:00.0000000001Z", "9999-12-31T23:59:59Z"] {
        assert_eq!(read(ahead), Err(InvalidVersion::Ahead), "{ahead}");
    }
}

#[test]
fn a_stored_version_is_read_again() {
    for (kind, written, stored) in [
        (VersionKind::Decimal, "1.50e3", "1.50e3"),
        (
            VersionKind::Rfc3339,
            "2026-11-26T18:30:00.120+01:00",
            "2026-11-26T17:30:00.12Z",
        ),
        (
            VersionKind::Rfc3339,
            "0001-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
        ),
    ] {
        let version = read(kind, &text(written)).expect("the version must be valid");
        assert_eq!(version.to_string(), stored);
        assert_eq!(Version::from_stored(stored), Some(version));
    }
    assert_eq!(Version::from_stored("soon"), None);
}

#[test]
fn a_number_and_a_time_are_not_compared() {
    let number = read(VersionKind::Integer, &number("1")).expect("the version must be valid");
    let time = read(VersionKind::Rfc3339, &text("2026-11-26T17:30:00Z"))
        .expect("the version must be valid");
    assert_eq!(number.compare(&time), None);
    assert!(!number.is_older_than(&time) && !time.is_older_than(&number));
}

fn rule(kind: VersionKind, key: &[&str], version: &str) -> Newest {
    Newest {
        key: key
            .iter()
            .map(|it| it.parse().expect("the pointer must be valid"))
            .collect(),
        version: version.parse().expect("the pointer must be valid"),
        kind,
    }
}

#[test]
fn a_key_digest_covers_the_values_and_the_settings_of_newest() {
    use VersionKind::{Decimal, Integer, Rfc3339};
    let uid = rule(Integer, &["/uid"], "/v");
    let digest = uid.digest(&Digester::Plain, &[text("1")]);
    assert_eq!(
        rule(Decimal, &["/uid"], "/v").digest(&Digester::Plain, &[text("1")]),
        digest
    );
    for (other, values) in [
        (uid.clone(), [text("2")]),
        (uid, [number("1")]),
        (rule(Rfc3339, &["/uid"], "/v"), [text("1")]),
        (rule(Integer, &["/id"], "/v"), [text("1")]),
        (rule(Integer, &["/uid"], "/w"), [text("1")]),
    ] {
        assert_ne!(
            other.digest(&Digester::Plain, &values),
            digest,
            "{other:?} of {values:?}"
        );
    }
    let pair = rule(Integer, &["/a", "/b"], "/v");
    let first = pair.digest(&Digester::Plain, &[text("x"), text("yz")]);
    assert_ne!(
        first,
        pair.digest(&Digester::Plain, &[text("xy"), text("z")])
    );
}

proptest! {
    #[test]
    fn any_time_is_refused_or_stored_as_it_was_read(
        (year, month, day) in (0..=9999_u16, 1..=12_u8, 1..=31_u8),
        (hour, minute, second) in (0..=23_u8, 0..=59_u8, 0..=60_u8),
        fraction in "([.][0-9]{1,12})?",
        zone in "Z|[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]",
    ) {
        let date = format!("{year:04}-{month:02}-{day:02}");
        let written = format!("{date}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}");
        if let Ok(version) = read(VersionKind::Rfc3339, &text(&written)) {
            prop_assert_eq!(Version::from_stored(&version.to_string()), Some(version));
        }
    }
}
