//! The headers that the config adds to each request.

use std::collections::BTreeMap;

use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::invalid::InvalidSettings;
use crate::settings::{ReadSecret, Reference, Settings};

/// The highest number of headers in both tables together. Servers accept about 100 headers, and
/// proxies on the way add some.
const HEADERS_MAX: usize = 32;

/// The longest value of a header, in bytes. Servers accept 8 KiB for all headers together.
const VALUE_BYTES_MAX: usize = 2048;

/// The content type if the config sets no other one. Nearly all events have a JSON body.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Headers that the config must not set: hookbox sets them for each request, or they decide how a
/// request is transmitted. Headers that begin with `webhook-`, `hookbox-` or `proxy-` are refused,
/// too.
const RESERVED: [&str; 13] = [
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Headers whose values are secrets. The table `headers` must not have them, because `check-config`
/// shows it.
const SECRET: [HeaderName; 3] = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE];

/// Returns the headers of both tables and the header `Content-Type`.
pub(crate) fn read(
    settings: &Settings,
    read_secret: ReadSecret<'_>,
) -> Result<HeaderMap, InvalidSettings> {
    let found = settings.headers.len() + settings.secret_headers.len();
    if found > HEADERS_MAX {
        let max = HEADERS_MAX;
        return Err(InvalidSettings::HeaderCount { found, max });
    }
    let mut headers = plain(&settings.headers)?;
    add_secrets(&mut headers, &settings.secret_headers, read_secret)?;
    headers.entry(CONTENT_TYPE).or_insert(JSON);
    Ok(headers)
}

fn plain(table: &BTreeMap<String, String>) -> Result<HeaderMap, InvalidSettings> {
    let mut headers = HeaderMap::new();
    for (name, value) in table {
        let wrong = |why: &str| wrong("headers", name, why);
        let header = check_name(name).map_err(wrong)?;
        if SECRET.contains(&header) {
            return Err(wrong(
                "its value is a secret: write a reference to it in secret_headers",
            ));
        }
        let value = check_value(value).map_err(wrong)?;
        if headers.insert(header, value).is_some() {
            return Err(wrong("it occurs twice"));
        }
    }
    Ok(headers)
}

fn add_secrets(
    headers: &mut HeaderMap,
    table: &BTreeMap<String, Reference>,
    read_secret: ReadSecret<'_>,
) -> Result<(), InvalidSettings> {
    for (name, reference) in table {
        let wrong = |why: &str| wrong("secret_headers", name, why);
        let header = check_name(name).map_err(wrong)?;
        let text = read_secret(reference).map_err(|why| wrong(&why))?;
        let mut value = check_value(&text).map_err(wrong)?;
        // This keeps the value out of the `Debug` output of the headers.
        value.set_sensitive(true);
        if headers.insert(header, value).is_some() {
            return Err(wrong("it occurs twice"));
        }
    }
    Ok(())
}

fn wrong(table: &'static str, name: &str, why: &str) -> InvalidSettings {
    InvalidSettings::Header {
        table,
        name: name.to_owned(),
        why: why.to_owned(),
    }
}

fn check_name(name: &str) -> Result<HeaderName, &'static str> {
    let header: HeaderName = name.parse().map_err(|_| "it is not a valid header name")?;
    let prefixes = ["webhook-", "hookbox-", "proxy-"];
    let is_reserved = RESERVED.contains(&header.as_str())
        || prefixes.iter().any(|it| header.as_str().starts_with(it));
    if is_reserved && header != PROXY_AUTHORIZATION {
        return Err("hookbox or HTTP itself sets it");
    }
    Ok(header)
}

fn check_value(value: &str) -> Result<HeaderValue, &'static str> {
    if value.len() > VALUE_BYTES_MAX {
        return Err("its value is longer than 2048 bytes");
    }
    // Some servers remove white space around a value, and others do not.
    if value.trim() != value || !value.bytes().all(|c| matches!(c, b' '..=b'~')) {
        return Err("its value has white space around it, or characters other than visible ASCII");
    }
    HeaderValue::from_str(value).map_err(|_| "its value cannot be sent")
}

#[cfg(test)]
mod tests;
