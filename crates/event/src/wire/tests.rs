//! The wire format against its golden file, and against damage.

use super::*;

fn envelope(number: u64, body: &'static [u8]) -> Envelope {
    let source: SourceName = "begini".parse().expect("a name");
    let now = Timestamp::from_unix_micros(1_764_000_000_000_000 + number as i64);
    Envelope {
        receipt: ReceiptId::new(now, [number as u8; 10]),
        topic: Topic::of(&source, Some("application.complete")),
        event: EventId::from_bytes([number as u8; 32]),
        digest: ContentDigest::from_bytes([7; 32]),
        source,
        received_at: now,
        key_id: "2026-11".into(),
        instance: InstanceId::new(now, [9; 10]),
        number,
        seal: None,
        traceparent: None,
        redo: (number == 2).then_some(Redo { attempt: 3 }),
        body: Bytes::from_static(body),
    }
}

fn batch() -> Vec<Envelope> {
    vec![
        envelope(1, b"{\"uid\":1}"),
        envelope(2, b"not json \0\xff"),
        envelope(3, b""),
    ]
}

fn good(bytes: &Bytes) -> Vec<Envelope> {
    let frames = decode_batch(bytes).expect("a batch");
    frames
        .into_iter()
        .map(|frame| frame.expect("an envelope"))
        .collect()
}

#[test]
fn version_1_is_the_golden_file() {
    let golden = include_str!("../../../../schemas/wire/batch-v1.hex");
    let golden: String = golden.split_whitespace().collect();
    assert_eq!(
        hex::encode(encode_batch(&batch())),
        golden,
        "the wire format changed"
    );
    assert_eq!(
        good(&Bytes::from(hex::decode(golden).expect("hex"))),
        batch()
    );
}

#[test]
fn a_bad_frame_harms_no_other() {
    let mut bytes = encode_batch(&batch()).to_vec();
    // The version byte of the first envelope: behind the mark, the batch version and a length.
    bytes[4 + 1 + 4] = 99;
    let frames = decode_batch(&Bytes::from(bytes)).expect("a batch");
    assert_eq!(
        frames[0].as_ref().expect_err("bad").error,
        WireError::UnknownVersion(99)
    );
    assert_eq!(frames[1].as_ref(), Ok(&batch()[1]));
    assert_eq!(frames[2].as_ref(), Ok(&batch()[2]));
}

#[test]
fn every_cut_is_told_and_loses_no_byte() {
    let bytes = encode_batch(&batch());
    for cut in 0..bytes.len() {
        let Ok(frames) = decode_batch(&bytes.slice(..cut)) else {
            assert!(cut < 5, "cut at {cut}");
            continue;
        };
        let whole = frames.iter().filter(|frame| frame.is_ok()).count();
        assert!(whole < 3);
        let kept = frames
            .iter()
            .filter_map(|frame| frame.as_ref().err())
            .all(|bad| {
                bad.error == WireError::Truncated && bytes.slice(..cut).ends_with(&bad.bytes)
            });
        assert!(kept, "cut at {cut}");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        let mut marked = b"HKBX\x01".to_vec();
        marked.extend(&bytes);
        let _ = decode_batch(&Bytes::from(bytes));
        let _ = decode_batch(&Bytes::from(marked));
    }
}
