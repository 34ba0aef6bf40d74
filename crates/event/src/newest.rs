//! The setting `newest`, with which a route applies only the newest event of each key: where a body
//! has its key and its version, and how versions are compared.

use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::hex_text::HexText;
use crate::{Decimal, Digester, ExactNumber, Pointer, Scalar, Timestamp};

/// How far a time that is a version may be in the future. A version from the far future would make
/// every later event of its key stale.
pub const VERSION_AHEAD_MAX: Duration = Duration::from_secs(5 * 60);

/// The longest text of a time, in bytes. It is limited because RFC 3339 allows any number of digits
/// for the fraction of a second, and all of them are compared.
const TIME_LENGTH_MAX: usize = 64;

/// The number of characters of a time in UTC up to its seconds, such as `2026-11-26T17:30:00`.
const SECONDS_LENGTH: usize = 19;

/// Where the bodies of a route have their key and their version. Of the events of one key, only the
/// newest is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The pointers to the values that together form the key.
    pub key: Vec<Pointer>,
    /// The pointer to the version.
    pub version: Pointer,
    /// The kind of the version.
    pub kind: VersionKind,
}

/// The kind of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionKind {
    /// An integer of any size.
    Integer,
    /// A number, which may have a fraction.
    Decimal,
    /// A time in the format of RFC 3339.
    Rfc3339,
}

/// The version of an event, with its exact value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// An integer or another number.
    Number(ExactNumber),
    /// A time.
    Time(ExactTime),
}

/// A time in UTC. No digit of the fraction of its second is cut off.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExactTime {
    /// The time up to its seconds. All these texts have the same length, so their order is the
    /// order of the times.
    seconds: String,
    /// The digits of the fraction of the second, without zeros at the end. The order of these texts
    /// is the order of the fractions.
    fraction: String,
}

/// A digest of the values that form the key of an event. It is stored in place of the values, which
/// may be personal data. A [`Digester`] says how it is computed. Without an identity key, anyone
/// can compare a guess of the values with the digest.
///
/// The digest also covers the pointers of [`Newest`], and whether the versions are numbers or
/// times. So after a change of these settings, the version of an event is never compared with a
/// version that was stored before the change.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyDigest([u8; 16]);

/// Why a value cannot be the version of an event. Safe to store and to log, because the error never
/// quotes the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVersion {
    /// The value is not a number, or it is too long to be compared.
    #[error(
        "it is not a number of at most 100 characters with an exponent from -999 to 999, as a \
         number or as a text"
    )]
    NotNumber,
    /// The number has a fraction.
    #[error("it is a number with a fraction and not an integer")]
    NotInteger,
    /// The value is not a time.
    #[error("it is not a time in the format of RFC 3339, such as \"2026-11-26T17:30:00Z\"")]
    NotTime,
    /// The time is more than [`VERSION_AHEAD_MAX`] in the future.
    #[error("it is more than five minutes in the future")]
    Ahead,
}

impl VersionKind {
    /// Every kind, for parsers and help texts.
    pub const ALL: [VersionKind; 3] = [
        VersionKind::Integer,
        VersionKind::Decimal,
        VersionKind::Rfc3339,
    ];

    /// Returns the word for this kind in the config.
    pub const fn as_str(self) -> &'static str {
        match self {
            VersionKind::Integer => "integer",
            VersionKind::Decimal => "decimal",
            VersionKind::Rfc3339 => "rfc3339",
        }
    }

    /// Returns the kind with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Returns a word for the kind. Two kinds have the same word exactly if their versions can be
    /// compared with each other.
    const fn order(self) -> &'static str {
        match self {
            VersionKind::Integer | VersionKind::Decimal => "number",
            VersionKind::Rfc3339 => "time",
        }
    }

    /// Reads the version of an event. A number may also be written as a string, as some providers
    /// write large numbers.
    pub fn read(self, value: &Scalar, now: Timestamp) -> Result<Version, InvalidVersion> {
        match self {
            VersionKind::Integer | VersionKind::Decimal => {
                let text = match value {
                    Scalar::Number(text) | Scalar::String(text) => text,
                    Scalar::Bool(_) => return Err(InvalidVersion::NotNumber),
                };
                let number = ExactNumber::parse(text).map_err(|_| InvalidVersion::NotNumber)?;
                let is_whole = Decimal::parse(text).is_some_and(|number| number.is_whole());
                if self == VersionKind::Integer && !is_whole {
                    return Err(InvalidVersion::NotInteger);
                }
                Ok(Version::Number(number))
            }
            VersionKind::Rfc3339 => {
                let text = match value {
                    Scalar::String(text) => text,
                    Scalar::Number(_) | Scalar::Bool(_) => return Err(InvalidVersion::NotTime),
                };
                let time = ExactTime::parse(text).ok_or(InvalidVersion::NotTime)?;
                let latest = now.saturating_add(VERSION_AHEAD_MAX);
                if ExactTime::parse(&latest.to_string()).is_some_and(|latest| time > latest) {
                    return Err(InvalidVersion::Ahead);
                }
                Ok(Version::Time(time))
            }
        }
    }
}

