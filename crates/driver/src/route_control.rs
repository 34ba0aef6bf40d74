//! What operators set for routes while workers run: pauses and limits. This file contains the rules
//! for how a change applies, so that all stores apply it in the same way.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use hookbox_event::{RouteName, Timestamp};
use serde::{Serialize, Serializer};

use crate::EventRate;

/// The text that stands for all routes. It is not a valid name of a route.
const ALL: &str = "*";

/// The routes that a change of an operator applies to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteScope {
    /// All routes, including those that are configured later.
    All,
    /// Only this route.
    One(RouteName),
}

/// What operators have set for one route, or for all routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteControl {
    /// The routes that this applies to.
    pub scope: RouteScope,
    /// The pause; `None` when these routes are not paused.
    pub pause: Option<RoutePause>,
    /// When the last pause ended; `None` when there was none.
    pub resumed_at: Option<Timestamp>,
    /// The limits that apply instead of those in the config.
    pub limits: RouteLimits,
}

/// A pause by an operator: workers take no messages of the route, and publish no retries of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoutePause {
    /// The operator who paused the route.
    pub by: String,
    /// The operator's reason.
    pub why: String,
    /// When the pause began.
    pub since: Timestamp,
}

/// The limits that an operator has set for a route. Each applies to every worker process by itself,
/// as the limits in the config do, because workers do not know of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteLimits {
    /// How many events of the route a worker process takes in a second, in the long run. `None` for
    /// no limit.
    pub rate_per_worker: Option<EventRate>,
    /// How many transactions of the route a worker process runs at once. `None` for the number in
    /// the config. A higher limit than that number has no effect.
    pub concurrency_per_worker: Option<NonZeroU32>,
}

/// A change that an operator makes to a route while workers run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteChange {
    /// Pauses the route.
    Pause {
        /// The reason, for the audit and for all who find the route paused.
        why: String,
    },
    /// Ends the pause.
    Resume {
        /// The reason, for the audit, if there is one.
        why: Option<String>,
    },
    /// Sets limits.
    Limit {
        /// The reason, for the audit, if there is one.
        why: Option<String>,
        /// The change of the rate.
        rate: LimitChange<EventRate>,
        /// The change of the number of transactions at once.
        concurrency: LimitChange<NonZeroU32>,
    },
}

/// A change of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitChange<T> {
    /// The limit stays as it is.
    Keep,
    /// The limit gets this value.
    Set(T),
    /// The limit is removed, and the config decides.
    Clear,
}

/// What operators have set for all routes of a store. Rows are ordered by their scope: the row of
/// all routes is the first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteControls(Vec<RouteControl>);

impl RouteScope {
    /// Returns the text that a store keeps: the name of the route, or `*` for all routes.
    pub fn as_str(&self) -> &str {
        match self {
            RouteScope::All => ALL,
            RouteScope::One(route) => route.as_str(),
        }
    }

    /// Returns whether the scope includes a route.
    pub fn includes(&self, route: &RouteName) -> bool {
        match self {
            RouteScope::All => true,
            RouteScope::One(one) => one == route,
        }
    }
}

impl FromStr for RouteScope {
    type Err = <RouteName as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == ALL {
            return Ok(RouteScope::All);
        }
        text.parse().map(RouteScope::One)
    }
}

impl fmt::Display for RouteScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteScope::All => f.write_str("all routes"),
            RouteScope::One(route) => write!(f, "route {route}"),
        }
    }
}

impl Serialize for RouteScope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl RouteChange {
    /// Returns the name of this change in the audit.
    pub const fn action(&self) -> &'static str {
        match self {
            RouteChange::Pause { .. } => "routes.pause",
            RouteChange::Resume { .. } => "routes.resume",
            RouteChange::Limit { .. } => "routes.set",
        }
    }
}

impl<T: Copy> LimitChange<T> {
    fn of(self, before: Option<T>) -> Option<T> {
        match self {
            LimitChange::Keep => before,
            LimitChange::Set(limit) => Some(limit),
            LimitChange::Clear => None,
        }
    }
}

impl fmt::Display for RouteLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rate_per_worker {
            Some(rate) => write!(f, "rate {rate} for each worker")?,
            None => f.write_str("no rate limit")?,
        }
        match self.concurrency_per_worker {
            Some(concurrency) => write!(f, ", concurrency {concurrency} for each worker"),
            None => f.write_str(", concurrency as in the config"),
        }
    }
}

