//! Tests that every version of the wire format is decoded, with its golden files, and what is
//! decoded from damaged bytes.

use super::*;

fn envelope(number: u64, body: &'static [u8]) -> Envelope {
    let source: SourceName = "begini".parse().expect("the source name must be valid");
    let now = Timestamp::from_unix_micros(1_764_000_000_000_000 + number as i64);
    Envelope {
        receipt: ReceiptId::new(now, [number as u8; 10]),
        topic: Topic::of(&source, Some("application.complete")),
        event: EventId::from_bytes([number as u8; 16]),
        id_tail: Some([number as u8; 16]),
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
    let frames = decode_batch(bytes).expect("the bytes must be a batch");
    frames
        .into_iter()
        .map(|frame| frame.expect("the frame must be an envelope"))
        .collect()
}

/// A message of an older version must be decoded, because it may still be in a queue, or come from
/// a process of an older version that still runs.
#[test]
fn every_version_ever_written_is_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/wire");
    let mut read = Vec::new();
    for file in std::fs::read_dir(folder).expect("the folder of golden files must exist") {
        let path = file.expect("reading a file name must succeed").path();
        if path.is_dir() {
            continue; // a folder of accept reports or witnesses, which are not batches
        }
        let golden = std::fs::read_to_string(&path).expect("the golden file must be readable");
        let golden: String = golden.split_whitespace().collect();
        let bytes = Bytes::from(hex::decode(golden).expect("the text must be hex"));
        // A later version may have fields that an earlier one lacks. Only fields that every version
        // has are compared here.
        let found = good(&bytes);
        let said = |envelopes: &[Envelope]| -> Vec<_> {
            let said = envelopes.iter();
            said.map(|one| (one.receipt, one.event, one.body.clone(), one.redo))
                .collect()
        };
        assert_eq!(said(&found), said(&batch()), "{}", path.display());
        read.push(bytes[4]);
    }
    read.sort_unstable();
    let ever: Vec<u8> = (1..=BATCH_VERSION).collect();
    assert_eq!(
        read, ever,
        "each version ever written must have one golden file"
    );
}

/// A newer version may add members to the header. This version must ignore them.
#[test]
fn unknown_members_of_a_header_are_skipped() {
    let written = encode_batch(&batch()[..1]);
    let at = 5 + 4;
    let length = split_length(&written[at + 1..]).expect("all bytes of the length must be present");
    let header = &written[at + 5..at + 5 + length];
    let mut header: serde_json::Value =
        serde_json::from_slice(header).expect("the header must be JSON");
    header["tomorrow"] = serde_json::json!({ "any": ["thing"] });
    let header = header.to_string();
    let body = &batch()[0].body;
    let mut newer = BytesMut::from(&written[..5]);
    newer.put_u32((1 + 4 + header.len() + body.len()) as u32);
    newer.put_u8(ENVELOPE_VERSION);
    newer.put_u32(header.len() as u32);
    newer.put_slice(header.as_bytes());
    newer.put_slice(body);
    assert_eq!(good(&newer.freeze()), &batch()[..1]);
}

#[test]
fn version_1_is_the_golden_file() {
    let golden = include_str!("../../../../schemas/wire/batch-v1.hex");
    let golden: String = golden.split_whitespace().collect();
    assert_eq!(
        hex::encode(encode_batch(&batch())),
        golden,
        "the encoded batch must equal the golden file of version 1"
    );
    assert_eq!(
        good(&Bytes::from(
            hex::decode(golden).expect("the text must be hex")
        )),
        batch()
    );
}

/// The envelope of a retry has no tail of the digest, because a store keeps only the event id.
#[test]
fn an_id_without_its_tail_is_written_and_read() {
    let retry = Envelope {
        id_tail: None,
        ..envelope(2, b"{}")
    };
    let written = encode_batch(std::slice::from_ref(&retry));
    let id = format!("\"event\":\"{}\"", "02".repeat(16));
    let at = written
        .windows(id.len())
        .position(|part| part == id.as_bytes());
    assert!(at.is_some(), "{written:?}");
    assert_eq!(good(&written), [retry]);
}

#[test]
fn joined_batches_are_one_to_the_byte() {
    let parts: Vec<Bytes> = batch().chunks(2).map(encode_batch).collect();
    assert_eq!(join_batches(&parts), Some(encode_batch(&batch())));
    let cut = parts[0].slice(..parts[0].len() - 1);
    assert_eq!(join_batches([&cut, &parts[1]]), None);
    let mut newer = parts[1].to_vec();
    newer[4] = BATCH_VERSION + 1;
    assert_eq!(join_batches([&parts[0], &Bytes::from(newer)]), None);
}

#[test]
fn a_bad_frame_harms_no_other() {
    let mut bytes = encode_batch(&batch()).to_vec();
    // This offset is the version byte of the first envelope. Before it are the four letters of the
    // mark, the version of the batch and the length of the frame.
    bytes[4 + 1 + 4] = 99;
    let frames = decode_batch(&Bytes::from(bytes)).expect("the bytes must be a batch");
    assert_eq!(
        frames[0]
            .as_ref()
            .expect_err("the frame must be refused")
            .error,
        WireError::UnknownVersion(99)
    );
    assert_eq!(frames[1].as_ref(), Ok(&batch()[1]));
    assert_eq!(frames[2].as_ref(), Ok(&batch()[2]));
}

#[test]
fn every_truncation_is_an_error_and_loses_no_byte() {
    let bytes = encode_batch(&batch());
    for cut in 0..bytes.len() {
        let Ok(frames) = decode_batch(&bytes.slice(..cut)) else {
            assert!(
                cut < 5,
                "a batch that is cut at byte {cut} still has its mark and version, so its \
                 envelopes before the cut must be decoded"
            );
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
        assert!(
            kept,
            "when the batch is cut at byte {cut}, the incomplete frame must be kept as a bad frame"
        );
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