impl Newest {
    /// Returns the digest of the values of a key, which are given in the order of the pointers.
    pub fn digest(&self, digester: &Digester, values: &[Scalar]) -> KeyDigest {
        let version = self.version.to_string();
        let pointers: Vec<String> = self.key.iter().map(Pointer::to_string).collect();
        let mut parts: Vec<&[u8]> = vec![self.kind.order().as_bytes(), version.as_bytes()];
        for (pointer, value) in pointers.iter().zip(values) {
            parts.push(pointer.as_bytes());
            parts.push(value.kind().as_bytes());
            parts.push(value.text().as_bytes());
        }
        KeyDigest::of(digester, &parts)
    }
}

impl KeyDigest {
    /// Hashes the length of each part and then the part, so that two different lists of parts never
    /// have the same digest.
    fn of(digester: &Digester, parts: &[&[u8]]) -> Self {
        let mut hasher = digester.begin(b"hookbox-newest-1\0");
        for part in parts {
            hasher.update_part(part);
        }
        let digest = hasher.finish();
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        Self(first)
    }

    /// Creates a digest from the 16 bytes that were stored for it.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the 16 bytes of the digest.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyDigest({})", HexText::of(&self.0).as_str())
    }
}

impl Version {
    /// Compares two versions by their exact values: `1`, `1.0` and `10e-1` are equal, and so are
    /// two texts of one moment in different time zones. Returns `None` for a number and a time,
    /// which cannot be compared.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Version::Number(this), Version::Number(other)) => Some(this.compare(other)),
            (Version::Time(this), Version::Time(other)) => Some(this.cmp(other)),
            (Version::Number(_), Version::Time(_)) | (Version::Time(_), Version::Number(_)) => None,
        }
    }

    /// Returns whether this version is older than another one. The result is `false` if one is a
    /// number and the other a time.
    pub fn is_older_than(&self, other: &Self) -> bool {
        self.compare(other) == Some(Ordering::Less)
    }

    /// Parses the text that a store keeps of a version: the text that `Display` has written.
    pub fn from_stored(text: &str) -> Option<Self> {
        match ExactNumber::parse(text) {
            Ok(number) => Some(Version::Number(number)),
            Err(_) => ExactTime::parse(text).map(Version::Time),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Version::Number(number) => f.write_str(number.as_str()),
            Version::Time(time) => time.fmt(f),
        }
    }
}

impl ExactTime {
    /// Parses a time in the format of RFC 3339; `None` if the text is not such a time, or if the
    /// year in UTC does not have four digits.
    fn parse(text: &str) -> Option<Self> {
        if text.len() > TIME_LENGTH_MAX {
            return None;
        }
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        // In UTC, the time may be after the year 9999, the last one that the library supports.
        let moment = moment.checked_to_offset(time::UtcOffset::UTC)?;
        // The library keeps only nine digits of the fraction, so all digits are taken from the
        // text. The fraction follows the first 19 characters. Searching for the first point would
        // not find it, because the library also accepts a point between the date and the hour.
        let seconds = moment.replace_nanosecond(0).ok()?.format(&Rfc3339).ok()?;
        let seconds = seconds.get(..SECONDS_LENGTH)?.to_owned();
        let after_seconds = text.get(SECONDS_LENGTH..)?;
        let after_point = after_seconds.strip_prefix('.').unwrap_or_default();
        let digits = after_point
            .find(|character: char| !character.is_ascii_digit())
            .map_or(after_point, |end| &after_point[..end]);
        Some(Self {
            seconds,
            fraction: digits.trim_end_matches('0').to_owned(),
        })
    }
}

impl fmt::Display for ExactTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.seconds)?;
        if !self.fraction.is_empty() {
            write!(f, ".{}", self.fraction)?;
        }
        f.write_str("Z")
    }
}

#[cfg(test)]
mod tests;
