//! Finds the event in a posted form.

use hookbox_event::{DigestedJson, JsonError};
use hookbox_signature::Verified;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::Source;
use crate::response::NotAccepted;

/// The media types of forms. A body of such a type is not itself the JSON of an event: if it
/// contains JSON, that JSON is the value of one of its fields.
const FORMS: [&[u8]; 2] = [URLENCODED, b"multipart/form-data"];

const URLENCODED: &[u8] = b"application/x-www-form-urlencoded";

/// Returns the event of a verified request, with what `read` has read from it. The event is the
/// body, or, if the sender of the source may post forms, the value of the configured field.
///
/// A form without that field, or with a field that is not JSON, is refused: it can never become an
/// event, and its sender sees at once what to change. Any other body that is not JSON is accepted
/// and stored as a dead letter. JSON is accepted with any media type, because senders and people
/// with curl often send a wrong media type.
pub(crate) fn event_of(
    source: &Source,
    headers: &HeaderMap,
    verified: Verified,
    read: impl Fn(&[u8]) -> Result<DigestedJson, JsonError>,
) -> Result<(Verified, Result<DigestedJson, JsonError>), NotAccepted> {
    let is = |media: &[u8]| has_type(headers, media);
    let content = read(verified.body());
    if content.is_ok() || !FORMS.into_iter().any(is) {
        return Ok((verified, content));
    }
    let field = source.form.as_deref().filter(|_| is(URLENCODED));
    let event = field.and_then(|field| verified.form_field(field));
    let event = event.ok_or(NotAccepted::Form)?;
    match read(event.body()) {
        Ok(content) => Ok((event, Ok(content))),
        Err(_) => Err(NotAccepted::Form),
    }
}

/// Returns whether the request has this media type, whatever its parameters.
fn has_type(headers: &HeaderMap, media: &[u8]) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    values.any(|value| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next();
        essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(media))
    })
}
