//! Parses one line of the header `Forwarded` (RFC 7239).

/// What one proxy has added about a request that it received.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    /// The `for` parameter, which names the sender of the request: an address, or a name such as
    /// `_hidden` in place of the address.
    pub from: Option<String>,
    /// The protocol over which the proxy received the request.
    pub proto: Option<String>,
}

/// Returns the elements of a line in their order; `None` if the line violates RFC 7239. The client
/// may have written the left part of a line, so an invalid line is not used at all.
pub(crate) fn elements(line: &str) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    let mut rest = line;
    loop {
        let (element, after) = element(rest)?;
        // A list may have empty elements (RFC 9110, section 5.6.1).
        elements.extend(element);
        match after {
            Some(after) => rest = after,
            None => return Some(elements),
        }
    }
}

/// Parses the first element and returns it, unless it is empty, together with the text after its
/// comma.
fn element(text: &str) -> Option<(Option<Element>, Option<&str>)> {
    let mut element = Element::default();
    let mut is_empty = true;
    let mut rest = text;
    loop {
        rest = trim(rest);
        if !rest.starts_with([';', ',']) && !rest.is_empty() {
            let (name, after) = rest.split_once('=')?;
            let (value, after) = value(after)?;
            if !is_token(name) {
                return None;
            }
            let place = match name.to_ascii_lowercase().as_str() {
                "for" => Some(&mut element.from),
                "proto" => Some(&mut element.proto),
                _ => None,
            };
            // A parameter may occur only once in an element: of two values it is unknown which is
            // true.
            if place.is_some_and(|place| place.replace(value).is_some()) {
                return None;
            }
            is_empty = false;
            rest = trim(after);
        }
        let mut chars = rest.chars();
        match chars.next() {
            None => return Some(((!is_empty).then_some(element), None)),
            Some(',') => return Some(((!is_empty).then_some(element), Some(chars.as_str()))),
            Some(';') => rest = chars.as_str(),
            Some(_) => return None,
        }
    }
}

/// Parses a token or a quoted text, and returns it with the text that follows.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c| !is_token_char(c)).unwrap_or(text.len());
        let (token, after) = text.split_at(end);
        return (!token.is_empty()).then(|| (token.to_owned(), after));
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            other => value.push(other),
        }
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_token_char)
}

/// Returns whether a token may contain this character (RFC 9110, section 5.6.2). The colon is
/// allowed too, because proxies write `for=192.0.2.1:80` without the required quotes.
fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(line: &str) -> Option<Vec<(Option<String>, Option<String>)>> {
        let elements = elements(line)?.into_iter();
        Some(elements.map(|one| (one.from, one.proto)).collect())
    }

    fn one(from: Option<&str>, proto: Option<&str>) -> (Option<String>, Option<String>) {
        (from.map(str::to_owned), proto.map(str::to_owned))
    }

    #[test]
    fn elements_are_read_in_their_order() {
        assert_eq!(
            pairs("for=192.0.2.60;proto=http;by=203.0.113.43, For=\"[2001:db8::1]:4711\""),
            Some(vec![
                one(Some("192.0.2.60"), Some("http")),
                one(Some("[2001:db8::1]:4711"), None),
            ])
        );
        assert_eq!(
            pairs("PROTO=https ; for=\"a,b;\\\"c\""),
            Some(vec![one(Some("a,b;\"c"), Some("https"))])
        );
        assert_eq!(
            pairs(" , for=_gazonk,;"),
            Some(vec![one(Some("_gazonk"), None)])
        );
        assert_eq!(pairs(""), Some(Vec::new()));
    }

    #[test]
    fn a_line_that_violates_the_rfc_has_no_elements() {
        for line in [
            "for",
            "for=",
            "=192.0.2.1",
            "for=\"192.0.2.1",
            "for=\"192.0.2.1\\",
            "for=\"192.0.2.1\"x",
            "for=192.0.2.1 proto=https",
            "for=192.0.2.1;for=192.0.2.2",
            "for=192.0.2.1;proto=https;proto=http",
            "fo r=192.0.2.1",
            "for=\"x, for=192.0.2.1;proto=https",
        ] {
            assert_eq!(pairs(line), None, "{line}");
        }
    }
}