impl RouteControl {
    /// Returns the control of these routes when operators have set nothing for them.
    pub fn none(scope: RouteScope) -> Self {
        Self {
            scope,
            pause: None,
            resumed_at: None,
            limits: RouteLimits::default(),
        }
    }

    /// Returns the control after a change; `None` when the change alters nothing. This is so for a
    /// pause of routes that are paused (the first reason stands), for a resume of routes that are
    /// not paused, and for limits that are set already.
    #[must_use]
    pub fn after(&self, change: &RouteChange, by: &str, now: Timestamp) -> Option<Self> {
        let mut next = self.clone();
        match change {
            RouteChange::Pause { .. } if self.pause.is_some() => {}
            RouteChange::Pause { why } => {
                next.pause = Some(RoutePause {
                    by: by.to_owned(),
                    why: why.clone(),
                    since: now,
                });
            }
            RouteChange::Resume { .. } => {
                if next.pause.take().is_some() {
                    next.resumed_at = Some(now);
                }
            }
            RouteChange::Limit { .. } => next.limits = self.limits_after(change),
        }
        (next != *self).then_some(next)
    }

    /// Returns whether a change would alter anything.
    pub fn would_change(&self, change: &RouteChange) -> bool {
        // The operator and the time do not decide whether a change alters anything.
        let any_moment = Timestamp::from_unix_micros(0);
        self.after(change, "", any_moment).is_some()
    }

    /// Returns the limits after a change.
    pub fn limits_after(&self, change: &RouteChange) -> RouteLimits {
        match change {
            RouteChange::Pause { .. } | RouteChange::Resume { .. } => self.limits,
            RouteChange::Limit {
                rate, concurrency, ..
            } => RouteLimits {
                rate_per_worker: rate.of(self.limits.rate_per_worker),
                concurrency_per_worker: concurrency.of(self.limits.concurrency_per_worker),
            },
        }
    }

    /// Returns the subject of the audit row for a change that has led to this control.
    pub fn subject(&self, change: &RouteChange) -> String {
        match change {
            RouteChange::Pause { why } | RouteChange::Resume { why: Some(why) } => {
                format!("{}: {why}", self.scope)
            }
            RouteChange::Resume { why: None } => self.scope.to_string(),
            RouteChange::Limit { why, .. } => {
                let why = why.as_ref().map(|why| format!(" ({why})"));
                format!("{}: {}{}", self.scope, self.limits, why.unwrap_or_default())
            }
        }
    }
}

impl RouteControls {
    /// Creates the controls from the rows of a store, in any order.
    pub fn new(mut rows: Vec<RouteControl>) -> Self {
        rows.sort_by(|one, other| one.scope.cmp(&other.scope));
        Self(rows)
    }

    /// Returns the rows in the order of their scopes.
    pub fn rows(&self) -> &[RouteControl] {
        &self.0
    }

    /// Returns what is set for exactly this scope, without what is set for a wider or narrower one.
    pub fn row(&self, scope: &RouteScope) -> RouteControl {
        let row = self.0.iter().find(|row| row.scope == *scope).cloned();
        row.unwrap_or_else(|| RouteControl::none(scope.clone()))
    }

    /// Returns the rows after a change, for a store that keeps its rows in memory. `None` when the
    /// change alters nothing.
    #[must_use]
    pub fn with(
        &self,
        scope: &RouteScope,
        change: &RouteChange,
        by: &str,
        now: Timestamp,
    ) -> Option<Self> {
        let of_others = self.0.iter().filter(|row| row.scope != *scope).cloned();
        let next = self.row(scope).after(change, by, now)?;
        Some(Self::new(of_others.chain([next]).collect()))
    }

    /// Returns the pause that applies to a route, with its scope: the pause of this route, or else
    /// that of all routes.
    pub fn pause_of(&self, route: &RouteName) -> Option<(&RouteScope, &RoutePause)> {
        let of_route = self.0.iter().rev().filter(|row| row.scope.includes(route));
        let mut pauses = of_route.filter_map(|row| Some((&row.scope, row.pause.as_ref()?)));
        pauses.next()
    }

    /// Returns whether a route is paused.
    pub fn is_paused(&self, route: &RouteName) -> bool {
        self.pause_of(route).is_some()
    }

    /// Returns the limits of a route.
    pub fn limits_of(&self, route: &RouteName) -> RouteLimits {
        self.row(&RouteScope::One(route.clone())).limits
    }
}

#[cfg(test)]
mod tests;
