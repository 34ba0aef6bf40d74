//! What AMQP does not tell: policies that lie over our queues, and how many nodes hold them. Asked
//! of the management plugin's HTTP API (<https://www.rabbitmq.com/docs/management#http-api>), where
//! the options name it. Nothing is ever changed through it.

use std::time::Duration;

use bytes::Bytes;
use hookbox_driver::{OpenError, TopologyDifference};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use lapin::uri::AMQPUri;
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::Options;
use crate::connection::WHAT;

/// Of one question. Together with the pause between looks, a harmful policy is named within five
/// seconds.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Longest answer that is read: some thousands of policies.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a policy must not set over our queues, and what would come of it.
const HARMFUL: [(&str, &str); 6] = [
    (
        "max-length",
        "it bounds the queue, so events would be refused, or its oldest dropped",
    ),
    (
        "max-length-bytes",
        "it bounds the queue, so events would be refused, or its oldest dropped",
    ),
    (
        "message-ttl",
        "messages would expire before they are processed",
    ),
    ("expires", "the queue would be deleted when no worker runs"),
    (
        "overflow",
        "what a full queue does is declared: it must reject, and not drop its oldest",
    ),
    ("delivery-limit", "messages would be given up too soon"),
];

/// Nodes of a cluster from which on a queue must not have one member alone.
const NODES: usize = 3;

/// The API of one broker.
pub(crate) struct Management {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    base: String,
    vhost: String,
    authorization: String,
}

/// Why it did not answer. Never more than a status or the kind of an error: the request holds a
/// password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("the management API answered {0} for {1}")]
    Status(StatusCode, String),
    #[error("the management API cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the management API did not answer in time")]
    Late,
    #[error("the management API said something else than was asked for {0}")]
    Unreadable(String, #[source] serde_json::Error),
}

#[derive(Debug, Deserialize)]
struct Policy {
    name: String,
    pattern: String,
    #[serde(rename = "apply-to")]
    apply_to: String,
    #[serde(default)]
    definition: serde_json::Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Queue {
    #[serde(default)]
    members: Vec<String>,
}

impl Management {
    /// Where the options name an API; with the account of the AMQP URL unless they name another.
    pub fn of(options: &Options, amqp: &AMQPUri) -> Result<Option<Self>, OpenError> {
        let Some(url) = &options.management else {
            return Ok(None);
        };
        let refuse = |why: &str| OpenError::Options {
            what: WHAT,
            why: format!("the URL of the management API {why}"),
        };
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| refuse("has no scheme"))?;
        if !["http", "https"].contains(&scheme) {
            return Err(refuse("must begin with http:// or https://"));
        }
        let (account, place) = match rest.rsplit_once('@') {
            Some((account, place)) => (account.to_owned(), place),
            None => {
                let user = &amqp.authority.userinfo;
                (format!("{}:{}", user.username, user.password), rest)
            }
        };
        let base = format!("{scheme}://{}", place.trim_end_matches('/'));
        if base.parse::<http::Uri>().is_err() {
            return Err(refuse("cannot be read"));
        }
        let tls = hyper_rustls::HttpsConnectorBuilder::new().with_native_roots();
        let tls = tls.map_err(|_| refuse("needs certificates, and this system has none"))?;
        Ok(Some(Self {
            client: Client::builder(TokioExecutor::new())
                .build(tls.https_or_http().enable_http1().build()),
            base,
            vhost: encoded(&amqp.vhost),
            authorization: format!("Basic {}", base64(account.as_bytes())),
        }))
    }

