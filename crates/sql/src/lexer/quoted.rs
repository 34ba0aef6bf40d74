//! Finds the ends of strings and quoted names.

/// Returns the length in bytes of the quoted text with which `rest` begins; `None` if it does not
/// end. Inside the text, a doubled quote stands for the quote itself. `quote` is one byte long.
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

/// Returns the length in bytes of a PostgreSQL string with the letter E before it, in which a
/// backslash escapes the next character; `None` if it does not end.
pub(super) fn escape_string(rest: &str) -> Option<usize> {
    let mut end = escaped(rest, 2)?;
    // A further string after a new line continues the first one, and has the same escapes.
    while let Some(further) = continuation(rest.get(end..)?) {
        end = escaped(rest, end + further)?;
    }
    Some(end)
}

/// Returns the offset in bytes after the closing quote of a string with escapes; `None` if the
/// string does not end. `at` is the offset after its opening quote.
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

/// `after` is the text after a string. Returns the offset in `after` that follows the opening quote
/// of another string, if that string continues the first one; `None` otherwise. Between the two
/// strings, there may be only comments that begin with `--`, and white space, which must contain a
/// new line.
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
