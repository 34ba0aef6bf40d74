//! The grammar of numbers in JSON.

/// Returns the end position of the JSON number (RFC 8259) that begins at `start`.
///
/// # Errors
/// The position at which `bytes` stop being a number.
#[inline]
pub fn number_end(bytes: &[u8], start: usize) -> Result<usize, usize> {
    let byte = |at: usize| bytes.get(at).copied();
    let mut at = start;
    if byte(at) == Some(b'-') {
        at += 1;
    }
    at = if byte(at) == Some(b'0') {
        at + 1
    } else {
        digits_end(bytes, at)?
    };
    if byte(at) == Some(b'.') {
        at = digits_end(bytes, at + 1)?;
    }
    if matches!(byte(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(byte(at), Some(b'+' | b'-')) {
            at += 1;
        }
        at = digits_end(bytes, at)?;
    }
    Ok(at)
}

/// Returns the end position of the digits that begin at `start`; an error with the position if
/// there is no digit.
#[inline]
fn digits_end(bytes: &[u8], start: usize) -> Result<usize, usize> {
    let rest = bytes.get(start..).unwrap_or_default();
    match rest.iter().take_while(|it| it.is_ascii_digit()).count() {
        0 => Err(start),
        count => Ok(start + count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_ends_where_its_grammar_does() {
        for (text, end) in [
            ("0", Ok(1)),
            ("-0", Ok(2)),
            ("01", Ok(1)),
            ("120,", Ok(3)),
            ("-1.50e+07]", Ok(9)),
            ("1E9.5", Ok(3)),
            ("", Err(0)),
            ("x", Err(0)),
            ("-", Err(1)),
            ("-x", Err(1)),
            (".5", Err(0)),
            ("1.", Err(2)),
            ("1.e5", Err(2)),
            ("1e", Err(2)),
            ("1e-", Err(3)),
            ("+1", Err(0)),
        ] {
            assert_eq!(number_end(text.as_bytes(), 0), end, "{text:?}");
            let behind = format!("[{text}");
            let end = end.map(|at| at + 1).map_err(|at| at + 1);
            assert_eq!(number_end(behind.as_bytes(), 1), end, "{behind:?}");
        }
        assert_eq!(number_end(b"1", 2), Err(2));
    }
}
