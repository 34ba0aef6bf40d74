//! A small HTTP server with three paths, whose responses are cheap to compute. Its limits are like
//! those of the listener for webhooks.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use hookbox_driver::{Clock as _, SystemClock};
use http::header::{ALLOW, CONTENT_TYPE, VARY};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::exposition::Exposition;
use super::state::Monitor;
use super::{page, readiness};

/// How many connections may be open at once. A scraper, a load balancer and an operator need only a
/// few connections.
const CONNECTIONS_MAX: usize = 32;

/// The deadline for the head of a request, and therefore how long an idle connection is kept.
/// Scrapes are often a minute apart, and opening a new connection is cheap.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);

/// The longest time that a connection may last in total, so that a client that reads nothing does
/// not occupy a connection for ever.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(60);

/// The largest head of a request, in bytes, that the parser may buffer. This is the smallest value
/// that hyper allows.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// How long to wait after a connection could not be accepted, for example for lack of file
/// descriptors, before the next one is accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds the listener for the monitoring endpoints.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address} for metrics; stop what listens there, or choose another \
             address ([metrics] listen)"
        )
    })
}

/// Serves the monitoring endpoints until the future is dropped.
pub async fn serve(listener: TcpListener, monitor: Arc<Monitor>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed, so this `return` is never reached.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let monitor = Arc::clone(&monitor);
                connections.spawn(async move {
                    let served = tokio::time::timeout(CONNECTION_DEADLINE, one(stream, monitor));
                    // The connection has ended or has reached its longest time. In both cases the
                    // client may connect again, so the result does not matter.
                    let _ = served.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(error = %error, "a connection for metrics could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn one(stream: TcpStream, monitor: Arc<Monitor>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&request, &monitor);
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(error = %error, "a connection for metrics ended early");
    }
}

fn answer<B>(request: &Request<B>, monitor: &Monitor) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    const JSON: &str = "application/json";
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET\n".into());
        refused
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/metrics" => match page::of(monitor) {
            Ok(page) => {
                let exposition = Exposition::requested_by(request.headers());
                let page = exposition.of(page);
                let mut page = response(StatusCode::OK, exposition.content_type(), page);
                page.headers_mut()
                    .insert(VARY, HeaderValue::from_static("Accept"));
                page
            }
            Err(_) => {
                let sorry = "the metrics could not be written\n";
                response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, sorry.into())
            }
        },
        "/livez" => response(StatusCode::OK, JSON, r#"{"status":"alive"}"#.into()),
        "/readyz" => {
            let (is_ready, words) = readiness::answer(monitor, SystemClock.now());
            let status = if is_ready {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            response(status, JSON, words.to_string())
        }
        _ => {
            let there = "the paths are /metrics, /livez and /readyz\n";
            response(StatusCode::NOT_FOUND, TEXT, there.into())
        }
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
