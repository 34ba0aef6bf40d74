//! The settings of the handler `sql`, as they are written in the config.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hookbox_event::Pointer;
use serde::Deserialize;

use super::parameter::Kind;

/// The settings of the handler `sql`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The statements to run for each event.
    pub statements: Statements,
    /// The parameters of the statements that come from the body, by name. Those that come from the
    /// event itself (`:event_id`, `:body` and others) need no setting.
    #[serde(default)]
    pub parameters: BTreeMap<String, Parameter>,
    /// Whether the statements run once for all events of a batch. Then each parameter is an array
    /// with a value for each event: an array of PostgreSQL, or the text of a JSON array on SQLite.
    #[serde(default)]
    pub batch: bool,
    /// Whether the statements may run again for an event that is done, when an operator replays it.
    /// They must then replace what they wrote before (`on conflict … do update`).
    #[serde(default)]
    pub repeatable: bool,
    /// The role under which the statements run, only on PostgreSQL. hookbox's own role must be a
    /// member of it.
    pub role: Option<String>,
    /// What follows from an error of a statement, by its code.
    #[serde(default)]
    pub errors: Classes,
}

/// Where the text of the statements is: exactly one of the two keys is set.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statements {
    /// The file with the text. A relative path is relative to the folder of the config file.
    pub file: Option<PathBuf>,
    /// The text of the statements.
    pub text: Option<String>,
}

/// A parameter that comes from the body.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// The JSON Pointer to the value of the parameter.
    pub pointer: Pointer,
    /// The type of the value. A body with a value of another type is a permanent failure.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Whether a body in which the value is absent or null is a permanent failure. If not, the
    /// parameter is null. A pointer with a mistake finds no value in any body. So the default is
    /// true: the settings must say if a value may be absent.
    #[serde(default = "required")]
    pub required: bool,
}

/// The default of [`Parameter::required`].
fn required() -> bool {
    true
}

/// Codes of errors, each with what follows from the error. On PostgreSQL a code is an SQLSTATE
/// (`23505`) or a class of them (`23`), on SQLite a result code (`2067`) or a primary one (`19`).
/// They are added to the codes that hookbox knows. For a code that hookbox knows too, the settings
/// decide.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classes {
    /// The event is a dead letter at once.
    #[serde(default)]
    pub permanent: Vec<String>,
    /// The event is tried again, as often as the retry policy says.
    #[serde(default)]
    pub transient: Vec<String>,
    /// The event is deferred, which costs no attempt, and the route pauses if this happens to
    /// several events in a row.
    #[serde(default)]
    pub pause: Vec<String>,
}
