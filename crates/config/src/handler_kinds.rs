//! The kinds of handlers that the program has: `handler = { kind = "…" }` of a route names one.
//!
//! A program that uses hookbox as a library may add kinds to those that come with hookbox. So the
//! config is checked against the list of kinds that the program passes.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::handler_settings::HandlerSettings;
use super::place::Places;
use super::server::StoreUrl;
use super::wrong_settings::WrongSettings;

/// The kinds that come with hookbox.
pub const BUILT_IN: [&str; 5] = ["record", "begini", "sql", "forward", "publish"];

/// The kinds in [`BUILT_IN`] whose handlers have no settings.
const WITHOUT_SETTINGS: [&str; 2] = ["record", "begini"];

/// The JSON Pointer to the handler of a route in the schema of the config.
const HANDLER_SCHEMA: &str = "/properties/route/items/properties/handler";

/// The kinds of handlers that a program has.
#[derive(Clone)]
pub struct HandlerKinds(Arc<[HandlerKind]>);

/// One kind of handler.
pub struct HandlerKind {
    /// The name of the kind.
    pub name: &'static str,
    /// The type of the settings for PostgreSQL; `None` if the handler cannot write to PostgreSQL.
    pub postgres: Option<SettingsType>,
    /// The type of the settings for SQLite; `None` if the handler cannot write to SQLite.
    pub sqlite: Option<SettingsType>,
}

/// The type of a handler's settings.
#[derive(Clone, Copy)]
pub struct SettingsType(Option<CheckSettings>);

/// Checks whether settings can be deserialized into the handler's own type.
type CheckSettings = fn(&HandlerSettings) -> Result<(), WrongSettings>;

/// The handler of a route.
#[derive(Clone)]
pub struct HandlerConfig {
    /// The kind of the handler.
    pub kind: String,
    /// The settings of the handler. They are checked only if the URL of the store was resolved.
    pub settings: HandlerSettings,
}

impl SettingsType {
    /// For a handler that has no settings.
    pub const NONE: Self = Self(None);

    /// For a handler whose settings have a type that is not known here. They are checked when the
    /// handler is made.
    const UNKNOWN: Self = Self(Some(|_| Ok(())));

    /// Returns the type of settings that are deserialized into `T`.
    pub fn of<T: DeserializeOwned>() -> Self {
        Self(Some(|settings| settings.read::<T>().map(drop)))
    }
}

impl HandlerKind {
    fn has_settings(&self) -> bool {
        let types = [self.postgres, self.sqlite].into_iter().flatten();
        types.into_iter().any(|SettingsType(check)| check.is_some())
    }
}

impl HandlerKinds {
    /// Creates the list of the kinds that a program has.
    pub fn new(kinds: Vec<HandlerKind>) -> Self {
        Self(kinds.into())
    }

    /// Returns the kinds that come with hookbox. The settings of their handlers are not checked.
    pub fn built_in() -> Self {
        let kind = |name| {
            let settings = if WITHOUT_SETTINGS.contains(&name) {
                SettingsType::NONE
            } else {
                SettingsType::UNKNOWN
            };
            HandlerKind {
                name,
                postgres: Some(settings),
                sqlite: Some(settings),
            }
        };
        Self::new(BUILT_IN.map(kind).into())
    }

    /// Returns the names of all kinds.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|kind| kind.name)
    }

    fn get(&self, name: &str) -> Option<&HandlerKind> {
        self.0.iter().find(|kind| kind.name == name)
    }

    /// Replaces the list of allowed kinds in the schema of the config by the kinds of this program.
    pub(super) fn list_in(&self, schema: &mut Value) {
        let kinds = format!("{HANDLER_SCHEMA}/properties/kind/enum");
        if let Some(kinds) = schema.pointer_mut(&kinds) {
            *kinds = self.names().map(Value::from).collect();
        }
    }

    /// Removes the settings of all routes' handlers from the config, because its schema does not
    /// know them. Returns them with the index of their route. If the kind of a handler has no
    /// settings, its keys stay in the config, so that the schema refuses them. If the program does
    /// not have the kind, only the kind is refused, because nothing is known about its keys.
    pub(super) fn take_settings(&self, config: &mut Value) -> Vec<(usize, HandlerSettings)> {
        let routes = config.get_mut("route").and_then(Value::as_array_mut);
        let routes = routes.into_iter().flatten().enumerate();
        let taken = routes.filter_map(|(index, route)| {
            let handler = route.get_mut("handler")?.as_object_mut()?;
            let kind = self.get(handler.get("kind")?.as_str()?);
            if kind.is_some_and(|kind| !kind.has_settings()) {
                return None;
            }
            let all = std::mem::take(handler).into_iter();
            let (kind, settings): (Map<_, _>, Map<_, _>) = all.partition(|(key, _)| key == "kind");
            *handler = kind;
            Some((index, HandlerSettings::new(settings)))
        });
        taken.collect()
    }

    /// Checks that the handler of a route can write to the store, and that the handler accepts its
    /// settings. `at` is the JSON Pointer to the handler. If the URL of the store is not resolved,
    /// the command runs no handler, and nothing is checked.
    pub(super) fn check(
        &self,
        at: &str,
        handler: &HandlerConfig,
        store: Option<&StoreUrl>,
        places: &mut Places,
    ) {
        // The config schema has already refused a kind that the program does not have.
        let Some(kind) = self.get(&handler.kind) else {
            return;
        };
        let (settings, store) = match store {
            Some(StoreUrl::Postgres(_)) => (kind.postgres, "PostgreSQL"),
            Some(StoreUrl::Sqlite(_)) => (kind.sqlite, "SQLite"),
            Some(StoreUrl::NotResolved) | None => return,
        };
        let Some(SettingsType(check)) = settings else {
            let what = format!(
                "the handler {:?} of this program cannot write to {store}, which is the store of \
                 this config",
                kind.name
            );
            places.mistake(&format!("{at}/kind"), what);
            return;
        };
        let checked = match check {
            Some(check) => check(&handler.settings),
            None => handler.settings.read::<NoSettings>().map(drop),
        };
        for wrong in checked
            .as_ref()
            .err()
            .into_iter()
            .flat_map(WrongSettings::iter)
        {
            places.mistake(&format!("{at}{}", wrong.at), wrong.what.as_str());
        }
    }
}

/// The settings type of a handler without settings. It has no field, so every key is refused.
#[derive(serde::Deserialize)]
struct NoSettings {}
