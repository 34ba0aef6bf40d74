//! Checks the meaning of the config file, and reports all mistakes at once.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use hookbox_driver_postgres::Options;
use hookbox_event::{EnvironmentName, Timestamp};
use hookbox_ingest::Limits;
use secrecy::SecretString;

use super::config::{Config, IngestConfig, LogConfig};
use super::file::{File, Ingest, Log, Url};
use super::handler_kinds::HandlerKinds;
use super::log_filter::log_filter;
use super::parts::BrokenParts;
use super::place::{Mistakes, Places};
use super::route::RouteConfig;
use super::secret::{Env, Secrets};
use super::server::{BrokerUrl, Network, StoreUrl};
use super::source::SourceConfig;
use super::units::{duration, size};
use super::{
    connection_lifetime, identity_key, peers, route, same_key, scheme, source, spool, sqlite_path,
    tls, urls,
};

/// The longest allowed drain. Service managers kill a service that takes too long to stop; systemd
/// waits 90 s.
const DRAIN_MAX: Duration = Duration::from_secs(90);

/// How long a drain may take by default.
pub const DRAIN: Duration = Duration::from_secs(20);

/// The default lead of a drain: none. The lead is the first part of the drain, in which requests
/// are still accepted. Only a deployment behind a load balancer needs a lead, and its length
/// depends on how often the balancer checks readiness.
pub const DRAIN_LEAD: Duration = Duration::ZERO;

/// The default for the address and port at which webhooks are received.
pub const LISTEN: &str = "127.0.0.1:8080";

/// The shortest and the longest idle time of a connection that the config may set. Reading the head
/// of a request alone may take 5 s, so the shortest is 5 s. An AWS load balancer (ALB) can keep an
/// idle connection for 4,000 s, so the longest is more than that.
const IDLE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(7200));

/// Checks the meaning of a config file. Any mistake makes the whole file invalid.
pub fn check(
    path: &Path,
    file: &File,
    mut places: Places,
    secrets: &Secrets<'_>,
    kinds: &HandlerKinds,
    now: Timestamp,
) -> Result<Config, Mistakes> {
    let config = effective(path, file, &mut places, secrets, kinds, now);
    without_mistakes(config, places)
}

/// Checks the meaning of a config file for a running service. A mistake in a reloadable part makes
/// only that part invalid. The returned [`BrokenParts`] contain the invalid parts with their
/// mistakes, and the caller must not use the config's values of these parts. Any other mistake
/// makes the whole file invalid.
pub fn check_parts(
    path: &Path,
    file: &File,
    mut places: Places,
    secrets: &Secrets<'_>,
    kinds: &HandlerKinds,
    now: Timestamp,
) -> Result<(Config, BrokenParts), Mistakes> {
    let config = effective(path, file, &mut places, secrets, kinds, now);
    let broken = BrokenParts::take(file, &mut places);
    Ok((without_mistakes(config, places)?, broken))
}

fn without_mistakes(config: Option<Config>, mut places: Places) -> Result<Config, Mistakes> {
    match config {
        Some(config) if places.is_clean() => Ok(Config {
            warnings: places.warnings(),
            ..config
        }),
        Some(_) | None => {
            if places.is_clean() {
                places.mistake("", "the config cannot be used");
            }
            Err(places.into_mistakes())
        }
    }
}

fn effective(
    path: &Path,
    file: &File,
    places: &mut Places,
    secrets: &Secrets<'_>,
    kinds: &HandlerKinds,
    now: Timestamp,
) -> Option<Config> {
    let environment = places.take("/environment", file.environment.parse::<EnvironmentName>());
    let store = store(&file.store.url, places, secrets);
    let lifetime = connection_lifetime::read(&file.store, places);
    let broker = broker(&file.broker.url, places, secrets);
    let management = management(file, broker.as_ref(), places, secrets);
    let ingest = ingest(&file.ingest, secrets, places);
    let metrics = metrics(file, ingest.as_ref(), places);
    let drain = drain(file, places);
    let log = log(&file.log, places, secrets.env);
    let sources = sources(file, places, secrets, now);
    let routes = routes(file, places, kinds, store.as_ref());
    let config = Config {
        path: path.to_owned(),
        text: String::new(),
        needs: secrets.needs,
        kinds: kinds.clone(),
        environment: environment?,
        identity: identity_key::read(file.identity.as_ref(), secrets, places),
        store: store.unwrap_or(StoreUrl::NotResolved),
        store_network: network(file.store.network.as_ref()),
        store_connections: file.store.connections.unwrap_or(Options::CONNECTIONS_MAX),
        store_connection_lifetime: lifetime?,
        broker: broker.unwrap_or(BrokerUrl::NotResolved),
        broker_network: network(file.broker.network.as_ref()),
        management,
        ingest: ingest?,
        metrics: metrics?,
        drain: drain?.0,
        drain_lead: drain?.1,
        log,
        sources,
        routes,
        warnings: Vec::new(),
    };
    if let Some(spool) = &config.ingest.spool {
        spool::fits(spool, &config.store, &config.broker, places);
    }
    urls::check(&config, places);
    Some(config)
}

