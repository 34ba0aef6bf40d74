//! What AMQP does not tell: policies that lie over our queues, and how many nodes hold them. Asked
//! of the management plugin's HTTP API (<https://www.rabbitmq.com/docs/management#http-api>), where
//! the options name it. Nothing is ever changed through it.

mod answers;

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
use tokio::time::timeout;
use tokio::try_join;

use crate::Options;
use crate::connection::WHAT;
use crate::topology::QueueDeclaration;

/// Of one question. Together with the pause between looks, a harmful policy is named within five
/// seconds.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Longest answer that is read: some thousands of policies.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Nodes of a cluster from which on a queue must not have one member alone.
const NODES: usize = 3;

/// Queues of one answer: the most that the API gives.
const PAGE: u32 = 500;

/// With which the names of our queues begin, as the API's pattern. A virtual host may have any
/// number of others.
const PREFIX: &str = "%5Ehookbox%5C.";

/// What it is called where it is at fault.
const API: &str = "the broker's management API";

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
    Unreadable(String, #[source] answers::Unreadable),
}

impl Unanswered {
    /// Whether the account is not let in, or may not see this.
    fn is_refused(&self) -> bool {
        match self {
            Unanswered::Status(status, _) => {
                [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(status)
            }
            Unanswered::Unreachable(_) | Unanswered::Late | Unanswered::Unreadable(..) => false,
        }
    }
}

impl From<Unanswered> for OpenError {
    fn from(unanswered: Unanswered) -> Self {
        if unanswered.is_refused() {
            return OpenError::Refused {
                what: API,
                why: "it refuses the account".to_owned(),
                remedy: "correct the user name or the password ([broker] management, or else the \
                         URL of the broker), or run `rabbitmqctl set_user_tags USER monitoring \
                         policymaker`"
                    .to_owned(),
                source: Some(unanswered.into()),
            };
        }
        OpenError::Unavailable {
            what: API,
            source: unanswered.into(),
        }
    }
}

fn refuse(why: &str) -> OpenError {
    OpenError::Options {
        what: WHAT,
        why: format!("the URL of the management API {why}"),
    }
}

/// The account in a URL, where it has one, and the URL without it.
pub(crate) fn read(url: &str) -> Result<(Option<String>, String), OpenError> {
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| refuse("has no scheme"))?;
    if !["http", "https"].contains(&scheme) {
        return Err(refuse("must begin with http:// or https://"));
    }
    let (account, place) = match rest.rsplit_once('@') {
        Some((account, place)) => (Some(account.to_owned()), place),
        None => (None, rest),
    };
    let base = format!("{scheme}://{}", place.trim_end_matches('/'));
    if base.parse::<http::Uri>().is_err() {
        return Err(refuse("cannot be read"));
    }
    Ok((account, base))
}

impl Management {
    /// Where the options name an API; with the account of the AMQP URL unless they name another.
    pub fn of(options: &Options, amqp: &AMQPUri) -> Result<Option<Self>, OpenError> {
        let Some(url) = &options.management else {
            return Ok(None);
        };
        let (account, base) = read(url)?;
        let account = account.unwrap_or_else(|| {
            let user = &amqp.authority.userinfo;
            format!("{}:{}", user.username, user.password)
        });
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

    /// What is wrong with these queues. As many requests as there are kinds of things to ask for,
    /// however many queues there are: together within two answers' time.
    pub async fn look(
        &self,
        queues: &[QueueDeclaration],
    ) -> Result<Vec<TopologyDifference>, Unanswered> {
        let (by_users, by_operators) = (
            format!("policies/{}", self.vhost),
            format!("operator-policies/{}", self.vhost),
        );
        let (by_users, by_operators, nodes) = try_join!(
            self.ask(&by_users, answers::policies),
            self.ask(&by_operators, answers::policies),
            self.ask("nodes?columns=name", answers::nodes)
        )?;
        let policies = by_users.iter().chain(&by_operators);
        let mut found: Vec<TopologyDifference> =
            policies.flat_map(|policy| policy.wrong(queues)).collect();
        if nodes >= NODES {
            let alone = self.alone(queues).await?;
            found.extend(alone.into_iter().map(|queue| TopologyDifference {
                queue,
                difference: format!(
                    "it has one member in a cluster of {nodes} nodes, and dies with it; run \
                     `rabbitmq-queues grow NODE all` for two more nodes"
                ),
            }));
        }
        Ok(found)
    }

    /// Those of these queues that have one member. One that is not there is told by AMQP.
    async fn alone(&self, queues: &[QueueDeclaration]) -> Result<Vec<String>, Unanswered> {
        let mut found = Vec::new();
        let mut page = 1_u64;
        loop {
            let path = format!(
                "queues/{}?page={page}&page_size={PAGE}&name={PREFIX}&use_regex=true\
                 &columns=name,members",
                self.vhost
            );
            let answer = self.ask(&path, answers::queues).await?;
            let is_last = page >= answer.count || answer.queues.is_empty();
            let is_ours = |name: &str| queues.iter().any(|queue| queue.name == name);
            let queues = answer.queues.into_iter();
            let alone = queues.filter(|queue| queue.members == Some(1) && is_ours(&queue.name));
            found.extend(alone.map(|queue| queue.name));
            if is_last {
                return Ok(found);
            }
            page += 1;
        }
    }

    async fn ask<T>(
        &self,
        path: &str,
        read: impl Fn(&[u8]) -> Result<T, answers::Unreadable>,
    ) -> Result<T, Unanswered> {
        let request = Request::get(format!("{}/api/{path}", self.base))
            .header(http::header::AUTHORIZATION, &self.authorization)
            .body(Empty::new())
            .map_err(|error| Unanswered::Unreachable(error.into()))?;
        let answer = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| Unanswered::Unreachable(error.into()))?;
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
        read(&body).map_err(|error| Unanswered::Unreadable(path.to_owned(), error))
    }
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
    use super::*;

    #[test]
    fn a_path_is_one_segment() {
        assert_eq!(encoded("/"), "%2F");
        assert_eq!(encoded("hookbox.a-b_c~d é"), "hookbox.a-b_c~d%20%C3%A9");
    }
}
