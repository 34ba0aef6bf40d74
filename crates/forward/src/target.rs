//! The target: the service that the URL names.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use http::uri::{Authority, PathAndQuery};

use crate::address::AddressPolicy;
use crate::invalid::InvalidSettings;

/// The longest URL, in bytes. Servers accept request lines of 8 KiB, which also contain the method.
const URL_BYTES_MAX: usize = 2048;

/// The service to which requests are posted. It is displayed as the scheme, host and port of its
/// URL. The path and the query are left out, because they may contain a secret although they should
/// not. Two spellings of the same scheme, host and port are displayed alike, because the limits for
/// calls are kept under the displayed text.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub is_secure: bool,
    /// The host without brackets and without a dot at its end.
    pub host: String,
    /// The host as an address, if it is one. An address needs no lookup.
    pub address: Option<IpAddr>,
    pub port: u16,
    /// The host and port as they are written in the `Host` header.
    pub authority: String,
    pub path: PathAndQuery,
    pub policy: AddressPolicy,
}

impl Target {
    pub fn read(url: &str, private_host: Option<&str>) -> Result<Self, InvalidSettings> {
        let uri = parse(url)?;
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(InvalidSettings::Url("it must begin with https://")),
        };
        let authority = uri
            .authority()
            .ok_or(InvalidSettings::Url("it has no host"))?;
        let host = host(authority.host());
        if host.is_empty() {
            return Err(InvalidSettings::Url("it has no host"));
        }
        let port = port(authority, is_secure)?;
        let private_host = private_host.map(|private| (private, self::host(private)));
        if let Some((written, private)) = &private_host
            && *private != host
        {
            let private_host = (*written).to_owned();
            return Err(InvalidSettings::OtherHost { private_host, host });
        }
        let policy = AddressPolicy {
            is_private_host: private_host.is_some(),
            is_plain: !is_secure,
        };
        if policy.is_plain && !policy.is_private_host {
            return Err(InvalidSettings::InTheClear { host });
        }
        let address = host.parse().ok();
        if let Some(address) = address {
            policy.check(&[address]).map_err(InvalidSettings::Address)?;
        }
        let path = uri.path_and_query().cloned();
        Ok(Self {
            is_secure,
            address,
            port,
            authority: authority.as_str().to_ascii_lowercase(),
            path: path.unwrap_or_else(|| PathAndQuery::from_static("/")),
            policy,
            host,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, default) = scheme(self.is_secure);
        match self.address {
            Some(IpAddr::V6(address)) => write!(f, "{scheme}://[{address}]")?,
            Some(IpAddr::V4(_)) | None => write!(f, "{scheme}://{}", self.host)?,
        }
        if self.port == default {
            Ok(())
        } else {
            write!(f, ":{}", self.port)
        }
    }
}

/// Parses the URL, and refuses parts that would be ignored or sent in the clear.
fn parse(url: &str) -> Result<Uri, InvalidSettings> {
    let wrong = |why| Err(InvalidSettings::Url(why));
    if url.len() > URL_BYTES_MAX {
        return wrong("it is longer than 2048 bytes");
    }
    if !url.is_ascii() {
        return wrong(
            "it has characters other than ASCII; write the host in its form `xn--…`, and percent-\
             encode the path",
        );
    }
    if url.contains('#') {
        return wrong("it has a fragment (#…), which is never sent");
    }
    let Ok(uri) = url.parse::<Uri>() else {
        return wrong("it cannot be read as a URL");
    };
    if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        return wrong(
            "it contains a user or a password; set the header Authorization in secret_headers",
        );
    }
    Ok(uri)
}

/// Returns the scheme of URLs, and its port.
fn scheme(is_secure: bool) -> (&'static str, u16) {
    if is_secure {
        ("https", 443)
    } else {
        ("http", 80)
    }
}

/// Returns the port. (`Authority::port` returns `None` for a port that is not a number, so the
/// default port would be used instead.)
fn port(authority: &Authority, is_secure: bool) -> Result<u16, InvalidSettings> {
    let rest = authority.as_str().strip_prefix(authority.host());
    let rest = rest.unwrap_or_default();
    if rest.is_empty() {
        let (_, default) = scheme(is_secure);
        return Ok(default);
    }
    let digits = rest.strip_prefix(':');
    let digits = digits.filter(|port| port.bytes().all(|c| c.is_ascii_digit()));
    let port = digits.and_then(|port| port.parse().ok());
    port.filter(|port| *port != 0).ok_or(InvalidSettings::Url(
        "its port is not a number from 1 to 65535",
    ))
}

