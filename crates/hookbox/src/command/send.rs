//! `hookbox send`: sends one signed event, as a provider does.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use hookbox_config::{Config, SourceConfig};
use hookbox_driver::{Clock as _, Rng as _, SystemClock, SystemRng};
use hookbox_event::SourceName;
use hookbox_operations::render::terminal;
use hookbox_traffic::{HttpResponse, Link, Signer, Target, Terms, event_types, one_event};
use http::{HeaderName, HeaderValue};

use super::{healthcheck, print};
use crate::exit::{self, Exit};

/// The options for target and source that `send` and `generate` share.
#[derive(Debug, Args)]
pub struct ToArgs {
    /// The URL to send to; /hooks/SOURCE is appended to a URL without a path [default: the address
    /// of the config's ingest]
    #[arg(long)]
    url: Option<String>,
    /// The source of the config whose first valid key signs [default: the only source]
    #[arg(long, value_name = "NAME")]
    source: Option<SourceName>,
}

/// A source of the config, and what is needed to send requests to it.
pub struct ResolvedSource<'c> {
    /// The source, as the config describes it.
    pub source: &'c SourceConfig,
    /// The signer of the requests.
    pub signer: Signer,
    /// The names of the config, the source and the key with which the requests are signed.
    pub terms: Terms,
    /// The target that requests are sent to.
    pub target: Target,
}

/// Arguments of `send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    #[command(flatten)]
    to: ToArgs,
    /// The file with the body, sent byte for byte [default: a generated Begini event]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A header that the signature does not cover, such as the one with the event type of some
    /// providers; may be repeated
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// The type of the generated event
    #[arg(long, value_name = "TYPE", conflicts_with = "file",
        default_value = "psychometric_score.complete",
        value_parser = PossibleValuesParser::new(event_types()))]
    r#type: String,
}

/// Parses a header in the syntax of curl: `NAME: VALUE`.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("write the header in the form \"X-Event: push\"")?;
    let name = name.trim().parse::<HeaderName>();
    let value = HeaderValue::from_bytes(value.trim().as_bytes());
    Ok((
        name.map_err(|_| "the part before ':' is not a valid header name")?,
        value.map_err(|_| "the part after ':' is not a valid header value")?,
    ))
}

impl ToArgs {
    /// Returns the source, its signer and the target.
    pub fn resolve<'c>(&self, config: &'c Config) -> anyhow::Result<ResolvedSource<'c>> {
        let names = || {
            let names = config.sources.iter().map(|source| source.name.as_str());
            names.collect::<Vec<_>>().join(", ")
        };
        let source = match (&self.source, &config.sources[..]) {
            (Some(name), sources) => sources.iter().find(|source| source.name == *name),
            (None, [only]) => Some(only),
            (None, _) => bail!("choose a source with --source; the config has {}", names()),
        };
        let source = source.with_context(|| {
            format!(
                "the config does not have the source of --source; it has {}",
                names()
            )
        })?;
        let now = SystemClock.now();
        let key = source.keys.iter().find(|key| key.is_valid(now));
        let key = key.with_context(|| {
            let name = &source.name;
            format!("the source {name} has no key that is valid now; add one to its secrets")
        })?;
        let signer = Signer {
            scheme: source.scheme.clone(),
            key: key.clone(),
            headers: Vec::new(),
        };
        let terms = Terms::new(&config.path, &source.name, &source.scheme, key);
        let url = self.url.clone().unwrap_or_else(|| listening(config));
        let target = Target::new(&url, source.name.as_str())?;
        Ok(ResolvedSource {
            source,
            signer,
            terms,
            target,
        })
    }
}

/// Returns the URL by which this machine reaches the config's ingest.
fn listening(config: &Config) -> String {
    let address = healthcheck::local(config.ingest.listen);
    let scheme = if config.ingest.tls.is_some() {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{address}")
}

/// Sends the event and prints the answer. The command succeeds only if the answer is 200 and JSON.
pub async fn run(config: &Config, args: &SendArgs, json: bool) -> anyhow::Result<Exit> {
    let ResolvedSource {
        mut signer,
        terms,
        target,
        ..
    } = args.to.resolve(config)?;
    signer.headers.clone_from(&args.header);
    let mut random = [0; 8];
    SystemRng.fill(&mut random);
    let body = match &args.file {
        Some(file) => std::fs::read(file)
            .with_context(|| format!("the body cannot be read from {}", file.display()))?,
        None => one_event(&args.r#type, u64::from_be_bytes(random))
            .context("no event of the type given with --type can be generated")?,
    };
    let id = format!("msg_{}", hex::encode(random));
    let request = signer.request(&target, body, &id);
    let target = Arc::new(target);
    let mut link = Link::new(Arc::clone(&target))?;
    let answer = link
        .exchange(request)
        .await
        .with_context(|| format!("{target} did not answer the event"))?;
    print::text(&report(&target, &terms, &answer, json))?;
    Ok(if answer.is_accepted() {
        exit::OK
    } else {
        exit::FAILED
    })
}

fn report(target: &Target, terms: &Terms, answer: &HttpResponse, json: bool) -> String {
    let said = String::from_utf8_lossy(&answer.body);
    if !json {
        let verdict = if answer.is_accepted() {
            "accepted"
        } else {
            "not accepted (a provider wants exactly 200 and JSON)"
        };
        let said = terminal::line(&said);
        let status = answer.status;
        return format!("{target} answered {status}: {verdict}\n{said}\n{terms}\n");
    }
    let parsed = serde_json::from_slice::<serde_json::Value>(&answer.body);
    let report = serde_json::json!({
        "url": target.to_string(),
        "signed": terms,
        "status": answer.status,
        "accepted": answer.is_accepted(),
        "answer": parsed.unwrap_or_else(|_| said.into_owned().into()),
    });
    terminal::json(&format!("{report:#}\n"))
}
