//! `hookbox check-config`: the effective config, with secrets hidden.

use std::path::Path;

use hookbox_config::{
    BrokerUrl, Config, IdentityConfig, Network, RouteConfig, SourceConfig, StoreUrl,
};
use hookbox_driver::{Clock as _, SystemClock};
use hookbox_event::Timestamp;
use hookbox_ingest::{EventType, Identity};
use hookbox_operations::render::terminal;
use hookbox_signature::{Algorithm, ConflictAction, Encoding, Scheme, last_end};
use serde_json::{Value, json};

use crate::command::print;
use crate::compose::Registry;
use crate::exit::{self, Exit, Unusable};
use crate::key_ends::{KeysEnd, assess};
use crate::{compose, tls};

/// Prints the effective config. Mistakes were already reported when the config was loaded. What
/// remains is to check whether the JSON Schemas compile, whether senders would trust the
/// certificate, whether the handlers can be made, and whether the routes match the topics of the
/// sources.
pub fn run(config: &Config, handlers: &Registry, as_json: bool) -> anyhow::Result<Exit> {
    let now = SystemClock.now();
    compose::schemas(config)?;
    tls::read(config, now)?;
    handlers.make(config, &[])?;
    let near = key_ends(config, now)?;
    sqlite_files(config)?;
    let mut warnings = config.warnings.clone();
    warnings.extend(near);
    warnings.extend(config.unmatched_topics());
    for warning in &warnings {
        print::note(&format!("warning: {warning}"));
    }
    let mut effective = effective(config);
    effective["warnings"] = json!(warnings);
    if as_json {
        print::text(&terminal::json(&format!("{effective}\n")))?;
    } else {
        let path = config.path.display();
        let effective = terminal::json(&format!("{effective:#}"));
        print::text(&format!(
            "{path} is valid. Effective values:\n{effective}\n"
        ))?;
    }
    Ok(exit::OK)
}

/// Returns an error for a source whose keys have all expired, and a warning for each source whose
/// last key expires soon.
fn key_ends(config: &Config, now: Timestamp) -> Result<Vec<String>, Unusable> {
    let mut near = Vec::new();
    let file = config.path.display();
    for source in &config.sources {
        match assess(source.name.as_str(), last_end(&source.keys), now) {
            Some(KeysEnd::Over(why)) => return Err(Unusable(format!("{file}: {why}"))),
            Some(KeysEnd::Near(what)) => near.push(format!("{file}: {what}")),
            None => {}
        }
    }
    Ok(near)
}

/// Returns an error for a SQLite file that `migrate` could not create.
fn sqlite_files(config: &Config) -> Result<(), Unusable> {
    for (key, path) in compose::sqlite_files(config) {
        let file = path.display();
        // The parent of a bare file name is an empty path, which stands for the current folder.
        let folder = Path::new(".").join(path.parent().unwrap_or(Path::new("")));
        let why = if path.is_dir() {
            format!("{file} is a folder; name a file in it")
        } else if !folder.is_dir() {
            format!("the folder of {file} does not exist; create it")
        } else {
            continue;
        };
        let config = config.path.display();
        return Err(Unusable(format!("{config}: {key}: {why}")));
    }
    Ok(())
}

fn effective(config: &Config) -> Value {
    json!({
        "environment": config.environment.as_str(),
        "identity_key": match &config.identity {
            IdentityConfig::Plain => json!("none: ids are plain digests"),
            IdentityConfig::Keyed(key) => json!({
                "key": "hidden",
                "fingerprint": key.fingerprint().to_string(),
            }),
            IdentityConfig::NotResolved => json!("not resolved"),
        },
        "store": match &config.store {
            StoreUrl::Postgres(_) => "postgres (URL hidden)".to_owned(),
            StoreUrl::Sqlite(path) => format!("sqlite:{}", path.display()),
            StoreUrl::NotResolved => "not resolved".to_owned(),
        },
        "store_network": network(config.store_network),
        "store_connections": config.store_connections,
        "store_connection_lifetime_ms": config.store_connection_lifetime.as_millis() as u64,
        "broker": match &config.broker {
            BrokerUrl::Amqp(_) => "rabbitmq (URL hidden)".to_owned(),
            BrokerUrl::Sqlite(path) => format!("sqlite:{}", path.display()),
            BrokerUrl::NotResolved => "not resolved".to_owned(),
        },
        "broker_network": network(config.broker_network),
        "management": config.management.as_ref().map(|_| "hidden"),
        "ingest": {
            "spool": config.ingest.spool.as_ref().map(|spool| {
                json!({
                    "file": spool.path.display().to_string(),
                    "bytes_max": spool.bytes_max,
                })
            }),
            "listen": config.ingest.listen.to_string(),
            "tls": config.ingest.tls.is_some(),
            "trusted_proxies": config.ingest.trusted_proxies,
            "plain_http_from": config.ingest.plain_http_from,
            "body_bytes_max": config.ingest.body_max,
            "bodies_bytes_max": config.ingest.bodies_max,
            "idle_ms": config.ingest.idle.as_millis() as u64,
            "connections_max": config.ingest.connections_max,
            "connections_per_address_max": config.ingest.connections_per_address_max,
            "waiting_max": config.ingest.waiting_max,
        },
        "metrics": config.metrics.map(|listen| listen.to_string()),
        "drain_ms": config.drain.as_millis() as u64,
        "drain_lead_ms": config.drain_lead.as_millis() as u64,
        "log": { "json": config.log.json, "filter": config.log.filter },
        "sources": config.sources.iter().map(source).collect::<Vec<_>>(),
        "routes": config.routes.iter().map(route).collect::<Vec<_>>(),
    })
}

