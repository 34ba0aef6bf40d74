//! The handlers and effects of this program, by the kinds that a config names. A user's program
//! adds its own handlers and effects to those that come with hookbox.
//!
//! The handlers of the two databases have different types, because each borrows the connection of
//! its own database. So there is one list for each database, and the store of the config decides
//! which list a worker uses. An effect is in both lists, because it sees no database.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use hookbox_config::{
    Config, HandlerKind, HandlerKinds, HandlerSettings, RouteConfig, SettingsType, StoreUrl,
};
use hookbox_driver::Store;
use hookbox_driver_postgres::Postgres;
use hookbox_driver_sqlite::Sqlite;
use hookbox_event::RouteName;
use hookbox_handlers::sql::{self, Sql, SqlStore};
use hookbox_worker::{
    Effect, Handler, Registered, RegisteredEffect, RouteWork, register, register_effect,
};
use serde::de::DeserializeOwned;

use super::effects;
use super::make_context::{BoxError, MakeContext};
use super::not_resolved::not_resolved;
use super::target_rates::TargetRates;
use crate::exit::Unusable;

/// The handlers and effects of this program.
pub struct Registry {
    postgres: Vec<Kind<Postgres>>,
    sqlite: Vec<Kind<Sqlite>>,
    /// The first mistake in the code with which the program adds its handlers and effects.
    mistake: Option<String>,
}

/// A kind of handler or effect, for one of the two stores.
pub struct Kind<S: Store> {
    name: &'static str,
    settings: SettingsType,
    /// Whether it is an effect, which makes external calls.
    is_effect: bool,
    make: Make<S>,
    /// Returns whether the handler is repeatable, without making the handler, which would read its
    /// secrets. `None` if the handler must be made to find out.
    is_repeatable: Option<IsRepeatable>,
}

