//! Makes untrusted text storable in every database and safe to show on every page.

use std::borrow::Cow;
use std::fmt::Write;

/// The most bytes of a stored text, including the mark at the end of a shortened text.
pub const STORABLE_MAX: usize = 4_096;

/// The greatest length in bytes of the mark at the end of a shortened text. The mark contains the
/// length of the whole text, which has at most 20 digits.
const MARK_MAX: usize = 40;

/// Returns a text in the form in which it is stored. Control characters are escaped (NUL among
/// them, which PostgreSQL cannot hold). A text longer than [`STORABLE_MAX`] is shortened, and gets
/// a mark with its full length. Line feeds stay, because dead letters are grouped by the first line
/// of their detail.
///
/// Use it for everything that a handler, a sender or an operator wrote: errors, details, key ids,
/// trace parents, actors, reasons. Applied to its own result, it changes nothing.
pub fn storable(text: &str) -> Cow<'_, str> {
    if text.len() <= STORABLE_MAX && !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let room = STORABLE_MAX - MARK_MAX;
    let mut kept = String::with_capacity(text.len().min(STORABLE_MAX));
    // The number of bytes to keep if the whole text turns out to be too long.
    let mut cut = 0;
    for c in text.chars() {
        if is_escaped(c) {
            kept.extend(c.escape_default());
        } else {
            kept.push(c);
        }
        if kept.len() <= room {
            cut = kept.len();
        }
        if kept.len() > STORABLE_MAX {
            kept.truncate(cut);
            // Writing to a `String` cannot fail.
            let _ = write!(kept, " … (cut, {} bytes)", text.len());
            break;
        }
    }
    Cow::Owned(kept)
}

fn is_escaped(c: char) -> bool {
    c.is_control() && c != '\n'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_stored_stays_and_the_rest_is_escaped() {
        for (text, expect) in [
            ("", ""),
            ("it did not work", "it did not work"),
            ("Zürich, 5 €, 東京, 🦀", "Zürich, 5 €, 東京, 🦀"),
            ("a\\b 'c' \"d\"", "a\\b 'c' \"d\""),
            ("a\0b", "a\\u{0}b"),
            ("a\r\nb\tc", "a\\r\nb\\tc"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("\u{7f}\u{85}", "\\u{7f}\\u{85}"),
        ] {
            assert_eq!(storable(text), expect);
            assert_eq!(storable(&storable(text)), expect, "again");
        }
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters_and_marked() {
        let whole = "x".repeat(STORABLE_MAX);
        assert_eq!(storable(&whole), whole);
        for text in [
            "x".repeat(STORABLE_MAX + 1),
            "€".repeat(STORABLE_MAX),
            "\0".repeat(STORABLE_MAX),
            format!("x{}", "🦀".repeat(STORABLE_MAX)),
            // Without the escapes, this text would be within the limit.
            "\t".repeat(STORABLE_MAX / 2 + 1),
        ] {
            let kept = storable(&text);
            assert!(kept.len() <= STORABLE_MAX, "{}", kept.len());
            assert!(kept.len() > STORABLE_MAX - 2 * MARK_MAX, "{}", kept.len());
            let mark = format!(" … (cut, {} bytes)", text.len());
            assert!(kept.ends_with(&mark), "{kept}");
            assert!(!kept.contains(is_escaped));
            assert_eq!(storable(&kept), kept, "again");
        }
    }

    #[test]
    fn the_longest_mark_has_room() {
        let mark = format!(" … (cut, {} bytes)", usize::MAX);
        assert!(mark.len() <= MARK_MAX, "{}", mark.len());
    }
}
