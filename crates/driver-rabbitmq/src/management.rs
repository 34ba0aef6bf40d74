//! Reads what AMQP does not report: which policies apply to hookbox's queues, how many nodes the
//! cluster has, and how many members each queue has. If the options name the management plugin's
//! HTTP API (<https://www.rabbitmq.com/docs/management#http-api>), hookbox reads from this API, and
//! never changes anything through it.

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
use crate::WHAT;
use crate::topology::QueueDeclaration;

/// The deadline of one request to the API. Before each check there is a pause of two seconds, and a
/// check waits for at most two responses in a row. So a harmful policy is reported within five
/// seconds.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// The longest response that is read, in bytes: some thousands of policies.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// In a cluster of at least this many nodes, each queue must have more than one member. In a
/// smaller cluster, a queue may have a single member.
const NODES: usize = 3;

/// The number of queues that one response lists. The API allows no more than 500.
const PAGE: u32 = 500;

/// The pattern `^hookbox\.`, percent-encoded, with which the API lists only hookbox's queues. A
/// virtual host may have any number of other queues.
const PREFIX: &str = "%5Ehookbox%5C.";

/// The name of the management API in error texts.
const API: &str = "the broker's management API";

/// The management API of one broker.
pub(crate) struct Management {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    base: String,
    vhost: String,
    authorization: String,
}

/// Why the management API gave no usable response. The error holds only a status or the kind of
/// another error, and never the request, because the request contains a password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManagementError {
    #[error("the management API answered the request for {1} with {0}")]
    Status(StatusCode, String),
    #[error("the management API cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the management API did not answer in time")]
    Late,
    #[error("the management API returned an unexpected response to the request for {0}")]
    Unreadable(String, #[source] answers::Unreadable),
}

impl ManagementError {
    /// Returns whether the API refused the login, or does not let the user read this information.
    fn is_refused(&self) -> bool {
        match self {
            ManagementError::Status(status, _) => {
                [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(status)
            }
            ManagementError::Unreachable(_)
            | ManagementError::Late
            | ManagementError::Unreadable(..) => false,
        }
    }
}

impl From<ManagementError> for OpenError {
    fn from(error: ManagementError) -> Self {
        if error.is_refused() {
            return OpenError::Refused {
                what: API,
                why: "the API refuses the account that the config names".to_owned(),
                remedy: "correct the user name or the password ([broker] management, or else the \
                         URL of the broker), or run `rabbitmqctl set_user_tags USER monitoring \
                         policymaker`"
                    .to_owned(),
                source: Some(error.into()),
            };
        }
        OpenError::Unavailable {
            what: API,
            source: error.into(),
        }
    }
}

fn refuse(why: &str) -> OpenError {
    OpenError::Options {
        what: WHAT,
        why: format!("the URL of the management API {why}"),
    }
}

/// Splits a URL into its account (`user:password`), `None` without an account, and the URL without
/// the account.
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
    /// Creates a client if the options name an API. The client logs in with the account in the
    /// API's URL; if that has none, with the account of the AMQP URL.
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

    /// Returns what is wrong with the given queues. It makes one request for each kind of object
    /// (policies, nodes, queues), however many queues there are. Some of the requests run at the
    /// same time, so the check waits for two responses in a row at most.
    pub async fn check(
        &self,
        queues: &[QueueDeclaration],
    ) -> Result<Vec<TopologyDifference>, ManagementError> {
        let (by_users, by_operators) = (
            format!("policies/{}", self.vhost),
            format!("operator-policies/{}", self.vhost),
        );
        let (by_users, by_operators, nodes) = try_join!(
            self.get(&by_users, answers::policies),
            self.get(&by_operators, answers::policies),
            self.get("nodes?columns=name", answers::nodes)
        )?;
        let policies = by_users.iter().chain(&by_operators);
        let mut found: Vec<TopologyDifference> =
            policies.flat_map(|policy| policy.wrong(queues)).collect();
        if nodes >= NODES {
            let alone = self.alone(queues).await?;
            found.extend(alone.into_iter().map(|queue| TopologyDifference {
                queue,
                difference: format!(
                    "the queue has only one member in a cluster of {nodes} nodes, so its messages \
                     are lost if that node is lost; run `rabbitmq-queues grow NODE all` for two \
                     more nodes"
                ),
            }));
        }
        Ok(found)
    }

    /// Returns the names of those queues that have only one member. Queues that the API does not
    /// list are ignored here, because the checks over AMQP find missing queues.
    async fn alone(&self, queues: &[QueueDeclaration]) -> Result<Vec<String>, ManagementError> {
        let mut found = Vec::new();
        let mut page = 1_u64;
        loop {
            let path = format!(
                "queues/{}?page={page}&page_size={PAGE}&name={PREFIX}&use_regex=true\
                 &columns=name,members",
                self.vhost
            );
            let answer = self.get(&path, answers::queues).await?;
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

    async fn get<T>(
        &self,
        path: &str,
        read: impl Fn(&[u8]) -> Result<T, answers::Unreadable>,
    ) -> Result<T, ManagementError> {
        let request = Request::get(format!("{}/api/{path}", self.base))
            .header(http::header::AUTHORIZATION, &self.authorization)
            .body(Empty::new())
            .map_err(|error| ManagementError::Unreachable(error.into()))?;
        let answer = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| ManagementError::Unreachable(error.into()))?;
            if answer.status() != StatusCode::OK {
                return Err(ManagementError::Status(answer.status(), path.to_owned()));
            }
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await;
            Ok(body.map_err(ManagementError::Unreachable)?.to_bytes())
        };
        let body = timeout(ANSWER_MAX, answer)
            .await
            .map_err(|_| ManagementError::Late)??;
        read(&body).map_err(|error| ManagementError::Unreadable(path.to_owned(), error))
    }
}

/// Percent-encodes one segment of a URL's path: all characters except the unreserved characters
/// (RFC 3986 §2.3).
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
