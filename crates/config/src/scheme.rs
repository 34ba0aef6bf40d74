//! The settings of a source that describe how its sender signs. The default of each setting comes
//! from the signature scheme of the preset.

use std::time::Duration;

use hookbox_event::Timestamp;
use hookbox_signature::{
    Algorithm, Encoding, HmacScheme, Key, Preset, Scheme, TimestampRule, can_verify,
};
use http::HeaderName;

use super::file::Source;
use super::place::Places;
use super::units::duration;

/// The default for how far a signed timestamp may differ from now.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// The default for what stands between the timestamp and the body when they are signed.
pub const SEPARATOR: &str = ".";

/// The shortest allowed tolerance: timestamps are whole seconds, and a request takes time to
/// arrive.
const TOLERANCE_MIN: Duration = Duration::from_secs(1);

/// Headers that frame a request or describe its transfer. Clients, proxies and hookbox itself
/// determine their values, so a sender's signature or timestamp can never be in them.
const OF_HTTP: [&str; 10] = [
    "connection",
    "content-encoding",
    "content-length",
    "date",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Refuses a source whose settings contradict themselves, so that not even a request signed by
/// hookbox would verify.
pub fn check_verifies(
    at: &str,
    scheme: &Scheme,
    keys: &[Key],
    now: Timestamp,
    places: &mut Places,
) {
    let valid = keys.iter().find(|key| key.is_valid(now));
    let refused = valid.and_then(|key| can_verify(scheme, key, now).err());
    if let Some(refusal) = refused {
        let what = format!(
            "no request can ever verify, because even a request that hookbox signs by these \
             settings is refused: {refusal}; compare the settings with the provider's \
             documentation"
        );
        places.mistake(at, what);
    }
}

/// Returns the tolerance of a source, or the default.
fn tolerance(at: &str, text: Option<&String>, places: &mut Places) -> Duration {
    let given = text.and_then(|text| places.take(at, duration(text)));
    if given.is_some_and(|given| given < TOLERANCE_MIN) {
        let what = "the value must be at least 1 s: timestamps are whole seconds, and with less no \
                    request would arrive in time";
        places.mistake(at, what);
    }
    given.unwrap_or(TOLERANCE)
}

/// Parses the name of a header, and refuses headers that a sender cannot set.
pub fn header(at: &str, name: &str, places: &mut Places) -> Option<HeaderName> {
    let header = places.take(at, name.parse::<HeaderName>())?;
    if OF_HTTP.contains(&header.as_str()) {
        let what = format!(
            "{header} is a header of HTTP itself, which a sender cannot choose freely; name the \
             header that the provider documents"
        );
        places.mistake(at, what);
        return None;
    }
    Some(header)
}

/// Checks the signature scheme of one source.
pub fn check(
    at: &str,
    source: &Source,
    preset: Option<Preset>,
    places: &mut Places,
) -> Option<Scheme> {
    match (source.scheme.as_deref(), preset.map(Preset::scheme)) {
        (Some("standard-webhooks"), _) | (None, Some(Scheme::StandardWebhooks { .. })) => {
            unused(at, source, &HMAC_KEYS, "scheme \"hmac\"", places);
            let at = format!("{at}/tolerance");
            let tolerance = tolerance(&at, source.tolerance.as_ref(), places);
            Some(Scheme::StandardWebhooks { tolerance })
        }
        (Some(_), _) if source.header.is_none() || source.algorithm.is_none() => {
            let what = "scheme \"hmac\" needs the keys \"header\" and \"algorithm\"";
            places.mistake(at, what);
            None
        }
        (Some(_), _) => {
            let blank = HmacScheme {
                algorithm: Algorithm::Sha256,
                encoding: Encoding::Hex,
                header: HeaderName::from_static("x-signature"),
                prefix: String::new(),
                timestamp: None,
            };
            written_out(at, source, blank, places)
        }
        (None, Some(Scheme::Hmac(preset))) => written_out(at, source, preset, places),
        (None, None) => {
            let names = Preset::NAMES.join(", ");
            places.mistake(
                at,
                format!("the source needs a preset ({names}) or a scheme"),
            );
            None
        }
    }
}

/// The keys that describe how an HMAC is written in a request.
const HMAC_KEYS: [&str; 5] = ["header", "algorithm", "encoding", "prefix", "timestamp"];

/// Records a mistake for each setting that would be ignored. The author of the config expects such
/// a setting to have an effect.
fn unused(at: &str, source: &Source, keys: &[&str], belongs_to: &str, places: &mut Places) {
    let set = |key: &str| match key {
        "header" => source.header.is_some(),
        "algorithm" => source.algorithm.is_some(),
        "encoding" => source.encoding.is_some(),
        "prefix" => source.prefix.is_some(),
        "timestamp" => source.timestamp.is_some(),
        _ => source.tolerance.is_some(),
    };
    for key in keys.iter().filter(|key| set(key)) {
        places.mistake(
            &format!("{at}/{key}"),
            format!("this key applies only to {belongs_to}"),
        );
    }
}

/// Returns the HMAC scheme of a source. It starts from `hmac`, which is the scheme of the preset or
/// one with the defaults, and replaces each value that the source sets. `None` means a mistake.
fn written_out(
    at: &str,
    source: &Source,
    mut hmac: HmacScheme,
    places: &mut Places,
) -> Option<Scheme> {
    let elsewhere = "scheme \"standard-webhooks\"; an HMAC has timestamp = { header, tolerance }";
    unused(at, source, &["tolerance"], elsewhere, places);
    match source.algorithm.as_deref() {
        Some("sha256") => hmac.algorithm = Algorithm::Sha256,
        Some(_) => hmac.algorithm = Algorithm::Sha512,
        None => {}
    }
    match source.encoding.as_deref() {
        Some("base64") => hmac.encoding = Encoding::Base64,
        Some("hex-any-case") => hmac.encoding = Encoding::HexAnyCase,
        Some(_) => hmac.encoding = Encoding::Hex,
        None => {}
    }
    if let Some(name) = &source.header {
        hmac.header = header(&format!("{at}/header"), name, places)?;
    }
    if let Some(prefix) = &source.prefix {
        hmac.prefix.clone_from(prefix);
    }
    if let Some(rule) = &source.timestamp {
        let at = format!("{at}/timestamp");
        let name = header(&format!("{at}/header"), &rule.header, places)?;
        if name == hmac.header {
            let what = format!(
                "the signature is in {name}, too, and one header cannot contain both the signature \
                 and the timestamp: no request would ever verify"
            );
            places.mistake(&format!("{at}/header"), what);
            return None;
        }
        hmac.timestamp = Some(TimestampRule {
            header: name,
            separator: rule.separator.clone().unwrap_or_else(|| SEPARATOR.into()),
            tolerance: tolerance(&format!("{at}/tolerance"), rule.tolerance.as_ref(), places),
        });
    }
    Some(Scheme::Hmac(hmac))
}
