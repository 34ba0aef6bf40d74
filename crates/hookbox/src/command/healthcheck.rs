//! `hookbox healthcheck`: checks whether a running hookbox is ready.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use hookbox_config::{Config, HandlerKinds, Needs};
use http::{StatusCode, Uri};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::command::{config_file, print};
use crate::exit::{self, Exit};

/// The longest time that the check waits for an answer. Container health checks usually give up
/// after the same time.
const DEADLINE: Duration = Duration::from_secs(3);

/// Arguments of `healthcheck`.
#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// The URL to check; http only [default: /readyz at the address of the config's ingest; where
    /// no ingest listens, or the ingest has TLS, /readyz at the address of the config's metrics]
    #[arg(long)]
    pub url: Option<String>,
}

/// Checks once. Any status but 200 means unhealthy. The config is only read if no URL is given.
pub async fn run(
    config: Option<&Path>,
    args: &HealthcheckArgs,
    kinds: &HandlerKinds,
) -> anyhow::Result<Exit> {
    let urls = match &args.url {
        Some(url) => vec![url.clone()],
        None => urls(&config_file::load(config, Needs::NONE, kinds)?)?,
    };
    let status = tokio::time::timeout(DEADLINE, first(&urls)).await;
    let status = status.context("the server did not answer the health check in time")??;
    // The exit code is the result of the check, and a failure to print must not make a container
    // unhealthy.
    let _ = print::text(&format!("{status}\n"));
    Ok(if status == StatusCode::OK {
        exit::OK
    } else {
        exit::FAILED
    })
}

/// Returns the status from the first URL at which a server listens.
async fn first(urls: &[String]) -> anyhow::Result<StatusCode> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let mut unreachable = None;
    for text in urls {
        let url: Uri = text
            .parse()
            .with_context(|| format!("{text:?} is not a URL"))?;
        if url.scheme_str() != Some("http") {
            bail!(
                "{url} is not an http URL; to check a listener with TLS, use another client, such \
                 as curl"
            );
        }
        match client.get(url).await {
            Ok(answer) => return Ok(answer.status()),
            Err(error) if error.is_connect() => unreachable = Some((text, error)),
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("the server at {text} did not answer the health check")
                });
            }
        }
    }
    let (text, error) = unreachable.context("there is no URL to check")?;
    Err(error).with_context(|| format!("{text} cannot be reached"))
}

/// Returns the URLs at which processes of this config answer readiness checks. An ingest answers at
/// the address where it receives webhooks. A process that receives no webhooks (a worker, or a
/// process that still waits for its broker) answers at the address of its metrics.
fn urls(config: &Config) -> anyhow::Result<Vec<String>> {
    let ingest = (config.ingest.tls.is_none()).then_some(config.ingest.listen);
    let listeners = ingest.into_iter().chain(config.metrics);
    let urls: Vec<String> = listeners
        .map(local)
        .filter(|address| address.port() != 0)
        .map(|address| format!("http://{address}/readyz"))
        .collect();
    if urls.is_empty() {
        bail!(
            "{}: the ingest listens with TLS, or on any free port; set [metrics] listen, which is \
             checked instead, or give a URL with --url",
            config.path.display()
        );
    }
    Ok(urls)
}

/// Returns the address by which this machine reaches a listener.
pub fn local(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
