//! Opens a connection to the target: resolves its name, checks every address, and connects to one
//! of the addresses that were checked.
//!
//! The name is resolved once for each connection. A second lookup could give another address than
//! the one that was checked (DNS rebinding).

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::address::RefusedAddress;
use crate::error::with_causes;
use crate::resolve::Resolve;
use crate::target::Target;

/// The most addresses that are tried for one connection. Each address gets an equal share of the
/// time that is left. So an address that does not answer leaves time for the others.
const ADDRESSES_MAX: usize = 4;

/// A TCP connection, encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why no connection could be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("the name {0} cannot be resolved")]
    Name(String, #[source] io::Error),
    #[error("the name {0} has no address")]
    NoAddress(String),
    #[error("{0} must not be called")]
    Refused(String, #[source] RefusedAddress),
    #[error("no connection to {target} ({address})")]
    Tcp {
        target: String,
        address: SocketAddr,
        source: io::Error,
    },
    #[error("no encrypted connection to {0}")]
    Tls(String, #[source] io::Error),
    #[error("no connection to {0} within the time limit (limits.connect)")]
    Late(String),
}

impl ConnectError {
    /// Returns the error with its causes as one text.
    pub fn text(&self) -> String {
        with_causes(self)
    }
}

/// Opens connections to one target.
pub(crate) struct Connector {
    pub target: Target,
    /// The TLS configuration; `None` if the connections are not encrypted.
    tls: Option<TlsConnector>,
    /// The last lookup of the name. The lock is held while the name is resolved.
    last: Mutex<Option<Lookup>>,
}

/// A finished lookup: the addresses to which the name was resolved.
struct Lookup {
    began: Instant,
    addresses: Vec<IpAddr>,
}

impl Connector {
    pub fn new(target: Target, tls: Option<TlsConnector>) -> Self {
        let last = Mutex::new(None);
        Self { target, tls, last }
    }

    /// Opens a connection before the deadline.
    pub async fn connect(
        &self,
        resolve: &dyn Resolve,
        deadline: Instant,
    ) -> Result<Box<dyn Stream>, ConnectError> {
        let late = || ConnectError::Late(self.target.to_string());
        let connecting = async {
            let addresses = self.addresses(resolve).await?;
            let stream = self.connect_to_one_of(&addresses, deadline).await?;
            self.secure(stream).await
        };
        timeout_at(deadline, connecting)
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    /// Returns the checked addresses of the target.
    async fn addresses(&self, resolve: &dyn Resolve) -> Result<Vec<SocketAddr>, ConnectError> {
        let host = &self.target.host;
        let addresses: Vec<IpAddr> = match self.target.address {
            Some(address) => vec![address],
            None => self.resolve(resolve).await?,
        };
        if addresses.is_empty() {
            return Err(ConnectError::NoAddress(host.clone()));
        }
        let policy = self.target.policy;
        policy
            .check(&addresses)
            .map_err(|refused| ConnectError::Refused(host.clone(), refused))?;
        let port = self.target.port;
        let tried = tried(&addresses).into_iter();
        Ok(tried
            .map(|address| SocketAddr::new(address, port))
            .collect())
    }

    /// Resolves the name. When several calls wait for a lookup, one of them resolves the name for
    /// all. A lookup that began before this call asked is not used, because its answer may be out
    /// of date.
    async fn resolve(&self, resolve: &dyn Resolve) -> Result<Vec<IpAddr>, ConnectError> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some(lookup) = &*last
            && lookup.began >= asked
        {
            return Ok(lookup.addresses.clone());
        }
        let (host, began) = (&self.target.host, Instant::now());
        let addresses = resolve
            .resolve(host)
            .await
            .map_err(|error| ConnectError::Name(host.clone(), error))?;
        *last = Some(Lookup {
            began,
            addresses: addresses.clone(),
        });
        Ok(addresses)
    }

    async fn secure(&self, stream: TcpStream) -> Result<Box<dyn Stream>, ConnectError> {
        let failed = |error| ConnectError::Tls(self.target.to_string(), error);
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(self.target.host.clone());
        let name = name.map_err(|error| failed(io::Error::other(error)))?;
        let stream = tls.connect(name, stream).await.map_err(failed)?;
        Ok(Box::new(stream))
    }

    /// Tries one address after another, and returns the error of the last one if none accepts.
    async fn connect_to_one_of(
        &self,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<TcpStream, ConnectError> {
        let mut last = None;
        for (index, address) in addresses.iter().enumerate() {
            let left = u32::try_from(addresses.len() - index).unwrap_or(1);
            let now = Instant::now();
            let share = deadline.saturating_duration_since(now) / left;
            let connecting = timeout_at(now + share, TcpStream::connect(*address));
            let connected = connecting
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            // With TCP_NODELAY, no part of a request waits until the parts before it are confirmed.
            match connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
                Ok(stream) => return Ok(stream),
                Err(source) => {
                    last = Some(ConnectError::Tcp {
                        target: self.target.to_string(),
                        address: *address,
                        source,
                    });
                }
            }
        }
        Err(last.unwrap_or_else(|| ConnectError::NoAddress(self.target.host.clone())))
    }
}

/// Returns the addresses to try, in this order: IPv6 and IPv4 alternate, and the family of the
/// first address comes first (RFC 8305, section 4). A resolver may give all addresses of one family
/// before those of the other. If this machine reaches no address of that family, many of them would
/// leave no attempt for the other.
fn tried(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let is_first = |address: &IpAddr| {
        let first = addresses.first();
        first.is_some_and(|first| first.is_ipv6() == address.is_ipv6())
    };
    let (first, second): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().copied().partition(is_first);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut tried = Vec::with_capacity(ADDRESSES_MAX);
    while tried.len() < ADDRESSES_MAX {
        let before = tried.len();
        tried.extend(first.next());
        tried.extend(second.next());
        if tried.len() == before {
            break;
        }
    }
    tried.truncate(ADDRESSES_MAX);
    tried
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn both_families_are_tried_in_turn() {
        for (resolved, expect) in [
            (&[][..], &[][..]),
            (&["1.1.1.1"], &["1.1.1.1"]),
            (&["::1", "::2", "1.1.1.1"], &["::1", "1.1.1.1", "::2"]),
            (
                &["1.1.1.1", "1.1.1.2", "::1"],
                &["1.1.1.1", "::1", "1.1.1.2"],
            ),
            (
                &["::1", "::2", "::3", "::4", "::5", "1.1.1.1"],
                &["::1", "1.1.1.1", "::2", "::3"],
            ),
            (
                &["::1", "::2", "::3", "1.1.1.1", "1.1.1.2", "1.1.1.3"],
                &["::1", "1.1.1.1", "::2", "1.1.1.2"],
            ),
            (
                &["::1", "::2", "::3", "::4", "::5"],
                &["::1", "::2", "::3", "::4"],
            ),
        ] {
            let resolved: Vec<IpAddr> = resolved.iter().map(|it| it.parse().unwrap()).collect();
            let tried: Vec<String> = tried(&resolved).iter().map(ToString::to_string).collect();
            assert_eq!(tried, expect, "{resolved:?}");
        }
    }
}
