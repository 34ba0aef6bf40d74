//! Tests of what survives a power failure, with a recording of a few writes.

use hookbox_testkit::chance::Chance;

use super::{Done, File, Survivors, What, fullest, parse};

fn done(what: What, at: u64, bytes: &[u8], place: u64) -> Done {
    Done {
        what,
        file: File::Log,
        at,
        bytes: bytes.to_vec(),
        place,
    }
}

#[test]
fn a_log_is_read_up_to_what_is_being_written() {
    let record = |what: u32, at: u64, bytes: &[u8]| {
        let mut text = Vec::new();
        text.extend(what.to_ne_bytes());
        text.extend(2_u32.to_ne_bytes());
        text.extend(at.to_ne_bytes());
        text.extend((bytes.len() as u64).to_ne_bytes());
        text.extend(bytes);
        text
    };
    let mut text = record(1, 4, b"abc");
    text.extend(record(3, 27, b""));
    text.extend(&record(1, 0, b"lost")[..26]);
    let all = parse(&text).unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!((all[0].at, all[0].bytes.as_slice()), (4, &b"abc"[..]));
    assert_eq!(all[1].synced(), Some(27));
}

#[test]
fn a_failure_is_where_most_is_open() {
    let all = [
        done(What::Write, 0, b"a", 0),
        done(What::Write, 1, b"b", 10),
        done(What::Sync, 20, b"", 20),
        done(What::Write, 2, b"c", 30),
        done(What::Write, 3, b"d", 40),
        done(What::Sync, 50, b"", 50),
    ];
    assert_eq!(fullest(&all, 5), 20);
    assert_eq!(fullest(&all, 25), 50);
    assert_eq!(fullest(&all, 60), 60);
}

#[test]
fn unsynced_writes_are_left_as_configured() {
    let mut chance = Chance::new(1);
    let write = done(What::Write, 2, b"abcd", 0);
    let mut part = |left, ends| write.part(left, ends, &mut chance);
    assert_eq!(part(Survivors::Nothing, (true, true)), None);
    assert_eq!(part(Survivors::Everything, (true, true)), Some(4));
    assert_eq!(part(Survivors::Torn, (false, true)), Some(2));
    assert_eq!(part(Survivors::Torn, (true, false)), Some(4));
    assert_eq!(part(Survivors::Holes, (true, false)), None);
    assert_eq!(part(Survivors::Holes, (false, true)), Some(4));
    let mut bytes = b"x".to_vec();
    write.apply(&mut bytes, Some(2));
    assert_eq!(bytes, b"x\0ab");
}
