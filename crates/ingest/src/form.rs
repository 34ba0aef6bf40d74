//! Finds the event in a posted form.

use hookbox_event::scan;
use hookbox_signature::Verified;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::Source;
use crate::response::NotAccepted;

/// Media types of forms, which hold JSON in a field, if at all.
const FORMS: [&[u8]; 2] = [URLENCODED, b"multipart/form-data"];

const URLENCODED: &[u8] = b"application/x-www-form-urlencoded";

/// The event of a verified request: its body, or, for a source whose sender may post forms, the
/// field that holds it.
///
/// A form without such a field, or without JSON in it, is refused, where any other body that is not
/// JSON is stored as a dead letter: a form can never become an event, and its sender sees at once
/// what to change. JSON is accepted whatever its media type, because senders and people with curl
/// get that wrong.
pub(crate) fn event_of(
    source: &Source,
    headers: &HeaderMap,
    verified: Verified,
) -> Result<Verified, NotAccepted> {
    let is = |media: &[u8]| has_type(headers, media);
    if !FORMS.into_iter().any(is) || scan(verified.body(), &[]).is_ok() {
        return Ok(verified);
    }
    let field = source.form.as_deref().filter(|_| is(URLENCODED));
    field
        .and_then(|field| verified.form_field(field))
        .filter(|taken| scan(taken.body(), &[]).is_ok())
        .ok_or(NotAccepted::Form)
}

/// Whether the request has this media type, whatever its parameters.
fn has_type(headers: &HeaderMap, media: &[u8]) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    values.any(|value| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next();
        essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(media))
    })
}
