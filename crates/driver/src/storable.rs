//! Changes untrusted text so that every database can store it and every page can show it safely.

use std::borrow::Cow;
use std::fmt::Write;

/// The largest number of bytes of a stored text, including the mark at the end of a shortened text.
pub const STORABLE_MAX: usize = 4_096;

/// The largest number of bytes of the mark at the end of a shortened text. The mark contains the
/// length of the original text, a number of at most 20 digits.
const MARK_MAX: usize = 40;

/// Returns a text in the form in which it is stored. Control characters are escaped, among them
/// NUL, which PostgreSQL cannot store. Line feeds stay, because dead letters are grouped by the
/// first line of their detail. A text longer than [`STORABLE_MAX`] is shortened, and a mark with
/// its original length is added.
///
/// This function must be used for every text that a handler, a sender or an operator has written:
/// errors, details, key ids, trace parents, actors, reasons. A text that is already in this form is
/// not changed.
pub fn storable(text: &str) -> Cow<'_, str> {
    if text.len() <= STORABLE_MAX && !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let room = STORABLE_MAX - MARK_MAX;
    let mut kept = String::with_capacity(text.len().min(STORABLE_MAX));
    // The length in bytes to which the text is cut, if it turns out to be too long.
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
            assert_eq!(
                storable(&storable(text)),
                expect,
                "a storable text must stay unchanged"
            );
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
            // This text is within the limit, and too long after its tabs are escaped.
            "\t".repeat(STORABLE_MAX / 2 + 1),
        ] {
            let kept = storable(&text);
            assert!(kept.len() <= STORABLE_MAX, "{}", kept.len());
            assert!(kept.len() > STORABLE_MAX - 2 * MARK_MAX, "{}", kept.len());
            let mark = format!(" … (cut, {} bytes)", text.len());
            assert!(kept.ends_with(&mark), "{kept}");
            assert!(!kept.contains(is_escaped));
            assert_eq!(storable(&kept), kept, "a storable text must stay unchanged");
        }
    }

    #[test]
    fn the_longest_mark_has_room() {
        let mark = format!(" … (cut, {} bytes)", usize::MAX);
        assert!(mark.len() <= MARK_MAX, "{}", mark.len());
    }
}
