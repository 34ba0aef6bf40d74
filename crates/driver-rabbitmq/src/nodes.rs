//! The nodes that a broker's URL names: one node, or all nodes of a cluster.

use std::sync::atomic::{AtomicUsize, Ordering};

use hookbox_driver::OpenError;
use lapin::uri::AMQPUri;

use crate::Options;
use crate::WHAT;
use crate::management::Management;
use crate::overlay::Overlay;
use crate::refusal::Account;

/// How many nodes a URL may name. A cluster with quorum queues has fewer nodes, and 16 nodes can
/// still be tried one after the other.
const NODES_MAX: usize = 16;

/// The smallest `frame_max`, the limit on the size of a frame, that AMQP 0-9-1 allows, in bytes.
const FRAME_MIN: u32 = 4096;

/// The longest heartbeat interval that a URL may set, in seconds. It is RabbitMQ's default. A dead
/// connection is noticed after two intervals without a heartbeat.
const HEARTBEAT_MAX: u16 = 60;

/// The nodes of a cluster. A client may connect to any of them. The connections take turns: each
/// connection attempt starts one node further in the list than the previous attempt started. This
/// spreads the connections over the nodes. After a node is lost, the next attempt starts at another
/// node.
pub(crate) struct Nodes {
    uris: Vec<AMQPUri>,
    turn: AtomicUsize,
    account: Account,
    overlay: Option<Overlay>,
}

impl Nodes {
    /// Reads the nodes from the URL, such as `amqp://user:password@host:port,host:port/vhost`.
    pub fn of(options: &Options) -> Result<Self, OpenError> {
        let uris = uris(options)?;
        let first = uris.first().ok_or_else(no_host)?;
        let overlay = Management::of(options, first)?.map(Overlay::new);
        Ok(Self {
            account: Account::of(first),
            uris,
            turn: AtomicUsize::new(0),
            overlay,
        })
    }

    /// Returns the first node in the URL.
    pub fn first(&self) -> Result<&AMQPUri, OpenError> {
        self.uris.first().ok_or_else(no_host)
    }

    /// Returns the user and the virtual host that error texts name. They are the same for every
    /// node, because all nodes belong to one cluster.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Returns the checks over the management API, if the options name one.
    pub fn overlay(&self) -> Option<&Overlay> {
        self.overlay.as_ref()
    }

    /// Returns all nodes in the order in which the present connection attempt must try them.
    pub fn in_turn(&self) -> impl Iterator<Item = &AMQPUri> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.uris.len().max(1);
        self.uris[first..].iter().chain(&self.uris[..first])
    }
}

fn no_host() -> OpenError {
    OpenError::Options {
        what: WHAT,
        why: "the URL names no host".into(),
    }
}

/// Parses the broker's URL into one URI for each node, without connecting.
pub(crate) fn uris(options: &Options) -> Result<Vec<AMQPUri>, OpenError> {
    let refuse = |why: String| OpenError::Options { what: WHAT, why };
    if hides_account(&options.url) {
        return Err(refuse(
            "the user or the password contains a character that must be percent-encoded, such as \
             %2F for '/', %3F for '?' and %23 for '#'"
                .into(),
        ));
    }
    let urls = split(&options.url);
    if urls.len() > NODES_MAX {
        return Err(refuse(format!("the URL names more than {NODES_MAX} nodes")));
    }
    let uris = urls.iter().map(|(url, host)| {
        if host.is_empty() || host.starts_with(':') {
            return Err(no_host());
        }
        let mut uri: AMQPUri = url.parse().map_err(|why: String| {
            // If the parser's text quotes the URL, the text is left out, because the URL may hold a
            // password.
            refuse(if why.contains(url) {
                "the URL cannot be read".into()
            } else {
                why
            })
        })?;
        // The parser of lapin reads every IPv6 address as `localhost`.
        if let Some(address) = ipv6(host) {
            uri.authority.host = address.to_owned();
        }
        let frame = uri.query.frame_max.get_or_insert(options.frame_bytes_max);
        if !(FRAME_MIN..=options.frame_bytes_max).contains(frame) {
            let most = options.frame_bytes_max;
            let range = format!("frame_max must be between {FRAME_MIN} and {most} bytes");
            return Err(refuse(range));
        }
        let heartbeat = uri.query.heartbeat.get_or_insert(options.heartbeat_seconds);
        if !(1..=HEARTBEAT_MAX).contains(heartbeat) {
            return Err(refuse(format!(
                "heartbeat must be between 1 and {HEARTBEAT_MAX} seconds: without a heartbeat, a \
                 dead connection is taken for alive"
            )));
        }
        Ok(uri)
    });
    uris.collect()
}

