//! Builds the bodies of events for the tests in this folder. Bodies with different uids are
//! different events.

/// The body of a score event. A test may append white space, which changes the length of the body
/// but not what it says.
const SCORE: &str = r#"{"uid":"UID","integration_id":"1","event":{"type":
    "psychometric_score.complete","details":{"scored_at":1,"application_started_at":1,
    "calculated":{"score":1,"risk_band":"A","traits":[]}}}}"#;

/// Builds a score event. Its handler writes one row into the table `begini_scores`.
/// The uid must have 5 characters or more. Begini's schema refuses a shorter uid, and the event
/// becomes a dead letter.
pub fn score(uid: &str) -> String {
    SCORE.replace("UID", uid)
}

/// Builds a score event whose body has this many bytes.
pub fn score_of(uid: &str, bytes: usize) -> String {
    let event = score(uid);
    let space = " ".repeat(bytes - event.len());
    event + &space
}