/// Returns what the setting `network` declares. The config schema allows only the word "private".
fn network(word: Option<&String>) -> Network {
    word.map_or(Network::Any, |_| Network::Private)
}

/// Returns two durations: the longest time of a drain (an orderly shutdown), and its lead. The lead
/// is the first part of the drain: readiness already reports 503, and requests are still accepted.
fn drain(file: &File, places: &mut Places) -> Option<(Duration, Duration)> {
    let mut or = |at: &str, text: &Option<String>, usual: Duration| match text {
        Some(text) => places.take(at, duration(text)),
        None => Some(usual),
    };
    let drain = or("/drain", &file.drain, DRAIN);
    let lead = or("/ingest/drain_lead", &file.ingest.drain_lead, DRAIN_LEAD);
    let (drain, lead) = (drain?, lead?);
    if drain.is_zero() || drain > DRAIN_MAX {
        places.mistake("/drain", "the value must be from 1 ms to 90 s");
    } else if lead > drain / 2 {
        let why = "drain_lead must be at most half of drain: it is the first part of that time, \
                   and requests that are open at its end still need time for their answers";
        places.mistake("/ingest/drain_lead", why);
    }
    Some((drain, lead))
}

fn sources(
    file: &File,
    places: &mut Places,
    secrets: &Secrets<'_>,
    now: Timestamp,
) -> Vec<SourceConfig> {
    let mut sources = Vec::new();
    for (index, one) in file.source.iter().enumerate() {
        let at = format!("/source/{index}");
        let before = &file.source[..index];
        if before.iter().any(|other| other.name == one.name) {
            let twice = format!("there are two sources of the name {:?}", one.name);
            places.mistake(&format!("{at}/name"), twice);
        }
        let Some(source) = source::check(&at, one, secrets, places) else {
            continue;
        };
        if !source.keys.is_empty() && !source.keys.iter().any(|key| key.is_valid(now)) {
            // This is only a warning, because a source without a valid key must not prevent a
            // restart of the other sources.
            let what = "every secret is past its \"until\", so requests are answered 503; add one \
                        that is valid";
            places.warn(&format!("{at}/secrets"), what);
        }
        scheme::check_verifies(&at, &source.scheme, &source.keys, now, places);
        sources.push(source);
    }
    same_key::check(file, &sources, places);
    sources
}

fn routes(
    file: &File,
    places: &mut Places,
    kinds: &HandlerKinds,
    store: Option<&StoreUrl>,
) -> Vec<RouteConfig> {
    let mut routes = Vec::new();
    for (index, one) in file.route.iter().enumerate() {
        let at = format!("/route/{index}");
        let before = &file.route[..index];
        if before.iter().any(|other| other.name == one.name) {
            let twice = format!("two routes have the name {:?}", one.name);
            places.mistake(&format!("{at}/name"), twice);
        }
        let checked = route::check(&at, one, &file.worker, places);
        if let Some(route) = &checked {
            kinds.check(&format!("{at}/handler"), &route.handler, store, places);
        }
        routes.extend(checked);
    }
    routes.extend(route::unrouted(&file.worker, places));
    routes
}

fn log(given: &Log, places: &mut Places, env: Env<'_>) -> LogConfig {
    let variable = env("HOOKBOX_LOG").filter(|text| !text.is_empty());
    let filter = match (&variable, &given.filter) {
        (Some(text), _) => {
            let checked = log_filter(text).map_err(|why| format!("HOOKBOX_LOG: {why}"));
            places.take("", checked)
        }
        (None, Some(text)) => places.take("/log/filter", log_filter(text)),
        (None, None) => None,
    };
    LogConfig {
        json: given.format.as_deref() == Some("json"),
        filter,
    }
}

/// Returns the text of a URL. The outer `None` means a mistake. The inner `None` means a reference
/// to a secret that the command does not need.
fn url(
    at: &str,
    url: &Url,
    is_needed: bool,
    places: &mut Places,
    secrets: &Secrets<'_>,
) -> Option<Option<String>> {
    match url {
        // A URL that is written in the file contains no secret: the config schema allows only a URL
        // of SQLite there. Every other URL is in a file or a variable that the config names.
        Url::Literal(text) => Some(Some(text.clone())),
        Url::Reference(_) if !is_needed => Some(None),
        Url::Reference(reference) => secrets.resolve(at, reference, places).map(Some),
    }
}

fn store(given: &Url, places: &mut Places, secrets: &Secrets<'_>) -> Option<StoreUrl> {
    let at = "/store/url";
    let Some(text) = url(at, given, secrets.needs.store, places, secrets)? else {
        return Some(StoreUrl::NotResolved);
    };
    if let Some(path) = text.strip_prefix("sqlite:") {
        return sqlite_path::check(at, secrets.folder, path, places).map(StoreUrl::Sqlite);
    }
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Some(StoreUrl::Postgres(text.into()));
    }
    places.mistake(
        at,
        "the referenced URL must begin with postgres:// or sqlite:",
    );
    None
}

