//! Does it mean something that can be? All that cannot, at once.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use hookbox_event::EnvironmentName;
use hookbox_ingest::Limits;

use super::file::{File, Ingest, Url};
use super::place::{Mistakes, Places};
use super::secret::{Env, beside, resolve};
use super::units::{duration, size};
use super::{BrokerUrl, Config, IngestConfig, LogConfig, StoreUrl, route, source};

/// Longest drain. Whoever stops a service kills it after a while; systemd waits 90 s.
const DRAIN_MAX: Duration = Duration::from_secs(90);

/// Checks the meaning of a file.
pub fn check(
    path: &Path,
    file: File,
    mut places: Places,
    env: Env<'_>,
) -> Result<Config, Mistakes> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let checked = effective(path, folder, &file, &mut places, env);
    match checked {
        Some(config) if places.is_clean() => Ok(config),
        Some(_) | None => {
            if places.is_clean() {
                places.mistake("", "it cannot be used");
            }
            Err(places.into_mistakes())
        }
    }
}

fn effective(
    path: &Path,
    folder: &Path,
    file: &File,
    places: &mut Places,
    env: Env<'_>,
) -> Option<Config> {
    let environment = places.take("/environment", file.environment.parse::<EnvironmentName>());
    let store = store(folder, &file.store.url, places, env);
    let broker = broker(folder, &file.broker.url, places, env);
    let ingest = ingest(folder, &file.ingest, places);
    let drain = match &file.drain {
        Some(text) => places.take("/drain", duration(text)),
        None => Some(Duration::from_secs(20)),
    };
    if drain.is_some_and(|drain| drain.is_zero() || drain > DRAIN_MAX) {
        places.mistake("/drain", "it must be from 1 ms to 90 s");
    }
    let mut sources = Vec::new();
    for (index, one) in file.source.iter().enumerate() {
        let at = format!("/source/{index}");
        if file.source[..index]
            .iter()
            .any(|other| other.name == one.name)
        {
            let twice = format!("there are two sources of the name {:?}", one.name);
            places.mistake(&format!("{at}/name"), twice);
        }
        sources.extend(source::check(&at, one, folder, places, env));
    }
    let mut routes = Vec::new();
    for (index, one) in file.route.iter().enumerate() {
        let at = format!("/route/{index}");
        if file.route[..index]
            .iter()
            .any(|other| other.name == one.name)
        {
            let twice = format!("there are two routes of the name {:?}", one.name);
            places.mistake(&format!("{at}/name"), twice);
        }
        routes.extend(route::check(&at, one, &file.worker, places));
    }
    routes.extend(route::unrouted(&file.worker, places));
    Some(Config {
        path: path.to_owned(),
        environment: environment?,
        store: store?,
        store_connections: file.store.connections.unwrap_or(16),
        broker: broker?,
        ingest: ingest?,
        drain: drain?,
        log: LogConfig {
            json: file.log.format.as_deref() == Some("json"),
            filter: file.log.filter.clone(),
        },
        sources,
        routes,
    })
}

fn url(at: &str, folder: &Path, url: &Url, places: &mut Places, env: Env<'_>) -> Option<String> {
    match url {
        // The schema lets only SQLite's be written out.
        Url::Literal(text) => Some(text.clone()),
        Url::Reference(reference) => places.take(at, resolve(folder, reference, env)),
    }
}

fn store(folder: &Path, given: &Url, places: &mut Places, env: Env<'_>) -> Option<StoreUrl> {
    let at = "/store/url";
    let text = url(at, folder, given, places, env)?;
    if let Some(path) = text.strip_prefix("sqlite:") {
        return Some(StoreUrl::Sqlite(beside(folder, path)));
    }
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Some(StoreUrl::Postgres(text.into()));
    }
    places.mistake(
        at,
        "what it refers to must begin with postgres:// or sqlite:",
    );
    None
}

fn broker(folder: &Path, given: &Url, places: &mut Places, env: Env<'_>) -> Option<BrokerUrl> {
    let at = "/broker/url";
    let text = url(at, folder, given, places, env)?;
    if let Some(path) = text.strip_prefix("sqlite:") {
        return Some(BrokerUrl::Sqlite(beside(folder, path)));
    }
    if text.starts_with("amqp://") || text.starts_with("amqps://") {
        return Some(BrokerUrl::Amqp(text.into()));
    }
    places.mistake(
        at,
        "what it refers to must begin with amqp://, amqps:// or sqlite:",
    );
    None
}

fn ingest(folder: &Path, given: &Ingest, places: &mut Places) -> Option<IngestConfig> {
    let standard = Limits::standard();
    let listen = given.listen.as_deref().unwrap_or("127.0.0.1:8080");
    let listen = listen.parse::<SocketAddr>().map_err(|_| {
        format!("{listen:?} is not an address and a port, as 127.0.0.1:8080 or [::1]:8080")
    });
    let listen = places.take("/ingest/listen", listen);
    let body_max = match &given.body_max {
        Some(text) => places.take("/ingest/body_max", size(text)),
        None => Some(standard.body_max),
    };
    if body_max.is_some_and(|max| max == 0 || max > Limits::BODY_MAX_CAP) {
        let why = "it must be from 1 B to 15 MiB: RabbitMQ 4 refuses messages over 16 MiB";
        places.mistake("/ingest/body_max", why);
    }
    for (index, proxy) in given.trusted_proxies.iter().enumerate() {
        let address = proxy.split('/').next().unwrap_or_default();
        if address.parse::<IpAddr>().is_err() {
            let what = format!("{proxy:?} is not an address or a network, as 10.0.0.0/8");
            places.mistake(&format!("/ingest/trusted_proxies/{index}"), what);
        }
    }
    let tls = given.tls.as_ref().map(|tls| {
        let files = (beside(folder, &tls.certificate), beside(folder, &tls.key));
        for (key, path) in [("certificate", &files.0), ("key", &files.1)] {
            if !path.is_file() {
                let what = format!("the file {} is not there", path.display());
                places.mistake(&format!("/ingest/tls/{key}"), what);
            }
        }
        files
    });
    let listen = listen?;
    if !listen.ip().is_loopback() && tls.is_none() && given.trusted_proxies.is_empty() {
        places.mistake(
            "/ingest/listen",
            "off loopback it needs tls = { certificate, key }, or trusted_proxies that do the TLS",
        );
    }
    Some(IngestConfig {
        listen,
        tls,
        trusted_proxies: given.trusted_proxies.clone(),
        body_max: body_max?,
        connections_max: given.connections.unwrap_or(standard.connections_max),
    })
}
