//! Finds the ends of strings and quoted names.

/// Returns the length of a text in quotes, which contains the quote itself only doubled; `None` if
/// it does not end. The text begins with the quote, which is one byte long.
pub(super) fn doubled(rest: &str, quote: char) -> Option<usize> {
    let mut at = 1;
    loop {
        at += rest.get(at..)?.find(quote)? + 1;
        if !rest.get(at..)?.starts_with(quote) {
            return Some(at);
        }
        at += 1;
    }
}

/// Returns the length of a PostgreSQL string with the letter E before it, in which a backslash may
/// come before the quote; `None` if it does not end.
pub(super) fn escape_string(rest: &str) -> Option<usize> {
    let mut end = escaped(rest, 2)?;
    // A further string after a new line continues the first one, also its escapes.
    while let Some(further) = continuation(rest.get(end..)?) {
        end = escaped(rest, end + further)?;
    }
    Some(end)
}

/// Returns the end of a string with escapes whose first character after the quote is at `at`.
fn escaped(rest: &str, mut at: usize) -> Option<usize> {
    let bytes = rest.as_bytes();
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// Returns the offset of the first character in the string that continues the one before. Between
/// the two may be only white space, of which one is a new line, and comments to the end of a line.
fn continuation(after: &str) -> Option<usize> {
    let bytes = after.as_bytes();
    let (mut at, mut has_newline) = (0, false);
    loop {
        match bytes.get(at)? {
            b'\n' | b'\r' => (at, has_newline) = (at + 1, true),
            b' ' | b'\t' | 0xb | 0xc => at += 1,
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at += after.get(at..)?.find(['\n', '\r'])?;
            }
            b'\'' if has_newline => return Some(at + 1),
            _ => return None,
        }
    }
}
