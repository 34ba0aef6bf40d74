//! The beginning of a text that the service sent, in the form in which it is stored and shown.

use std::fmt::Write as _;

use hookbox_event::is_unsafe;

/// The mark at the end of a text of which only the beginning is kept.
const MARK: &str = "…";

/// Returns the beginning of a text, with at most `bytes_max` bytes. `is_cut` says whether the text
/// continues after `bytes`.
///
/// Bytes that are not UTF-8 and characters that a terminal would interpret are escaped. Backslashes
/// are escaped, too, so that the text cannot imitate an escaped character.
pub(crate) fn of(bytes: &[u8], bytes_max: usize, is_cut: bool) -> String {
    let room = bytes_max.saturating_sub(MARK.len());
    let mut text = String::new();
    // The length to which the text is cut, if it turns out to be too long.
    let mut cut = 0;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' || is_unsafe(c) {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
            if text.len() <= room {
                cut = text.len();
            } else if text.len() > bytes_max {
                break;
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
            if text.len() <= room {
                cut = text.len();
            }
        }
        if text.len() > bytes_max {
            break;
        }
    }
    if text.len() > bytes_max || (is_cut && text.len() > room) {
        text.truncate(cut);
        text.push_str(MARK);
    } else if is_cut {
        text.push_str(MARK);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_kept_and_the_rest_is_escaped() {
        for (bytes, expect) in [
            (&b""[..], ""),
            (b"no such order", "no such order"),
            ("Zürich, 5 €, 東京".as_bytes(), "Zürich, 5 €, 東京"),
            (b"a\nb\x1b[31m\0", "a\\nb\\u{1b}[31m\\u{0}"),
            (b"a\\nb", "a\\\\nb"),
            (b"a\xffb\xc3", "a\\xffb\\xc3"),
            ("\u{202e}abc\u{9b}".as_bytes(), "\\u{202e}abc\\u{9b}"),
        ] {
            assert_eq!(of(bytes, 100, false), expect);
            assert_eq!(of(bytes, 100, true), format!("{expect}…"));
        }
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        assert_eq!(of(b"1234567890", 10, false), "1234567890");
        assert_eq!(of(b"1234567890", 10, true), "1234567…");
        assert_eq!(of(b"12345678901", 10, false), "1234567…");
        assert_eq!(of("€€€€".as_bytes(), 10, false), "€€…");
        assert_eq!(of(b"123456\xff\xff", 10, false), "123456…");
        assert_eq!(of(b"\n\n\n\n\n\n", 10, false), "\\n\\n\\n…");
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_short_text(bytes: Vec<u8>, is_cut: bool, max in 3_usize..64) {
            let text = of(&bytes, max, is_cut);
            prop_assert!(text.len() <= max, "{text}");
            prop_assert!(!text.contains(is_unsafe), "{text}");
            prop_assert!(!is_cut || text.ends_with(MARK), "{text}");
        }
    }
}
