//! The requests: one psychometric score of Begini for each number, signed.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;

/// The key of the source. It need not be secret, because only the deployment of the bench uses it.
pub(crate) const SECRET: &str = "the-key-of-the-benchmark-alone";

/// Which events the requests are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Events that every handler processes.
    Good,
    /// One event in a hundred has a score that is an integer, as the JSON Schema wants, but does
    /// not fit 64 bits: the handler `begini` returns an error that names the field.
    HandlerFails,
    /// One event in a hundred has an applicant for whom the database raises an error: see
    /// `cases/failing.rs`.
    DatabaseFails,
}

/// Makes requests for one listener.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    pub port: u16,
    pub kind: Kind,
}

/// For a [`Kind`] with failing events: one event in this many fails.
pub(crate) const FAILING_EVERY: u64 = 100;

/// The beginning of the uid of an applicant for whom the database raises an error.
pub(crate) const FAILING_UID: &str = "FAIL";

impl Requests {
    /// Returns the bytes of the request about the event with this number. Each number is another
    /// event, with another applicant.
    pub fn bytes(&self, number: u64) -> Vec<u8> {
        let body = self.body(number);
        let port = self.port;
        let mut bytes = format!(
            "POST /hooks/begini HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\
             Content-Type: application/json\r\nX-Signature: {}\r\nContent-Length: {}\r\n\r\n",
            signature(body.as_bytes()),
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(body.as_bytes());
        bytes
    }

    fn body(&self, number: u64) -> String {
        let fails = number.is_multiple_of(FAILING_EVERY);
        let score = match self.kind {
            Kind::HandlerFails if fails => "9".repeat(25),
            Kind::Good | Kind::HandlerFails | Kind::DatabaseFails => {
                (300 + number % 550).to_string()
            }
        };
        let who = match self.kind {
            Kind::DatabaseFails if fails => FAILING_UID,
            Kind::Good | Kind::HandlerFails | Kind::DatabaseFails => "BENCH",
        };
        let started = 1_764_000_000 + number % 1_000_000;
        let one = |key, value| format!(r#"{{"key":"{key}","value":{value},"risk_band":"B"}}"#);
        let traits = [
            one("conscientiousness", number % 101),
            one("emotional_stability", number % 97),
            one("numeracy", number % 89),
            one("impulsivity", number % 83),
        ]
        .join(",");
        format!(
            concat!(
                r#"{{"uid":"{who}{number:016X}","integration_id":"90000000000000000001","#,
                r#""event":{{"type":"psychometric_score.complete","details":{{"#,
                r#""application_started_at":{started},"application_completed_at":{completed},"#,
                r#""scored_at":{scored},"platform":"WEB","calculated":{{"score":{score},"#,
                r#""risk_band":"B","score_confidence":"HIGH","traits":[{traits}],"#,
                r#""flags":[]}}}}}}}}"#
            ),
            who = who,
            number = number,
            started = started,
            completed = started + 600,
            scored = started + 610,
            score = score,
            traits = traits,
        )
    }
}

/// Returns Begini's signature: the HMAC-SHA-512 of the body in hex.
fn signature(body: &[u8]) -> String {
    // HMAC accepts a key of any length, so this cannot fail.
    let Ok(mut mac) = Hmac::<Sha512>::new_from_slice(SECRET.as_bytes()) else {
        return String::new();
    };
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_and_one_in_a_hundred_fails() {
        let body = |kind, number| {
            let text = Requests { port: 1, kind }.body(number);
            serde_json::from_str::<serde_json::Value>(&text).expect("JSON")
        };
        let good = body(Kind::Good, 100);
        assert_eq!(good["uid"], "BENCH0000000000000064");
        let score = good["event"]["details"]["calculated"]["score"].as_i64();
        assert_eq!(score, Some(400));
        let failing = body(Kind::DatabaseFails, 100);
        assert_eq!(failing["uid"], "FAIL0000000000000064");
        let failing = body(Kind::HandlerFails, 100);
        assert_eq!(
            failing["event"]["details"]["calculated"]["score"].as_i64(),
            None
        );
        assert_eq!(
            body(Kind::HandlerFails, 101)["uid"],
            "BENCH0000000000000065"
        );
    }
}
