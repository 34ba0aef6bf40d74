//! A keep-alive HTTP connection without a task of its own: the task that waits for a response also
//! reads and writes the socket. So a request needs no switch between tasks.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_rustls::ConfigBuilderExt as _;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::target::Target;

/// The deadline for opening a connection. It is short, because providers too wait only a few
/// seconds for a whole request.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// The deadline for a response. An ingest answers every request within 15 s, at least with 503.
/// This deadline is longer, so that a 503 after 15 s is counted as a response and not as a lost
/// request.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// The largest response that is read, in bytes. hookbox's own responses have fewer than 200 bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Sending = http1::SendRequest<Full<Bytes>>;

/// The part of a connection that reads and writes the socket. `None` once the connection has ended
/// (see [`drive`]).
type Driving = Option<Pin<Box<http1::Connection<TokioIo<Box<dyn Stream>>, Full<Bytes>>>>>;

/// An HTTP connection to a target. It is opened by the first request, and opened again by the next
/// request after it was lost.
pub struct Link {
    target: Arc<Target>,
    tls: Option<tokio_rustls::TlsConnector>,
    open: Option<(Sending, Driving)>,
}

/// An HTTP response.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    /// The status of the response.
    pub status: u16,
    /// The body of the response.
    pub body: Bytes,
}

/// Why there is no response to a request.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No connection could be opened, so nothing was sent.
    #[error("no connection to {to} could be opened (check that hookbox listens there)")]
    Unreachable {
        /// The target of the connection.
        to: String,
        /// Why connecting failed.
        #[source]
        source: io::Error,
    },
    /// The request was sent completely or partly, and no response arrived. So it is unknown whether
    /// the request was accepted.
    #[error("the connection was lost before the answer came")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request was sent, and no response arrived in time. So it is unknown whether the request
    /// was accepted.
    #[error("no answer within {} seconds", ANSWER_WAIT.as_secs())]
    TooSlow,
    /// The list of trusted certificate authorities of this machine cannot be read.
    #[error("the trusted certificates of this machine cannot be read")]
    NoTrust(#[source] io::Error),
}

impl HttpResponse {
    /// Returns whether a provider treats the response as success: status 200, and a body that is
    /// JSON.
    pub fn is_accepted(&self) -> bool {
        self.status == 200 && serde_json::from_slice::<serde::de::IgnoredAny>(&self.body).is_ok()
    }
}

impl Link {
    /// Makes a `Link` to a target. The connection is not opened yet.
    pub fn new(target: Arc<Target>) -> Result<Self, LinkError> {
        let tls = if target.secure { Some(trust()?) } else { None };
        Ok(Self {
            target,
            tls,
            open: None,
        })
    }

    /// Makes another `Link` to the same target, with a connection of its own.
    pub fn sibling(&self) -> Self {
        Self {
            target: Arc::clone(&self.target),
            tls: self.tls.clone(),
            open: None,
        }
    }

    /// Checks that the target accepts connections, by opening a connection and closing it again.
    pub async fn check(&mut self) -> Result<(), LinkError> {
        self.connect().await.map(drop)
    }

    /// Posts a request and waits for its response. After an error, the next request uses a new
    /// connection.
    pub async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<HttpResponse, LinkError> {
        if !self.is_alive().await {
            self.open = None;
        }
        let (mut sending, mut driving) = match self.open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        let answer = timeout(ANSWER_WAIT, ask(&mut sending, &mut driving, request))
            .await
            .map_err(|_| LinkError::TooSlow)?
            .map_err(LinkError::Lost)?;
        self.open = driving.is_some().then_some((sending, driving));
        Ok(answer)
    }

    /// Returns whether the connection is still open. Called before each request, because a request
    /// on a connection that the server has closed would be lost.
    async fn is_alive(&mut self) -> bool {
        let Some((sending, driving)) = &mut self.open else {
            return false;
        };
        tokio::select! {
            biased;
            () = drive(driving) => false,
            ready = sending.ready() => ready.is_ok(),
        }
    }

    async fn connect(&mut self) -> Result<(Sending, Driving), LinkError> {
        let to = self.target.authority.clone();
        let unreachable = |source| LinkError::Unreachable {
            to: to.clone(),
            source,
        };
        let stream = timeout(CONNECT_WAIT, self.stream())
            .await
            .unwrap_or_else(|late| Err(io::Error::new(io::ErrorKind::TimedOut, late)))
            .map_err(unreachable)?;
        let (sending, driving) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unreachable(io::Error::other(error)))?;
        Ok((sending, Some(Box::pin(driving))))
    }

    async fn stream(&mut self) -> io::Result<Box<dyn Stream>> {
        let target = &self.target;
        let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(target.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }
}

type Broken = Box<dyn std::error::Error + Send + Sync>;

async fn ask(
    sending: &mut Sending,
    driving: &mut Driving,
    request: Request<Full<Bytes>>,
) -> Result<HttpResponse, Broken> {
    let exchange = async {
        let response = sending.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await?.to_bytes();
        Ok::<_, Broken>(HttpResponse { status, body })
    };
    tokio::pin!(exchange);
    loop {
        tokio::select! {
            biased;
            answer = &mut exchange => return answer,
            () = drive(driving), if driving.is_some() => {}
        }
    }
}

/// Runs a connection until it has ended, and then drops it. If the server closes the connection at
/// the moment when a request is handed to it, only dropping the connection returns an error for
/// this request.
async fn drive(driving: &mut Driving) {
    if let Some(connection) = driving {
        // The error is ignored here, because the request on the connection gets it as well.
        let _ = connection.as_mut().await;
        *driving = None;
    }
}

fn trust() -> Result<tokio_rustls::TlsConnector, LinkError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| LinkError::NoTrust(io::Error::other(error)))?
        .with_native_roots()
        .map_err(LinkError::NoTrust)?
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}

#[cfg(test)]
mod tests;
