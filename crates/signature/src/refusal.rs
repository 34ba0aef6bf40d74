//! The reasons why a signature is refused, in words that are safe to log and to count.

/// What is wrong with the signature of a request. The text never quotes the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// A header that the scheme needs is absent.
    #[error("the signature header is missing")]
    MissingHeader,
    /// A header that must occur once occurs several times. The request is refused, because a proxy
    /// and hookbox might use different ones.
    #[error("a signature header occurs more than once")]
    RepeatedHeader,
    /// A header contains characters other than printable ASCII, or is far too long.
    #[error("a signature header has characters or a length that no signature has")]
    UnreadableHeader,
    /// The signature is not written as the scheme requires.
    #[error("the signature is not written as the scheme requires (prefix, length or alphabet)")]
    MalformedSignature,
    /// There are more candidate signatures than any rotation of keys needs.
    #[error("there are more than 16 candidate signatures")]
    TooManySignatures,
    /// No valid key of this source made this signature over these bytes.
    #[error("no valid key of this source made this signature over these bytes")]
    WrongSignature,
    /// The signed message id is empty, too long, or contains a dot.
    #[error("the message id is empty, longer than 255 bytes or contains a dot")]
    MalformedId,
    /// The timestamp is not a plain number of seconds.
    #[error("the timestamp is not a plain number of seconds")]
    MalformedTimestamp,
    /// The signature is genuine, but its timestamp is too long ago or too far ahead. Many such
    /// refusals mean that the clock of the sender or of hookbox is wrong.
    #[error("the signature is genuine, but its timestamp is out of tolerance; check both clocks")]
    OutOfTolerance,
    /// The source has no key that is valid now.
    #[error("the source has no key that is valid now")]
    NoValidKey,
}

impl Refusal {
    /// Returns the word for this refusal in logs, metrics and the table of refusals.
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::MissingHeader => "missing_header",
            Refusal::RepeatedHeader => "repeated_header",
            Refusal::UnreadableHeader => "unreadable_header",
            Refusal::MalformedSignature => "malformed_signature",
            Refusal::TooManySignatures => "too_many_signatures",
            Refusal::WrongSignature => "wrong_signature",
            Refusal::MalformedId => "malformed_id",
            Refusal::MalformedTimestamp => "malformed_timestamp",
            Refusal::OutOfTolerance => "out_of_tolerance",
            Refusal::NoValidKey => "no_valid_key",
        }
    }
}
