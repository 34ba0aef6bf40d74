//! Tests which headers of the config are accepted.

#![allow(clippy::unwrap_used)]

use super::*;

type Table<'t> = &'t [(&'t str, &'t str)];

/// Reads both tables. In these tests, the name of an environment variable is the secret itself.
fn headers(plain: Table<'_>, secret: Table<'_>) -> Result<HeaderMap, String> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let reference = |value| Reference {
        env: Some(value),
        file: None,
        mode: None,
    };
    let secret = secret.iter().map(own);
    let settings = Settings {
        url: String::new(),
        private_host: None,
        secrets: Vec::new(),
        headers: plain.iter().map(own).collect(),
        secret_headers: secret
            .map(|(name, value)| (name, reference(value)))
            .collect(),
        ca_file: None,
        limits: Default::default(),
        concurrency: None,
        rate: None,
        repeatable: false,
    };
    let read_secret = |reference: &Reference| reference.env.clone().ok_or_else(String::new);
    read(&settings, &read_secret).map_err(|error| error.to_string())
}

#[test]
fn headers_are_those_of_both_tables_and_the_type_of_the_body() {
    let read = headers(
        &[("X-Tenant", "a b"), ("content-type", "text/plain")],
        &[("Authorization", "Bearer s3cret")],
    );
    let read = read.unwrap();
    assert_eq!(read.len(), 3);
    assert_eq!(read["x-tenant"], "a b");
    assert_eq!(read[CONTENT_TYPE], "text/plain");
    assert_eq!(read[AUTHORIZATION], "Bearer s3cret");
    assert!(!format!("{read:?}").contains("s3cret"), "{read:?}");
    assert_eq!(headers(&[], &[]).unwrap()[CONTENT_TYPE], "application/json");
}

#[test]
fn headers_that_hookbox_or_http_sets_are_refused() {
    let names = RESERVED.into_iter();
    let names = names.chain(["Host", "Webhook-Id", "hookbox-topic", "proxy-connection"]);
    for name in names {
        let refused = headers(&[(name, "x")], &[]).unwrap_err();
        let expect = format!("headers.{name:?}: hookbox or HTTP itself sets it");
        assert_eq!(refused, expect);
        let refused = headers(&[], &[(name, "x")]).unwrap_err();
        assert_eq!(refused, format!("secret_{expect}"));
    }
}

#[test]
fn what_cannot_be_sent_is_refused_without_the_secret() {
    let long = "x".repeat(VALUE_BYTES_MAX + 1);
    for (name, value, why) in [
        ("a b", "x", "it is not a valid header name"),
        ("", "x", "it is not a valid header name"),
        ("x", " s3cret", "its value has white space around it"),
        ("x", "s3cret\r\nb: c", "its value has white space around it"),
        ("x", "s3crét", "its value has white space around it"),
        ("x", long.as_str(), "its value is longer than 2048 bytes"),
    ] {
        for (table, refused) in [
            ("headers", headers(&[(name, value)], &[])),
            ("secret_headers", headers(&[], &[(name, value)])),
        ] {
            let refused = refused.unwrap_err();
            let expect = format!("{table}.{name:?}: {why}");
            assert!(refused.starts_with(&expect), "{refused}");
            assert!(!refused.contains("s3cr"), "{refused}");
        }
    }
    for secret in ["authorization", "Cookie", "Proxy-Authorization"] {
        let refused = headers(&[(secret, "s3cret")], &[]).unwrap_err();
        assert!(refused.contains("write a reference to it"), "{refused}");
        assert!(headers(&[], &[(secret, "s3cret")]).is_ok());
    }
    let twice = headers(&[("X-A", "1"), ("x-a", "2")], &[]).unwrap_err();
    assert!(twice.ends_with("it occurs twice"), "{twice}");
    let twice = headers(&[("x-a", "1")], &[("X-A", "2")]).unwrap_err();
    assert_eq!(twice, "secret_headers.\"X-A\": it occurs twice");
    let many: Vec<String> = (0..=HEADERS_MAX)
        .map(|number| format!("x-{number}"))
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "1")).collect();
    let refused = headers(&many, &[]).unwrap_err();
    assert_eq!(refused, "headers: 33 are set, and at most 32 are allowed");
}