/// Splits a URL with several hosts into one URL for each host. Returns each URL together with the
/// text of its host and port.
fn split(url: &str) -> Vec<(String, String)> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = match rest.find(['/', '?']) {
        Some(end) => rest.split_at(end),
        None => (rest, ""),
    };
    let (account, hosts) = match authority.rsplit_once('@') {
        Some((account, hosts)) => (format!("{account}@"), hosts),
        None => (String::new(), authority),
    };
    let one = |host: &str| {
        let url = format!("{scheme}://{account}{host}{path}");
        (url, host.to_owned())
    };
    hosts.split(',').map(str::trim).map(one).collect()
}

/// Returns whether the account of a URL contains an unencoded `/`, `?` or `#`. The parser would end
/// the authority there, and would read the user as the host.
fn hides_account(url: &str) -> bool {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    !authority.contains('@') && behind.contains('@')
}

/// Returns the host without its brackets if it is an IPv6 address; `None` for any other host.
fn ipv6(host: &str) -> Option<&str> {
    let (address, _port) = host.strip_prefix('[')?.split_once(']')?;
    Some(address)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn nodes(url: &str) -> Result<Nodes, OpenError> {
        Nodes::of(&Options::new(url, "test".parse().unwrap(), Vec::new()))
    }

    fn hosts(nodes: &Nodes) -> Vec<String> {
        let host = |uri: &AMQPUri| format!("{}:{}", uri.authority.host, uri.authority.port);
        nodes.in_turn().map(host).collect()
    }

    #[test]
    fn one_node_is_always_the_first() {
        let nodes = nodes("amqp://u:p@only:1234/%2f").unwrap();
        for _ in 0..3 {
            assert_eq!(hosts(&nodes), ["only:1234"]);
        }
    }

    #[test]
    fn each_connection_begins_with_the_next_node() {
        let nodes = nodes("amqps://u:p%2Cq@a:1,b, c:3/v?heartbeat=7").unwrap();
        assert_eq!(hosts(&nodes), ["a:1", "b:5671", "c:3"]);
        assert_eq!(hosts(&nodes), ["b:5671", "c:3", "a:1"]);
        assert_eq!(hosts(&nodes), ["c:3", "a:1", "b:5671"]);
        assert_eq!(hosts(&nodes), ["a:1", "b:5671", "c:3"]);
        for uri in nodes.in_turn() {
            assert_eq!(uri.authority.userinfo.password, "p,q");
            assert_eq!((uri.vhost.as_str(), uri.query.heartbeat), ("v", Some(7)));
        }
    }

    /// The parser of the client library reads an IPv6 address, and a missing host, as the host
    /// `localhost`, for which no encryption is required. If the password contains an unencoded
    /// character such as `/`, the parser reads the user as the host.
    #[test]
    fn no_url_leads_to_another_host_than_it_names() {
        let nodes = nodes("amqp://u:p@[::1],[2001:db8::7]:1234,c/v").unwrap();
        assert_eq!(hosts(&nodes), ["::1:5672", "2001:db8::7:1234", "c:5672"]);
        for url in ["amqp://", "amqp:///v", "amqp://:5672", "amqp://a,,b/v"] {
            let refused = self::nodes(url).err().unwrap();
            let why = format!("{refused:?}");
            assert!(why.contains("the URL names no host"), "{url}: {why}");
        }
        for account in ["u:12/34", "u:5?6", "u:5#6"] {
            let refused = self::nodes(&format!("amqp://{account}@a/v")).err().unwrap();
            let why = format!("{refused:?}");
            assert!(why.contains("percent-encoded"), "{account}: {why}");
            assert!(!why.contains(account), "{why}");
        }
        for url in ["amqp://[::1", "amqp://[::g]", "amqp://[::1]x", "amqp://a]"] {
            assert!(self::nodes(url).is_err(), "{url}");
        }
    }

    #[test]
    fn an_unreadable_url_is_reported_without_the_password() {
        for url in [
            "amqp://u:hunter2@a,b:x/",
            "amqp://u:hunter2@a,,b/",
            "://u:hunter2@/",
        ] {
            let why = format!("{:?}", nodes(url).err().unwrap());
            assert!(!why.contains("hunter2"), "{why}");
        }
        for query in [
            "heartbeat=0",
            "heartbeat=61",
            "frame_max=0",
            "frame_max=131073",
        ] {
            let refused = nodes(&format!("amqp://a/v?{query}")).err().unwrap();
            let (why, (name, _)) = (format!("{refused:?}"), query.split_once('=').unwrap());
            assert!(why.contains(name), "{why}");
        }
        let many = format!("amqp://{}", ["a"; 17].join(","));
        assert!(nodes(&many).is_err());
    }
}
