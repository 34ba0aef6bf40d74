//! Tests headers that proxies write, and headers that clients forge.

#![allow(clippy::unwrap_used)]

use http::HeaderValue;

use super::*;

/// Returns the client that these headers name, and whether they report https, with trusted proxies
/// in 10.0.0.0/8 and fd00::/8.
fn read(lines: &[(&str, &str)]) -> (Option<String>, Option<bool>) {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let proxies = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
    let found = forwarding(&headers, &proxies);
    (
        found.client.map(|client| client.to_string()),
        found.is_https,
    )
}

fn check(lines: &[(&str, &str)], client: Option<&str>, is_https: Option<bool>) {
    let found = read(lines);
    assert_eq!(found, (client.map(str::to_owned), is_https), "{lines:?}");
}

#[test]
fn x_forwarded_for_is_read_from_the_right() {
    for (value, client) in [
        ("192.0.2.1", Some("192.0.2.1")),
        ("192.0.2.1, 10.0.0.7,10.0.0.8", Some("192.0.2.1")),
        ("203.0.113.9, 192.0.2.1, 10.0.0.7", Some("192.0.2.1")),
        ("192.0.2.1:4711", Some("192.0.2.1")),
        ("2001:db8::1", Some("2001:db8::1")),
        ("[2001:db8::1]", Some("2001:db8::1")),
        ("2001:db8::1, [fd00::7]:443", Some("2001:db8::1")),
        ("::ffff:192.0.2.1", Some("192.0.2.1")),
        ("10.0.0.9, 10.0.0.8", Some("10.0.0.9")),
        ("192.0.2.1, unknown, 10.0.0.8", Some("10.0.0.8")),
        ("192.0.2.1, 300.1.1.1", None),
        ("192.0.2.1:", None),
        ("192.0.2.1:port", None),
        ("unknown", None),
        ("", None),
        (" , 192.0.2.1 ,", Some("192.0.2.1")),
        ("\u{e9}, 10.0.0.8", None),
    ] {
        check(&[("x-forwarded-for", value)], client, None);
    }
    let lines = [
        ("x-forwarded-for", "203.0.113.9, \u{e9}"),
        ("x-forwarded-for", "192.0.2.1, 10.0.0.7"),
        ("x-forwarded-for", "10.0.0.8"),
    ];
    check(&lines, Some("192.0.2.1"), None);
}

#[test]
fn forwarded_is_read_from_the_right() {
    for (value, client, is_https) in [
        ("for=192.0.2.1;proto=https", Some("192.0.2.1"), Some(true)),
        ("for=192.0.2.1;proto=http", Some("192.0.2.1"), Some(false)),
        ("for=192.0.2.1", Some("192.0.2.1"), None),
        ("for=\"[2001:db8::1]:80\"", Some("2001:db8::1"), None),
        // In the next two values, the client itself wrote the first element. The first proxy added
        // the second element, and the second proxy the third.
        (
            "for=203.0.113.9;proto=https, for=192.0.2.1;proto=http, for=10.0.0.7;proto=https",
            Some("192.0.2.1"),
            Some(false),
        ),
        (
            "for=203.0.113.9;proto=http, for=192.0.2.1;proto=HTTPS, for=10.0.0.7;proto=http",
            Some("192.0.2.1"),
            Some(true),
        ),
        ("for=_hidden;proto=https", None, Some(true)),
        (
            "for=_hidden;proto=https, for=10.0.0.7",
            Some("10.0.0.7"),
            Some(true),
        ),
        ("proto=https", None, Some(true)),
        ("for=\"192.0.2.1", None, Some(false)),
        ("for=\"x, for=192.0.2.1;proto=https", None, Some(false)),
        ("", None, None),
    ] {
        check(&[("forwarded", value)], client, is_https);
    }
    let lines = [
        ("forwarded", "nonsense of the client"),
        ("forwarded", "for=192.0.2.1;proto=https"),
    ];
    check(&lines, Some("192.0.2.1"), Some(true));
}

#[test]
fn https_counts_only_if_every_value_is_https() {
    for (value, is_https) in [
        ("https", true),
        ("HTTPS", true),
        ("https, https", true),
        ("http", false),
        ("https, http", false),
        ("http,https", false),
        ("", false),
        ("wss", false),
    ] {
        check(&[("x-forwarded-proto", value)], None, Some(is_https));
    }
    let lines = [
        ("x-forwarded-proto", "https"),
        ("x-forwarded-proto", "http"),
    ];
    check(&lines, None, Some(false));
}

#[test]
fn two_kinds_of_headers_must_agree() {
    let usual = ("x-forwarded-for", "192.0.2.1");
    let over = |proto| ("x-forwarded-proto", proto);
    let standard = ("forwarded", "for=192.0.2.1;proto=https");
    check(
        &[usual, over("https"), standard],
        Some("192.0.2.1"),
        Some(true),
    );
    let forged = ("forwarded", "for=203.0.113.9;proto=https");
    check(&[usual, over("https"), forged], None, Some(true));
    check(&[usual, over("http"), forged], None, Some(false));
    let hidden = ("forwarded", "for=unknown;proto=http");
    check(
        &[usual, over("https"), hidden],
        Some("192.0.2.1"),
        Some(false),
    );
    check(&[usual, over("https")], Some("192.0.2.1"), Some(true));
    check(&[], None, None);
}