fn broker(given: &Url, places: &mut Places, secrets: &Secrets<'_>) -> Option<BrokerUrl> {
    let at = "/broker/url";
    let Some(text) = url(at, given, secrets.needs.broker, places, secrets)? else {
        return Some(BrokerUrl::NotResolved);
    };
    if let Some(path) = text.strip_prefix("sqlite:") {
        return sqlite_path::check(at, secrets.folder, path, places).map(BrokerUrl::Sqlite);
    }
    if text.starts_with("amqp://") || text.starts_with("amqps://") {
        return Some(BrokerUrl::Amqp(text.into()));
    }
    places.mistake(
        at,
        "the referenced URL must begin with amqp://, amqps:// or sqlite:",
    );
    None
}

/// Returns the URL of the management API, if one is configured and valid.
fn management(
    file: &File,
    broker: Option<&BrokerUrl>,
    places: &mut Places,
    secrets: &Secrets<'_>,
) -> Option<SecretString> {
    let given = file.broker.management.as_ref()?;
    let at = "/broker/management";
    let text = url(at, given, secrets.needs.broker, places, secrets)?;
    match broker {
        Some(BrokerUrl::Sqlite(_)) => {
            places.mistake(
                at,
                "the broker is a SQLite file, which has no management API",
            );
        }
        Some(BrokerUrl::Amqp(_) | BrokerUrl::NotResolved) | None => {}
    }
    text.map(SecretString::from)
}

/// Parses an address with a port.
fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong =
        |_| format!("{text:?} is not an address and a port, such as 127.0.0.1:8080 or [::1]:8080");
    text.parse().map_err(wrong)
}

/// Returns the address for metrics. The outer `None` means a mistake, the inner `None` that metrics
/// are off.
fn metrics(
    file: &File,
    ingest: Option<&IngestConfig>,
    places: &mut Places,
) -> Option<Option<SocketAddr>> {
    let Some(metrics) = &file.metrics else {
        return Some(None);
    };
    let listen = places.take("/metrics/listen", address(&metrics.listen))?;
    if ingest.is_some_and(|ingest| ingest.listen == listen && listen.port() != 0) {
        let what = "webhooks are received at this address; metrics need another port";
        places.mistake("/metrics/listen", what);
    }
    Some(Some(listen))
}

fn ingest(given: &Ingest, secrets: &Secrets<'_>, places: &mut Places) -> Option<IngestConfig> {
    let standard = Limits::standard();
    let listen = given.listen.as_deref().unwrap_or(LISTEN);
    let listen = places.take("/ingest/listen", address(listen));
    let sizes = sizes(given, &standard, places);
    let idle = idle(given, &standard, places);
    let peers = peers::check(given, listen, places);
    let spool = spool::check(secrets.folder, given, places);
    let tls = tls::check(given, secrets, places);
    let (body_max, bodies_max) = sizes?;
    let connections_max = given.connections.unwrap_or(standard.connections_max);
    let per_address = (connections_max / Limits::ADDRESS_SHARE).max(1);
    Some(IngestConfig {
        listen: listen?,
        tls,
        trusted_proxies: given.trusted_proxies.clone(),
        plain_http_from: given.plain_http_from.clone(),
        peers: peers?,
        body_max,
        bodies_max,
        idle: idle?,
        connections_max,
        connections_per_address_max: given.connections_per_address.unwrap_or(per_address),
        waiting_max: given.waiting.unwrap_or(standard.waiting_max),
        spool: spool?,
    })
}

/// Returns how long a connection may be idle, from the config or by default.
fn idle(given: &Ingest, standard: &Limits, places: &mut Places) -> Option<Duration> {
    let at = "/ingest/idle";
    let Some(text) = &given.idle else {
        return Some(standard.idle_deadline);
    };
    let idle = places.take(at, duration(text))?;
    if idle < IDLE.0 || idle > IDLE.1 {
        let why = "the value must be from 5 s to 2 h, and longer than the load balancer in front \
                   keeps its idle connections (ALB and nginx: 60 s)";
        places.mistake(at, why);
    }
    Some(idle)
}

/// Returns two sizes in bytes: of the largest body, and of all bodies in memory together.
fn sizes(given: &Ingest, standard: &Limits, places: &mut Places) -> Option<(usize, usize)> {
    let mut size_or = |key: &str, text: &Option<String>, standard: usize| match text {
        Some(text) => places.take(&format!("/ingest/{key}"), size(text)),
        None => Some(standard),
    };
    let body_max = size_or("body_max", &given.body_max, standard.body_max)?;
    let usual = standard.body_bytes_in_flight_max;
    let bodies_max = size_or("bodies_max", &given.bodies_max, usual)?;
    if body_max == 0 || body_max > Limits::BODY_MAX_CAP {
        let why = "the value must be from 1 B to 15 MiB: RabbitMQ 4 refuses messages over 16 MiB";
        places.mistake("/ingest/body_max", why);
    } else if bodies_max < body_max {
        let why =
            "the value must be at least body_max, or the largest body would never be accepted";
        places.mistake("/ingest/bodies_max", why);
    }
    Some((body_max, bodies_max))
}
