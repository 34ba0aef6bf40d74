//! Mutates inputs, as an attacker, a defective sender or a bad disk might change them.

use hookbox_testkit::chance::Chance;

/// The largest input in bytes. Larger ones would only cost time, because every limit of the parsers
/// is below this size.
const BYTES_MAX: usize = 16 * 1024;

/// The most mutations of one input.
const STEPS_MAX: u64 = 6;

/// Bytes that have a special meaning in some format.
const LIVELY: &[u8] = b"\0\x01\x7f\x80\xff\"\\{}[]:,=\r\n \t-+.0919eEa/?#%;";

/// Returns a mutated copy of an input. Some mutations insert pieces of `others`, which are further
/// inputs, or whole `words`, which have a meaning for the parser.
pub fn mutate(input: &[u8], others: &[Vec<u8>], words: &[&[u8]], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..chance.between(1, STEPS_MAX) {
        step(&mut bytes, others, words, chance);
        bytes.truncate(BYTES_MAX);
    }
    bytes
}

fn step(bytes: &mut Vec<u8>, others: &[Vec<u8>], words: &[&[u8]], chance: &mut Chance) {
    let at = place(bytes.len(), chance);
    match chance.between(0, 11) {
        0 => flip(bytes, at, chance),
        1 => put(bytes, at, &[*chance.one_of(LIVELY)]),
        2 => overwrite(bytes, at, &[chance.any() as u8]),
        3 => drop(bytes.drain(at..end(at, bytes.len(), chance))),
        4 => {
            let piece = bytes[at..end(at, bytes.len(), chance)].to_vec();
            let times = chance.between(1, 8);
            for _ in 0..times {
                put(bytes, at, &piece);
            }
        }
        5 => bytes.truncate(at),
        6 => {
            let other = chance.one_of(others).clone();
            let from = place(other.len(), chance);
            let piece = &other[from..end(from, other.len(), chance)];
            put(bytes, at, piece);
        }
        7 => {
            let other = chance.one_of(others).clone();
            bytes.truncate(at);
            bytes.extend_from_slice(&other[place(other.len(), chance)..]);
        }
        8 if !words.is_empty() => {
            let word: &&[u8] = chance.one_of(words);
            put(bytes, at, word);
        }
        9 if !words.is_empty() => {
            let word: &&[u8] = chance.one_of(words);
            overwrite(bytes, at, word);
        }
        10 => number(bytes, at, chance),
        _ => length(bytes, at, chance),
    }
}

fn place(length: usize, chance: &mut Chance) -> usize {
    usize::try_from(chance.between(0, length as u64)).unwrap_or(0)
}

/// Returns the end of a random piece of an input that begins at `at`. Most pieces are at most 24
/// bytes long; some reach up to the end of the input.
fn end(at: usize, length: usize, chance: &mut Chance) -> usize {
    let most = if chance.between(0, 7) == 0 {
        length
    } else {
        length.min(at + 24)
    };
    at + place(most - at, chance)
}

fn put(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    if bytes.len() + piece.len() <= BYTES_MAX {
        drop(bytes.splice(at..at, piece.iter().copied()));
    }
}

fn overwrite(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let end = bytes.len().min(at + piece.len());
    drop(bytes.splice(at..end, piece.iter().copied()));
}

fn flip(bytes: &mut [u8], at: usize, chance: &mut Chance) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << chance.between(0, 7);
    }
}

/// Replaces the digits at `at` by another decimal number.
fn number(bytes: &mut Vec<u8>, at: usize, chance: &mut Chance) {
    let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit());
    let end = at + digits.count();
    let number = match chance.between(0, 4) {
        0 => "0".to_owned(),
        1 => "18446744073709551615".to_owned(),
        2 => "-9223372036854775809".to_owned(),
        3 => "1e400".to_owned(),
        _ => chance.between(0, 70_000).to_string(),
    };
    drop(bytes.splice(at..end, number.bytes()));
}

/// Overwrites four bytes at `at` by a big-endian length.
fn length(bytes: &mut Vec<u8>, at: usize, chance: &mut Chance) {
    let length = match chance.between(0, 3) {
        0 => 0,
        1 => u32::MAX,
        2 => bytes.len() as u32,
        _ => chance.between(0, 600) as u32,
    };
    overwrite(bytes, at, &length.to_be_bytes());
}
