//! Reads the text of a header that may occur several times and may contain any bytes.

use http::{HeaderMap, HeaderName};

/// Returns the text of a header byte for byte. Several lines of one name are joined, as RFC 9110
/// §5.3 allows every recipient and every proxy to do. `None` if the header is absent or empty.
pub(crate) fn header_text(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let lines = headers.get_all(name).iter().map(|value| value.as_bytes());
    let lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
    (!lines.is_empty()).then(|| lines.join(&b", "[..]))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn text(lines: &[&[u8]]) -> Option<Vec<u8>> {
        let name = HeaderName::from_static("x-event");
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_bytes(line).expect("the line must be valid");
            headers.append(&name, value);
        }
        header_text(&headers, &name)
    }

    #[test]
    fn lines_are_joined_and_bytes_are_kept() {
        assert_eq!(text(&[]), None);
        assert_eq!(text(&[b""]), None);
        assert_eq!(text(&[b"", b"push", b""]), Some(b"push".to_vec()));
        assert_eq!(text(&[b"a", b"b"]), text(&[b"a, b"]));
        assert_eq!(text(&[b"a", b"b"]), Some(b"a, b".to_vec()));
        assert_eq!(text(&[b"\xff\x80"]), Some(b"\xff\x80".to_vec()));
    }
}