/// Returns a host in the form in which hosts are compared: in lower case, without the brackets of
/// an IPv6 address, and without the dot with which a full name may end.
fn host(text: &str) -> String {
    let text = text.trim_matches(['[', ']']);
    text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const PORT: &str = "its port is not a number from 1 to 65535";

    #[test]
    fn a_url_is_read_in_its_parts() {
        for (url, private_host, shown, host, port, path) in [
            (
                "https://Orders.example.org/in?a=1",
                None,
                "https://orders.example.org",
                "orders.example.org",
                443,
                "/in?a=1",
            ),
            (
                "https://orders.example.org.:8443",
                None,
                "https://orders.example.org:8443",
                "orders.example.org",
                8443,
                "/",
            ),
            (
                "https://orders.example.org:443/in",
                None,
                "https://orders.example.org",
                "orders.example.org",
                443,
                "/in",
            ),
            (
                "http://app:3000/hooks",
                Some("APP"),
                "http://app:3000",
                "app",
                3000,
                "/hooks",
            ),
            (
                "http://[::1]/",
                Some("[::1]"),
                "http://[::1]",
                "::1",
                80,
                "/",
            ),
            (
                "https://127.0.0.1/",
                Some("127.0.0.1"),
                "https://127.0.0.1",
                "127.0.0.1",
                443,
                "/",
            ),
            (
                "https://1.1.1.1",
                None,
                "https://1.1.1.1",
                "1.1.1.1",
                443,
                "/",
            ),
        ] {
            let target = Target::read(url, private_host).expect(url);
            assert_eq!(target.to_string(), shown);
            assert_eq!((target.host.as_str(), target.port), (host, port), "{url}");
            assert_eq!(target.path.as_str(), path, "{url}");
            assert_eq!(target.address, host.parse().ok());
        }
    }

    #[test]
    fn an_address_of_ipv6_is_displayed_in_one_way() {
        for host in ["[::1]:8080", "[0:0:0:0:0:0:0:1]:8080", "[0::1]:8080"] {
            let (address, _) = host.rsplit_once(':').unwrap();
            let target = Target::read(&format!("http://{host}/"), Some(address)).unwrap();
            assert_eq!(target.to_string(), "http://[::1]:8080");
            assert_eq!(target.authority, host);
        }
    }

    #[test]
    fn what_cannot_be_posted_to_is_refused_with_the_reason() {
        for (url, why) in [
            ("", "it cannot be read as a URL"),
            ("orders.example.org/in", "it cannot be read as a URL"),
            ("orders.example.org", "it must begin with https://"),
            ("/in", "it must begin with https://"),
            ("ftp://example.org/", "it must begin with https://"),
            ("https://", "it cannot be read as a URL"),
            ("https://example.org:0/", PORT),
            ("https://example.org:99999/", PORT),
            ("https://example.org:+80/", PORT),
            ("https://example.org:/", PORT),
            ("https://exa mple.org/", "it cannot be read as a URL"),
            (
                "https://müller.example/",
                "it has characters other than ASCII",
            ),
            ("https://example.org/#a", "it has a fragment (#…), which"),
            (
                "https://u:p@example.org/",
                "it contains a user or a password",
            ),
            ("http://example.org/", "http:// would send the body"),
            ("https://127.0.0.1/", "127.0.0.1 is a loopback address"),
            ("https://[fe80::1]/", "fe80::1 is a link-local address"),
            (
                "https://[::ffff:10.0.0.1]/",
                "::ffff:10.0.0.1 is a private address",
            ),
        ] {
            let error = Target::read(url, None).unwrap_err().to_string();
            assert!(error.starts_with(&format!("url: {why}")), "{url}: {error}");
            assert!(!error.contains("u:p"), "{error}");
        }
        let long = format!("https://example.org/{}", "a".repeat(URL_BYTES_MAX));
        assert!(Target::read(&long, None).is_err());
    }

    #[test]
    fn a_private_host_that_cannot_be_posted_to_is_refused_with_the_reason() {
        for (url, private_host, why) in [
            (
                "http://example.org/",
                "example.com",
                "private_host: \"example.com\" is not the host of the URL, which is \
                 \"example.org\"",
            ),
            (
                "http://1.1.1.1/",
                "1.1.1.1",
                "url: 1.1.1.1 is an address of the public internet",
            ),
            (
                "http://169.254.169.254/",
                "169.254.169.254",
                "url: 169.254.169.254 is the address of a metadata service",
            ),
        ] {
            let error = Target::read(url, Some(private_host)).unwrap_err();
            assert!(error.to_string().starts_with(why), "{url}: {error}");
        }
    }
}
