//! The target of requests: a URL, which is parsed once at the start.

use http::Uri;
use http::uri::PathAndQuery;

/// The URL to which requests are posted, in parts.
#[derive(Debug, Clone)]
pub struct Target {
    pub(super) secure: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// The host and port as they are written in the `Host` header.
    pub(super) authority: String,
    pub(super) path: PathAndQuery,
}

/// The error for a URL that cannot be posted to.
#[derive(Debug, thiserror::Error)]
#[error("{url:?} cannot be posted to: {why}; write a URL such as http://127.0.0.1:8080")]
pub struct BadTarget {
    url: String,
    why: &'static str,
}

impl Target {
    /// Returns the endpoint of a source below a base URL. A URL that already has a path is used
    /// unchanged.
    pub fn new(url: &str, source: &str) -> Result<Self, BadTarget> {
        let bad = |why| BadTarget {
            url: url.chars().take(200).collect(),
            why,
        };
        let uri: Uri = url.parse().map_err(|_| bad("the text is not a URL"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(bad("the URL must begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| bad("the URL has no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("the URL must not contain a user or a password"));
        }
        let path = match uri.path_and_query().map_or("/", PathAndQuery::as_str) {
            "" | "/" => format!("/hooks/{source}"),
            path => path.to_owned(),
        };
        Ok(Self {
            secure,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority
                .port_u16()
                .unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.to_string(),
            path: path
                .parse()
                .map_err(|_| bad("the path of the URL cannot be used"))?,
        })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_gets_the_path_of_its_source() {
        for (url, expect) in [
            (
                "http://127.0.0.1:8080",
                "http://127.0.0.1:8080/hooks/begini",
            ),
            (
                "http://127.0.0.1:8080/",
                "http://127.0.0.1:8080/hooks/begini",
            ),
            ("https://example.org", "https://example.org/hooks/begini"),
            (
                "https://example.org/in/x?y=1",
                "https://example.org/in/x?y=1",
            ),
            ("http://[::1]:8080", "http://[::1]:8080/hooks/begini"),
        ] {
            assert_eq!(Target::new(url, "begini").expect(url).to_string(), expect);
        }
        let six = Target::new("https://[::1]", "begini").expect("the URL must be valid");
        assert_eq!((six.host.as_str(), six.port), ("::1", 443));
        for bad in ["", "127.0.0.1:8080", "ftp://x", "http://", "http://u:p@x"] {
            assert!(Target::new(bad, "begini").is_err(), "{bad}");
        }
    }
}
