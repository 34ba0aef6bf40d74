//! Tests that the id of an event never changes, and that two different events never have the same
//! id.

use super::*;

fn source(name: &str) -> SourceName {
    name.parse().expect("the source name must be valid")
}

fn text(value: &str) -> Scalar {
    Scalar::String(value.into())
}

#[test]
fn fields_cannot_run_into_each_other() {
    let begini = source("begini");
    let split = [text("ab"), text("c")];
    let other = [text("a"), text("bc")];
    assert_ne!(
        EventId::from_fields(&Digester::Plain, &begini, &split),
        EventId::from_fields(&Digester::Plain, &begini, &other)
    );
    assert_ne!(
        EventId::from_fields(&Digester::Plain, &begini, &[text("1")]),
        EventId::from_fields(&Digester::Plain, &begini, &[Scalar::Number("1".into())]),
    );
    assert_ne!(
        EventId::from_fields(&Digester::Plain, &begini, &split),
        EventId::from_fields(&Digester::Plain, &source("begini2"), &split),
    );
}

#[test]
fn an_event_id_is_stable() {
    // Event ids are stored permanently, so the same input must always give the same id.
    let id = EventId::from_fields(
        &Digester::Plain,
        &source("begini"),
        &[text("1"), text("u"), text("t")],
    );
    assert_eq!(id.to_string(), "85d0a4f83619a804ab7c3e0a7b1e1e07");
    assert_eq!(id.to_string().parse::<EventId>(), Ok(id));
    // Earlier versions wrote this id with 64 digits.
    let earlier = "85d0a4f83619a804ab7c3e0a7b1e1e077425290b894a8cdf95b8dfd5326bcfb6";
    assert_eq!(earlier.parse::<EventId>(), Ok(id));
    for bad in [
        &earlier[..33],
        &earlier[..62],
        "",
        &earlier.replace("b6", "g6"),
    ] {
        assert!(bad.parse::<EventId>().is_err(), "{bad}");
    }
}

#[test]
fn what_a_header_says_is_never_an_identity_by_itself() {
    let base = |n: u8| IdDigest([n; 32]);
    let ids = [
        base(1),
        IdDigest::of_typed(&Digester::Plain, &base(1), b"push"),
        IdDigest::of_typed(&Digester::Plain, &base(1), b"pull"),
        IdDigest::of_typed(&Digester::Plain, &base(2), b"push"),
        IdDigest::of_delivery(&Digester::Plain, &base(1), b"push"),
        IdDigest::of_delivery(&Digester::Plain, &base(2), b"push"),
        IdDigest::of_typed(
            &Digester::Plain,
            &IdDigest::of_delivery(&Digester::Plain, &base(1), b"push"),
            b"push",
        ),
    ];
    let distinct: std::collections::BTreeSet<_> = ids.iter().map(IdDigest::event).collect();
    assert_eq!(distinct.len(), ids.len());
    assert_eq!(
        [ids[1], ids[4]].map(|id| hex::encode(id.0)),
        [
            "ae716f17ef010069d627387bc3092c76822687a230c8ab59aa45d4035da8d179",
            "22f6013af335abf1438b59e4ad66488a73dc3d83c652d6293b245d449fc231e3",
        ]
    );
    assert_eq!(
        hex::encode(ids[1].tail()),
        "822687a230c8ab59aa45d4035da8d179"
    );
}

#[test]
fn a_prefix_is_a_range() {
    let (first, last) = EventId::range_of_prefix("aB3").expect("the prefix must be hex");
    assert_eq!(first.to_string(), format!("{:0<32}", "ab3"));
    assert_eq!(last.to_string(), format!("{:f<32}", "ab3"));
    let whole = "0123456789abcdef".repeat(4);
    let (first, last) = EventId::range_of_prefix(&whole).expect("the prefix must be hex");
    assert_eq!((first, first.to_string()), (last, whole[..32].to_owned()));
    for prefix in ["", "xy", "0g", "ä", "%", &"0".repeat(65)] {
        assert_eq!(EventId::range_of_prefix(prefix), None, "{prefix:?}");
    }
}

#[test]
fn receipts_sort_by_time() {
    let early = ReceiptId::new(Timestamp::from_unix_micros(1_000_000), [0xff; 10]);
    let late = ReceiptId::new(Timestamp::from_unix_micros(2_000_000), [0; 10]);
    assert!(early < late);
    assert_eq!(early.to_string().parse::<ReceiptId>(), Ok(early));
}
