//! `hookbox healthcheck`: asks a running hookbox whether it is ready.

use std::time::Duration;

use anyhow::{Context, bail};
use http::Uri;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::cli::HealthcheckArgs;
use crate::command::print;
use crate::exit::{self, Exit};

/// Longer than this, and a container's health check has given up as well.
const DEADLINE: Duration = Duration::from_secs(3);

/// Asks once; anything but 200 is not healthy.
pub async fn run(args: &HealthcheckArgs) -> anyhow::Result<Exit> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let url: Uri = args
        .url
        .parse()
        .with_context(|| format!("{:?} is not a URL", args.url))?;
    if url.scheme_str() != Some("http") {
        bail!("{url} is not an http URL; a listener with TLS is best asked by its own clients");
    }
    let asked = tokio::time::timeout(DEADLINE, client.get(url)).await;
    let answer = asked
        .context("it did not answer in time")?
        .context("it cannot be reached")?;
    print::text(&format!("{}\n", answer.status()))?;
    Ok(if answer.status() == http::StatusCode::OK {
        exit::OK
    } else {
        exit::FAILED
    })
}