    /// What is wrong with these queues.
    pub async fn look(&self, queues: &[String]) -> Result<Vec<TopologyDifference>, Unanswered> {
        let mut found = Vec::new();
        for kind in ["policies", "operator-policies"] {
            let policies: Vec<Policy> = self.ask(&format!("{kind}/{}", self.vhost)).await?;
            found.extend(policies.iter().flat_map(|policy| wrong(policy, queues)));
        }
        let nodes: Vec<Value> = self.ask("nodes?columns=name").await?;
        if nodes.len() >= NODES {
            for name in queues {
                let path = format!("queues/{}/{}?columns=members", self.vhost, encoded(name));
                let queue: Queue = self.ask(&path).await?;
                if queue.members.len() == 1 {
                    found.push(TopologyDifference {
                        queue: name.clone(),
                        difference: format!(
                            "it has one member in a cluster of {} nodes, and dies with it; run \
                             `rabbitmq-queues grow NODE all` for two more nodes",
                            nodes.len()
                        ),
                    });
                }
            }
        }
        Ok(found)
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Unanswered> {
        let request = Request::get(format!("{}/api/{path}", self.base))
            .header(http::header::AUTHORIZATION, &self.authorization)
            .body(Empty::new())
            .map_err(|error| Unanswered::Unreachable(error.into()))?;
        let answer = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| Unanswered::Unreachable(error.into()))?;
            // A queue that is not there is told by AMQP.
            if answer.status() != StatusCode::OK {
                return Err(Unanswered::Status(answer.status(), path.to_owned()));
            }
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await;
            Ok(body.map_err(Unanswered::Unreachable)?.to_bytes())
        };
        let body = timeout(ANSWER_MAX, answer)
            .await
            .map_err(|_| Unanswered::Late)??;
        serde_json::from_slice(&body)
            .map_err(|error| Unanswered::Unreadable(path.to_owned(), error))
    }
}

/// What a policy does to queues of ours that it matches. Every policy that matches is told, not
/// only the one of the highest priority: the others wait for that one to go.
fn wrong(policy: &Policy, queues: &[String]) -> Vec<TopologyDifference> {
    if !["all", "queues", "quorum_queues"].contains(&policy.apply_to.as_str()) {
        return Vec::new();
    }
    // A pattern that only Perl can read may match anything.
    let pattern = Regex::new(&policy.pattern).ok();
    let matches = |name: &&String| pattern.as_ref().is_none_or(|it| it.is_match(name));
    let harmful: Vec<&(&str, &str)> = HARMFUL
        .iter()
        .filter(|(key, _)| policy.definition.contains_key(*key))
        .collect();
    let difference = |(key, why): &(&str, &str)| {
        format!(
            "the policy {:?} sets {key} over it: {why}; take the queues of hookbox out of its \
             pattern, or clear it",
            policy.name
        )
    };
    queues
        .iter()
        .filter(matches)
        .flat_map(|name| harmful.iter().map(move |one| (name, one)))
        .map(|(name, one)| TopologyDifference {
            queue: name.clone(),
            difference: difference(one),
        })
        .collect()
}

/// A segment of a path: everything but what never means anything is encoded (RFC 3986 §2.3).
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn policy(pattern: &str, apply_to: &str, definition: &str) -> Policy {
        Policy {
            name: "theirs".into(),
            pattern: pattern.into(),
            apply_to: apply_to.into(),
            definition: serde_json::from_str(definition).unwrap(),
        }
    }

    #[test]
    fn what_is_harmful_and_matches_is_told_of_each_queue() {
        let queues = ["hookbox.a.route.x".to_owned(), "hookbox.a.dead".to_owned()];
        let told = |pattern: &str, apply_to: &str, definition: &str| {
            let found = wrong(&policy(pattern, apply_to, definition), &queues);
            found.into_iter().map(|it| it.queue).collect::<Vec<_>>()
        };
        let long = "{\"max-length\": 5}";
        assert_eq!(told(".*", "all", long), queues);
        assert_eq!(told("^hookbox\\..*\\.dead$", "queues", long), queues[1..]);
        assert_eq!(told("other", "quorum_queues", long), [""; 0]);
        assert_eq!(told(".*", "exchanges", long), [""; 0]);
        assert_eq!(told(".*", "classic_queues", long), [""; 0]);
        assert_eq!(
            told(".*", "all", "{\"queue-leader-locator\": \"balanced\"}"),
            [""; 0]
        );
        // A pattern with a look-ahead is one that we cannot read.
        assert_eq!(told("^(?!x)", "all", long), queues);
        let both = "{\"overflow\": \"drop-head\", \"message-ttl\": 1}";
        assert_eq!(told("dead", "all", both).len(), 2);
    }

    #[test]
    fn a_path_is_one_segment() {
        assert_eq!(encoded("/"), "%2F");
        assert_eq!(encoded("hookbox.a-b_c~d é"), "hookbox.a-b_c~d%20%C3%A9");
    }
}
