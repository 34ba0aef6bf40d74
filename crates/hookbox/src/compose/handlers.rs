//! The handlers of this program, by the kinds that a config names. A program of the user's own adds
//! handlers of its own to those that come with hookbox.
//!
//! The handlers of the two databases have different types, because each borrows the connection of
//! its own database. So there is one list for each database, and the store of the config decides
//! which list a worker uses.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use anyhow::{Context, anyhow};
use hookbox_config::{
    Config, HandlerKind, HandlerKinds, HandlerSettings, RouteConfig, SettingsType, StoreUrl,
};
use hookbox_driver::Store;
use hookbox_driver_postgres::Postgres;
use hookbox_driver_sqlite::Sqlite;
use hookbox_event::RouteName;
use hookbox_handlers::sql::{self, Sql, SqlStore};
use hookbox_worker::{Handler, Registered, register};
use serde::de::DeserializeOwned;

use super::not_resolved::not_resolved;
use crate::exit::Unusable;

/// Why a handler could not be made from its settings.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The handlers of this program.
pub struct Registry {
    postgres: Vec<Kind<Postgres>>,
    sqlite: Vec<Kind<Sqlite>>,
    /// The first mistake in the program's own code.
    mistake: Option<String>,
}

/// A kind of handler for one store.
pub struct Kind<S: Store> {
    name: &'static str,
    settings: SettingsType,
    make: Make<S>,
}

/// Makes a handler from its settings. The path is the folder of the config file.
type Make<S> =
    Box<dyn Fn(&HandlerSettings, &Path) -> Result<Registered<S>, BoxError> + Send + Sync>;

/// The handlers that were made for routes, each by the name of its route.
pub type OfRoutes<S> = HashMap<RouteName, Registered<S>>;

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
        registry
    }

    /// Adds the handler that runs statements of a user's own.
    fn add_sql<S>(&mut self)
    where
        S: HandlerStore + SqlStore,
        Sql<S>: Handler<S>,
    {
        self.insert(Kind::<S> {
            name: sql::NAME,
            settings: SettingsType::of::<sql::Settings>(),
            make: Box::new(|settings, folder| {
                Ok(register(Sql::<S>::new(&settings.read()?, folder)?))
            }),
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
            make: Box::new(move |_, _| Ok(Registered::clone(&handler))),
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
            make: Box::new(move |settings, _| Ok(register::<S, H>(make(settings.read()?)?))),
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

    /// Returns the first mistake in the code with which the program adds its handlers.
    pub fn mistake(&self) -> Option<&str> {
        self.mistake.as_deref()
    }

    /// Returns the kinds, as the config is checked against them.
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
    let mut made = HashMap::new();
    let folder = config.path.parent().unwrap_or(Path::new("."));
    for route in routes(config, only) {
        let (name, handler) = (&route.name, &route.handler);
        let kind = kinds.iter().find(|kind| kind.name == handler.kind);
        let kind = kind.with_context(|| format!("there is no handler {:?}", handler.kind))?;
        let file = config.path.display();
        let handler = (kind.make)(&handler.settings, folder)
            .map_err(|error| anyhow!(error))
            .with_context(|| {
                let kind = &handler.kind;
                let what =
                    format!("{file}: the handler {kind:?} of the route {name} cannot be made");
                Unusable(what)
            })?;
        made.insert(name.clone(), handler);
    }
    Ok(made)
}

/// Returns the routes in `only`, or all routes if it is empty.
fn routes<'c>(config: &'c Config, only: &[RouteName]) -> impl Iterator<Item = &'c RouteConfig> {
    let is_wanted = |route: &&RouteConfig| only.is_empty() || only.contains(&route.name);
    config.routes.iter().filter(is_wanted)
}

/// Returns whether a name follows the rule of all names in the config.
fn is_name(name: &str) -> bool {
    name.parse::<RouteName>().is_ok()
}

#[cfg(test)]
mod tests;
