//! The structs for the config file, with the structure that `schemas/config.json` describes. Values
//! are still unparsed text.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub environment: String,
    pub store: Store,
    pub broker: Broker,
    #[serde(default)]
    pub ingest: Ingest,
    #[serde(default)]
    pub worker: Worker,
    pub metrics: Option<Metrics>,
    pub drain: Option<String>,
    #[serde(default)]
    pub log: Log,
    pub source: Vec<Source>,
    #[serde(default)]
    pub route: Vec<Route>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    pub url: Url,
    pub network: Option<String>,
    pub connections: Option<u32>,
    pub connection_lifetime: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    pub url: Url,
    pub network: Option<String>,
    pub management: Option<Url>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub enum Url {
    Literal(String),
    Reference(Reference),
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    pub env: Option<String>,
    pub file: Option<String>,
    pub mode: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    pub listen: Option<String>,
    pub tls: Option<Tls>,
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
    #[serde(default)]
    pub plain_http_from: Vec<String>,
    pub body_max: Option<String>,
    pub bodies_max: Option<String>,
    pub idle: Option<String>,
    pub connections: Option<usize>,
    pub connections_per_address: Option<usize>,
    pub waiting: Option<usize>,
    pub drain_lead: Option<String>,
    pub spool: Option<String>,
    pub spool_max: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    pub certificate: String,
    pub key: String,
    pub mode: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    pub concurrency: Option<usize>,
    pub prefetch: Option<u16>,
    pub handler_time_limit: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    pub listen: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub format: Option<String>,
    pub filter: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub name: String,
    pub preset: Option<String>,
    pub scheme: Option<String>,
    pub header: Option<String>,
    pub algorithm: Option<String>,
    pub encoding: Option<String>,
    pub prefix: Option<String>,
    pub timestamp: Option<Timestamp>,
    pub tolerance: Option<String>,
    pub secrets: Vec<Secret>,
    pub secrets_made_by: Option<String>,
    pub form: Option<String>,
    #[serde(default)]
    pub answer: Answer,
    pub topic: Option<Topic>,
    pub identity: Option<Identity>,
    pub on_conflict: Option<OnConflict>,
    pub schemas: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timestamp {
    pub header: String,
    pub separator: Option<String>,
    pub tolerance: Option<String>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    pub id: String,
    pub env: Option<String>,
    pub file: Option<String>,
    pub mode: Option<String>,
    pub until: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub enum Topic {
    Pointer(String),
    Header(TopicHeader),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicHeader {
    pub header: String,
    pub pointer: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub enum Identity {
    Word(Word),
    Pointers(Vec<String>),
    Header(IdentityHeader),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityHeader {
    pub header: String,
    #[serde(rename = "with")]
    pub _with: Word,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    Body,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub signature_status: Option<u16>,
    pub signature_detail: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub enum OnConflict {
    All(String),
    Rules(Vec<ConflictRule>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConflictRule {
    pub topics: Vec<String>,
    pub action: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub name: String,
    pub topics: Vec<String>,
    pub handler: Option<Handler>,
    pub retry: Option<Retry>,
    pub concurrency: Option<usize>,
    pub prefetch: Option<u16>,
    pub handler_time_limit: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handler {
    pub kind: String,
}

#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// The number of attempts. The type allows any integer, so that the check can say why an
    /// impossible number is refused.
    pub attempts: Option<i64>,
    pub first: Option<String>,
    pub factor: Option<f64>,
    pub max: Option<String>,
    pub jitter: Option<f64>,
}