/// Makes a handler or an effect from its settings.
type Make<S> =
    Box<dyn Fn(&HandlerSettings, &MakeContext<'_>) -> Result<RouteWork<S>, BoxError> + Send + Sync>;

/// Returns whether the handler that has these settings may handle an event again.
type IsRepeatable = Box<dyn Fn(&HandlerSettings) -> Result<bool, BoxError> + Send + Sync>;

/// The handlers and effects that were made for routes, each by the name of its route.
pub type OfRoutes<S> = HashMap<RouteName, RouteWork<S>>;

/// The handlers that were made for the routes of a worker.
pub enum RouteHandlers {
    /// Handlers that write to PostgreSQL.
    Postgres(OfRoutes<Postgres>),
    /// Handlers that write to SQLite.
    Sqlite(OfRoutes<Sqlite>),
}

/// A store that a handler can be written for: [`Postgres`] or [`Sqlite`]. No other type implements
/// this trait.
pub trait HandlerStore: Store + Sized {
    /// The name of the database, for messages.
    #[doc(hidden)]
    const DATABASE: &'static str;

    /// Returns the kinds of handlers for this store.
    #[doc(hidden)]
    fn kinds(registry: &mut Registry) -> &mut Vec<Kind<Self>>;
}

impl HandlerStore for Postgres {
    const DATABASE: &'static str = "PostgreSQL";

    fn kinds(registry: &mut Registry) -> &mut Vec<Kind<Self>> {
        &mut registry.postgres
    }
}

impl HandlerStore for Sqlite {
    const DATABASE: &'static str = "SQLite";

    fn kinds(registry: &mut Registry) -> &mut Vec<Kind<Self>> {
        &mut registry.sqlite
    }
}

impl RouteHandlers {
    /// Returns whether the handler of a route may handle an event a second time; `None` if no
    /// handler was made for the route.
    fn is_repeatable(&self, route: &RouteName) -> Option<bool> {
        match self {
            Self::Postgres(made) => made.get(route).map(|handler| handler.is_repeatable()),
            Self::Sqlite(made) => made.get(route).map(|handler| handler.is_repeatable()),
        }
    }
}

impl Registry {
    /// Returns the handlers that come with hookbox.
    pub fn built_in() -> Self {
        let mut registry = Self {
            postgres: Vec::new(),
            sqlite: Vec::new(),
            mistake: None,
        };
        for handler in hookbox_handlers::built_in::<Postgres>() {
            registry.add_shared(handler);
        }
        for handler in hookbox_handlers::built_in::<Sqlite>() {
            registry.add_shared(handler);
        }
        registry.add_sql::<Postgres>();
        registry.add_sql::<Sqlite>();
        registry.add_built_in_effect(effects::forward, |settings| settings.repeatable);
        registry.add_built_in_effect(effects::publish, |settings| settings.repeatable);
        registry
    }

    /// Adds an effect that comes with hookbox.
    fn add_built_in_effect<E: Effect, T: DeserializeOwned + 'static>(
        &mut self,
        make: fn(&T, &MakeContext<'_>) -> Result<E, BoxError>,
        is_repeatable: fn(&T) -> bool,
    ) {
        self.insert_built_in_effect::<Postgres, E, T>(make, is_repeatable);
        self.insert_built_in_effect::<Sqlite, E, T>(make, is_repeatable);
    }

    fn insert_built_in_effect<S: HandlerStore, E: Effect, T: DeserializeOwned + 'static>(
        &mut self,
        make: fn(&T, &MakeContext<'_>) -> Result<E, BoxError>,
        is_repeatable: fn(&T) -> bool,
    ) {
        self.insert(Kind::<S> {
            name: E::NAME,
            settings: SettingsType::of::<T>(),
            is_effect: true,
            make: Box::new(move |settings, with| {
                let effect = make(&settings.read()?, with)?;
                Ok(register_effect(effect).into())
            }),
            is_repeatable: Some(Box::new(move |settings| {
                Ok(is_repeatable(&settings.read()?))
            })),
        });
    }

    /// Adds the handler `sql`, which runs statements that a user writes.
    fn add_sql<S>(&mut self)
    where
        S: HandlerStore + SqlStore,
        Sql<S>: Handler<S>,
    {
        self.insert(Kind::<S> {
            name: sql::NAME,
            settings: SettingsType::of::<sql::Settings>(),
            is_effect: false,
            make: Box::new(|settings, with| {
                let handler = Sql::<S>::new(&settings.read()?, with.folder)?;
                Ok(register(handler).into())
            }),
            is_repeatable: None,
        });
    }

    /// Adds a handler without settings. All routes that name its kind share it.
    pub fn add<S: HandlerStore, H: Handler<S>>(&mut self, handler: H) {
        self.add_shared(register::<S, H>(handler));
    }

    fn add_shared<S: HandlerStore>(&mut self, handler: Registered<S>) {
        self.insert(Kind {
            name: handler.name(),
            settings: SettingsType::NONE,
            is_effect: false,
            make: Box::new(move |_, _| Ok(Registered::clone(&handler).into())),
            is_repeatable: None,
        });
    }

    /// Adds a handler that `make` makes from its settings, once for each route that names its kind.
    pub fn add_with<S, H, T>(
        &mut self,
        make: impl Fn(T) -> Result<H, BoxError> + Send + Sync + 'static,
    ) where
        S: HandlerStore,
        H: Handler<S>,
        T: DeserializeOwned,
    {
        self.insert(Kind {
            name: H::NAME,
            settings: SettingsType::of::<T>(),
            is_effect: false,
            make: Box::new(move |settings, _| Ok(register::<S, H>(make(settings.read()?)?).into())),
            is_repeatable: None,
        });
    }

    /// Adds an effect without settings. All routes that name its kind share it.
    pub fn add_effect<E: Effect>(&mut self, effect: E) {
        let effect = register_effect(effect);
        self.insert_effect::<Postgres>(&effect);
        self.insert_effect::<Sqlite>(&effect);
    }

    fn insert_effect<S: HandlerStore>(&mut self, effect: &RegisteredEffect) {
        let effect = RegisteredEffect::clone(effect);
        self.insert(Kind::<S> {
            name: effect.name(),
            settings: SettingsType::NONE,
            is_effect: true,
            make: Box::new(move |_, _| Ok(RegisteredEffect::clone(&effect).into())),
            is_repeatable: None,
        });
    }

    /// Adds an effect that `make` makes from its settings, once for each route that names its kind.
    pub fn add_effect_with<E, T>(
        &mut self,
        make: impl Fn(T) -> Result<E, BoxError> + Send + Sync + 'static,
    ) where
        E: Effect,
        T: DeserializeOwned,
    {
        let make = Arc::new(make);
        self.insert_effect_with::<Postgres, E, T>(Arc::clone(&make));
        self.insert_effect_with::<Sqlite, E, T>(make);
    }

    fn insert_effect_with<S, E, T>(
        &mut self,
        make: Arc<impl Fn(T) -> Result<E, BoxError> + Send + Sync + 'static>,
    ) where
        S: HandlerStore,
        E: Effect,
        T: DeserializeOwned,
    {
        self.insert(Kind::<S> {
            name: E::NAME,
            settings: SettingsType::of::<T>(),
            is_effect: true,
            make: Box::new(move |settings, _| Ok(register_effect(make(settings.read()?)?).into())),
            is_repeatable: None,
        });
    }

    fn insert<S: HandlerStore>(&mut self, kind: Kind<S>) {
        let name = kind.name;
        let kinds = S::kinds(self);
        let mistake = if !is_name(name) {
            Some(format!(
                "a handler of this program has the NAME {name:?}; a NAME has 1 to 63 characters of \
                 a-z, 0-9, '-' and '_', and starts with a letter or digit"
            ))
        } else if kinds.iter().any(|other| other.name == name) {
            let database = S::DATABASE;
            Some(format!(
                "two handlers of this program for {database} have the NAME {name:?}; give one of \
                 them another NAME"
            ))
        } else {
            kinds.push(kind);
            None
        };
        self.mistake = self.mistake.take().or(mistake);
    }

    /// Returns the first mistake in the code with which the program adds its handlers and effects.
    pub fn mistake(&self) -> Option<&str> {
        self.mistake.as_deref()
    }

    /// Returns the kinds of this program, against which a config is checked.
    pub fn kinds(&self) -> HandlerKinds {
        fn settings<S: Store>(of: &[Kind<S>], name: &str) -> Option<SettingsType> {
            let kind = of.iter().find(|kind| kind.name == name);
            kind.map(|kind| kind.settings)
        }
        let postgres = self.postgres.iter().map(|kind| kind.name);
        let sqlite = self.sqlite.iter().map(|kind| kind.name);
        let mut names: Vec<&'static str> = Vec::new();
        for name in postgres.chain(sqlite) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let kinds = names.into_iter().map(|name| HandlerKind {
            name,
            postgres: settings(&self.postgres, name),
            sqlite: settings(&self.sqlite, name),
        });
        HandlerKinds::new(kinds.collect())
    }

    /// Returns whether a route makes external calls.
    pub fn is_effect(&self, route: &RouteConfig) -> bool {
        let kind = self.kind_of(route);
        kind.is_some_and(|kind| kind.is_effect)
    }

    /// Returns the kind of a route's handler among those for SQLite. Every effect is for both
    /// databases, so it is enough to search one of the lists.
    fn kind_of(&self, route: &RouteConfig) -> Option<&Kind<Sqlite>> {
        let mut kinds = self.sqlite.iter();
        kinds.find(|kind| kind.name == route.handler.kind)
    }

    /// Returns whether the handler of a route may handle an event a second time.
    pub fn is_repeatable(&self, config: &Config, route: &RouteConfig) -> anyhow::Result<bool> {
        // Only effects have `is_repeatable`.
        let kind = self.kind_of(route);
        if let Some(says) = kind.and_then(|kind| kind.is_repeatable.as_ref()) {
            return says(&route.handler.settings).map_err(|error| anyhow!(error));
        }
        let made = self.make(config, std::slice::from_ref(&route.name))?;
        let is_repeatable = made.is_repeatable(&route.name);
        is_repeatable.with_context(|| format!("no handler was made for route {}", route.name))
    }

    /// Makes the handlers of the routes in `only`, or of all routes if it is empty.
    pub fn make(&self, config: &Config, only: &[RouteName]) -> anyhow::Result<RouteHandlers> {
        match &config.store {
            StoreUrl::Postgres(_) => {
                let made = made(&self.postgres, config, only)?;
                Ok(RouteHandlers::Postgres(made))
            }
            StoreUrl::Sqlite(_) => Ok(RouteHandlers::Sqlite(made(&self.sqlite, config, only)?)),
            StoreUrl::NotResolved => Err(not_resolved("the store").into()),
        }
    }
}

fn made<S: Store>(
    kinds: &[Kind<S>],
    config: &Config,
    only: &[RouteName],
) -> anyhow::Result<OfRoutes<S>> {
    let (mut made, mut rates) = (HashMap::new(), TargetRates::default());
    let with = MakeContext::of(config);
    for route in routes(config, only) {
        let (name, handler) = (&route.name, &route.handler);
        let kind = kinds.iter().find(|kind| kind.name == handler.kind);
        let kind = kind.with_context(|| format!("there is no handler {:?}", handler.kind))?;
        let handler = (kind.make)(&handler.settings, &with)
            .map_err(|error| anyhow!(error))
            .with_context(|| {
                let kind = &handler.kind;
                let what = format!("the handler {kind:?} of the route {name} cannot be made");
                Unusable(config.at_handler(name, &what))
            })?;
        match &handler {
            RouteWork::Handler(_) => {}
            RouteWork::Effect(effect) => {
                let added = rates.add(name, effect);
                added.map_err(|error| Unusable(config.at_handler(name, &error.to_string())))?;
            }
        }
        made.insert(name.clone(), handler);
    }
    Ok(made)
}

/// Returns the routes in `only`, or all routes if it is empty.
fn routes<'c>(config: &'c Config, only: &[RouteName]) -> impl Iterator<Item = &'c RouteConfig> {
    let is_wanted = |route: &&RouteConfig| only.is_empty() || only.contains(&route.name);
    config.routes.iter().filter(is_wanted)
}

/// Returns whether a name has the form that all names in the config have.
fn is_name(name: &str) -> bool {
    name.parse::<RouteName>().is_ok()
}

#[cfg(test)]
mod tests;
