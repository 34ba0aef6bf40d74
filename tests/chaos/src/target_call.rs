//! An external call as its target received it: a request of the handler `forward`, or a message of
//! the handler `publish`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use hookbox_testkit::receiver::{Answer, Received};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::target_exchange::Message;
use crate::user_route::SIGNING_KEY;

/// An external call as its target received it.
#[derive(Debug, Clone)]
pub struct TargetCall {
    /// The uid of the applicant in the body; empty if the body has none.
    pub uid: String,
    /// The idempotency key of the call; empty if it has none.
    pub key: String,
    pub epoch: u32,
    /// The SHA-256 digest of the body.
    pub digest: String,
    pub response: Response,
    /// What is wrong with the call, such as a signature that does not verify.
    pub flaws: Vec<String>,
}

/// How the target responds to an external call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// The target takes the event.
    Taken,
    /// The target answers that it does not take the event now.
    Declined,
    /// The target does not answer, so the call is a failed attempt.
    Ignored,
}

impl TargetCall {
    /// Reads a request of `forward`, to which the target gave this answer.
    pub fn of_request(received: &Received, answer: Answer) -> Self {
        let header = |name: &str| received.headers.get(name).map_or("", String::as_str);
        let key = header("webhook-id");
        let mut call = Self::new(key, header("hookbox-epoch"), received.body.as_bytes());
        call.response = match answer {
            Answer::Status(status) | Answer::Late(_, status) if status.starts_with('2') => {
                Response::Taken
            }
            Answer::Status(_) | Answer::Late(..) => Response::Declined,
            Answer::Nothing => Response::Ignored,
        };
        if header("idempotency-key") != key {
            call.flaws
                .push("the headers webhook-id and idempotency-key differ".to_owned());
        }
        let signed = format!("{key}.{}.{}", header("webhook-timestamp"), received.body);
        let mut signatures = header("webhook-signature").split(' ');
        if !signatures.any(|signature| is_signed(signature, signed.as_bytes())) {
            call.flaws
                .push("no signature is valid for the body of the request".to_owned());
        }
        call
    }

    /// Reads a message of `publish`.
    pub fn of_message(message: &Message) -> Self {
        let epoch = message.headers.get("hookbox-epoch");
        Self::new(&message.id, epoch.map_or("", String::as_str), &message.body)
    }

    fn new(key: &str, epoch: &str, body: &[u8]) -> Self {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let uid = json["uid"].as_str().unwrap_or_default().to_owned();
        let mut flaws = Vec::new();
        if uid.is_empty() {
            flaws.push("the body of the message has no uid".to_owned());
        }
        if key.is_empty() {
            flaws.push("the message has no idempotency key".to_owned());
        }
        let epoch = epoch.parse().unwrap_or_else(|_| {
            flaws.push(format!("the message's epoch {epoch:?} is not a number"));
            0
        });
        Self {
            uid,
            key: key.to_owned(),
            epoch,
            digest: hex::encode(Sha256::digest(body)),
            response: Response::Taken,
            flaws,
        }
    }
}

/// Returns whether this is a valid signature of the text by the rules of Standard Webhooks.
fn is_signed(signature: &str, text: &[u8]) -> bool {
    let key = SIGNING_KEY.trim_start_matches("whsec_");
    let key = STANDARD.decode(key).unwrap_or_default();
    let code = signature.strip_prefix("v1,").unwrap_or_default();
    let code = STANDARD.decode(code).unwrap_or_default();
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key);
    mac.is_ok_and(|mac| mac.chain_update(text).verify_slice(&code).is_ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const BODY: &str = r#"{"uid":"SIM0000000000000001-00000001","event":{}}"#;

    fn request(changed: Option<(&str, &str)>) -> Received {
        let key = STANDARD.decode(SIGNING_KEY.trim_start_matches("whsec_"));
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key.unwrap()).unwrap();
        let text = format!("0f1e-forward-1.1764000000.{BODY}");
        let code = mac.chain_update(text).finalize().into_bytes();
        let signature = format!("v1,AAAA v1,{}", STANDARD.encode(code));
        let headers = [
            ("webhook-id", "0f1e-forward-1"),
            ("idempotency-key", "0f1e-forward-1"),
            ("webhook-timestamp", "1764000000"),
            ("webhook-signature", signature.as_str()),
            ("hookbox-epoch", "3"),
        ];
        let headers = headers.into_iter().chain(changed);
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Received {
            headers: headers.collect(),
            body: BODY.to_owned(),
        }
    }

    #[test]
    fn a_request_is_read_and_verified() {
        let call = TargetCall::of_request(&request(None), Answer::Status("200 OK"));
        assert_eq!(call.uid, "SIM0000000000000001-00000001");
        assert_eq!((call.key.as_str(), call.epoch), ("0f1e-forward-1", 3));
        assert_eq!((call.response, call.flaws.len()), (Response::Taken, 0));
        for (changed, count) in [
            (("webhook-id", "0f1e-forward-2"), 2),
            (("webhook-timestamp", "1764000001"), 1),
            (("webhook-signature", "v1,AAAA"), 1),
            (("hookbox-epoch", "x"), 1),
        ] {
            let call = TargetCall::of_request(&request(Some(changed)), Answer::Nothing);
            assert_eq!(call.flaws.len(), count, "{changed:?}: {:?}", call.flaws);
            assert_eq!(call.response, Response::Ignored);
        }
        let busy = Answer::Status("429 Too Many Requests\r\nretry-after: 2");
        let call = TargetCall::of_request(&request(None), busy);
        assert_eq!(call.response, Response::Declined);
    }

    #[test]
    fn a_message_is_read() {
        let message = Message {
            id: "0f1e-publish-1".to_owned(),
            headers: BTreeMap::from([("hookbox-epoch".to_owned(), "2".to_owned())]),
            body: BODY.as_bytes().to_vec(),
        };
        let call = TargetCall::of_message(&message);
        assert_eq!((call.key.as_str(), call.epoch), ("0f1e-publish-1", 2));
        assert!(call.flaws.is_empty(), "{:?}", call.flaws);
    }
}
