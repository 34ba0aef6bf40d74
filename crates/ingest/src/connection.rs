//! Serves one connection, with or without TLS, within limits of time and size until it ends.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use http::HeaderValue;
use http::header::CONNECTION;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::places::Place;
use crate::read_deadline::{ReadDeadline, Requests};
use crate::receive::Peer;
use crate::write_deadline::WriteDeadline;
use crate::{Ingest, Limits, router};

/// Serves one connection over any stream until the connection ends, as [`crate::serve`] does for a
/// socket. This function is for callers that have no socket, such as tests.
pub async fn serve_stream(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    ingest: &Arc<Ingest>,
) {
    let connection = Connection {
        app: router(Arc::clone(ingest)),
        peer,
        limits: ingest.limits.clone(),
        place: None,
        drain: CancellationToken::new(),
        cut: CancellationToken::new(),
    };
    connection.serve(stream).await;
}

/// An accepted connection.
pub(crate) struct Connection {
    pub app: Router,
    pub peer: SocketAddr,
    pub limits: Limits,
    /// The place that this connection takes in the limit on open connections. `None` when there is
    /// no such limit: [`serve_stream`] has none.
    pub place: Option<Arc<Place>>,
    /// Cancelled at a drain: the connection takes no further request. It ends when it is idle, or
    /// after the answer to the current request.
    pub drain: CancellationToken,
    /// Cancelled when the connection must end at once.
    pub cut: CancellationToken,
}

impl Connection {
    /// Serves a socket until the connection ends, or until its place in the limit on open
    /// connections is given to another connection.
    pub async fn begin(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let place = self.place.clone();
        let closed = async {
            match place {
                Some(place) => place.closed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.serve_socket(stream, tls) => {}
            () = closed => {}
        }
    }

    async fn serve_socket(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // An answer is a single small write. Nagle's algorithm, which waits until a packet is full,
        // would only delay it.
        let _ = stream.set_nodelay(true);
        let stream = WriteDeadline::new(stream, self.limits.write_deadline);
        match tls {
            None => self.serve(stream).await,
            Some(tls) => {
                let handshake = tokio::time::timeout(self.limits.tls_deadline, tls.accept(stream));
                let handshake = tokio::select! {
                    handshake = handshake => handshake,
                    // No request has been sent yet, so the drain need not wait for it.
                    () = self.drain.cancelled() => return,
                };
                match handshake {
                    Ok(Ok(stream)) => self.serve(stream).await,
                    Ok(Err(error)) => {
                        tracing::debug!(
                            peer = %self.peer.ip(),
                            error = %error,
                            "the TLS handshake failed"
                        );
                    }
                    Err(_elapsed) => {
                        tracing::debug!(peer = %self.peer.ip(), "the TLS handshake took too long");
                    }
                }
            }
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self {
            app,
            peer,
            limits,
            place,
            drain,
            cut,
        } = self;
        let requests = Arc::new(Requests::default());
        let counted = Arc::clone(&requests);
        let is_reserve = place.as_ref().is_some_and(|place| place.is_reserve());
        let sender = Peer {
            address: peer,
            place: place.clone(),
        };
        let stream = ReadDeadline::new(stream, &limits, requests, place, drain.clone());
        let draining = drain.clone();
        let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(sender.clone());
            let open = counted.open();
            let answer = app.clone().oneshot(request);
            let draining = draining.clone();
            async move {
                let mut response = answer.await?;
                // A connection that was admitted only for a health check is closed after one
                // request.
                if is_reserve || draining.is_cancelled() {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                drop(open);
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http1::Builder::new()
            // hyper's own time-out is off, because `ReadDeadline` limits the time for a head, and
            // in addition the time for which a connection may be idle.
            .header_read_timeout(None)
            .max_headers(limits.headers_max)
            .max_buf_size(limits.head_bytes_max)
            .keep_alive(true)
            // A sender may close its half of the connection after its request and wait for the
            // answer (RFC 9112, section 9.6), so hyper must still answer it. A sender that has
            // disconnected looks the same until the answer is sent.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let mut is_draining = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(peer = %peer.ip(), error = %error, "a connection ended");
                    }
                    return;
                }
                // When the connection is polled next, it sees that the drain has started, and ends
                // if it is idle.
                () = drain.cancelled(), if !is_draining => is_draining = true,
                () = cut.cancelled() => return,
            }
        }
    }
}