/// Returns the value of a `network` setting as text.
fn network(network: Network) -> &'static str {
    match network {
        Network::Any => "any",
        Network::Private => "private",
    }
}

fn source(source: &SourceConfig) -> Value {
    let keys = source.keys.iter().map(|key| {
        let until = key.until().map(|until| until.to_string());
        json!({ "id": key.id(), "until": until, "secret": "hidden" })
    });
    let conflicts = source.on_conflict.iter().map(|rule| {
        let action = match rule.action {
            ConflictAction::DeadLetter => "dead_letter",
            ConflictAction::Process => "process",
            ConflictAction::Duplicate => "duplicate",
        };
        json!({ "topics": rule.topics.as_str(), "action": action })
    });
    json!({
        "name": source.name.as_str(),
        "path": format!("/hooks/{}", source.name),
        "scheme": scheme(&source.scheme),
        "secrets": keys.collect::<Vec<_>>(),
        "form": source.form,
        "signature_status": source.answer.signature_status,
        "topic": source.topic.as_ref().map(topic),
        "identity": identity(&source.identity),
        "on_conflict": conflicts.collect::<Vec<_>>(),
        "schemas": source.schemas,
    })
}

/// Returns where a source finds the event type, in the form of the config.
fn topic(topic: &EventType) -> Value {
    match topic {
        EventType::Body(pointer) => json!(pointer.to_string()),
        EventType::Header { name, pointer } => json!({
            "header": name.as_str(),
            "pointer": pointer.as_ref().map(ToString::to_string),
        }),
    }
}

fn identity(identity: &Identity) -> Value {
    match identity {
        Identity::Pointers(pointers) => {
            json!(pointers.iter().map(ToString::to_string).collect::<Vec<_>>())
        }
        Identity::SignedId => json!("the signed message id"),
        Identity::Body => json!("what the body says"),
        Identity::Delivery(name) => json!({ "header": name.as_str(), "with": "body" }),
    }
}

fn scheme(scheme: &Scheme) -> Value {
    match scheme {
        Scheme::Hmac(hmac) => json!({
            "name": "hmac",
            "header": hmac.header.as_str(),
            "algorithm": match hmac.algorithm {
                Algorithm::Sha256 => "sha256",
                Algorithm::Sha512 => "sha512",
            },
            "encoding": match hmac.encoding {
                Encoding::Hex => "hex",
                Encoding::HexAnyCase => "hex-any-case",
                Encoding::Base64 => "base64",
            },
            "prefix": hmac.prefix,
            "timestamp": hmac.timestamp.as_ref().map(|rule| json!({
                "header": rule.header.as_str(),
                "separator": rule.separator,
                "tolerance_ms": rule.tolerance.as_millis() as u64,
            })),
        }),
        Scheme::StandardWebhooks { tolerance } => json!({
            "name": "standard-webhooks",
            "tolerance_ms": tolerance.as_millis() as u64,
        }),
    }
}

fn route(route: &RouteConfig) -> Value {
    let mut shown = json!({
        "name": route.name.as_str(),
        "topics": route.topics.iter().map(|topic| topic.as_str()).collect::<Vec<_>>(),
        "handler": route.handler.kind,
        "retry": {
            "attempts": route.retry.attempts(),
            "first_ms": route.delays.first.as_millis() as u64,
            "factor": route.delays.factor,
            "max_ms": route.delays.max.as_millis() as u64,
            "jitter": route.delays.jitter,
        },
        "handler_time_limit_ms": route.handler_time_limit.as_millis() as u64,
        "concurrency": route.concurrency,
        "prefetch": route.prefetch,
    });
    if !route.conditions.is_empty() {
        let conditions = route.conditions.iter().map(ToString::to_string);
        shown["where"] = conditions.collect();
    }
    if let Some(newest) = &route.newest {
        shown["newest"] = json!({
            "key": newest.key.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "version": newest.version.to_string(),
            "type": newest.kind.as_str(),
        });
    }
    // The settings of a handler are shown as they are written, because they contain references to
    // secrets, and not the secrets themselves.
    if !route.handler.settings.is_empty() {
        shown["handler_settings"] = json!(route.handler.settings.as_json());
    }
    shown
}
