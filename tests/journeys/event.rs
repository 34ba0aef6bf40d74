//! Events of a journey's own making, by the user they are about.

/// White space behind it is part of its body, and of nothing else.
const SCORE: &str = r#"{"uid":"UID","integration_id":"1","event":{"type":
    "psychometric_score.complete","details":{"scored_at":1,"application_started_at":1,
    "calculated":{"score":1,"risk_band":"A","traits":[]}}}}"#;

/// A score, which becomes a row of `begini_scores`.
pub fn score(uid: &str) -> String {
    SCORE.replace("UID", uid)
}

/// The same with so many bytes of body.
pub fn score_of(uid: &str, bytes: usize) -> String {
    let event = score(uid);
    let space = " ".repeat(bytes - event.len());
    event + &space
}
