//! The pause of a route by an operator, as reports show it.

use hookbox_driver::{RouteControls, RoutePause, RouteScope};
use hookbox_event::RouteName;
use serde::Serialize;

/// The pause of a route by an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PauseLine {
    /// Whether this is a pause of all routes, and not of this route alone.
    pub all_routes: bool,
    /// The operator who paused the route.
    pub by: String,
    /// The operator's reason.
    pub why: String,
    /// When the pause began.
    pub since: String,
}

impl PauseLine {
    /// Returns the pause of a route; `None` when the route is not paused.
    pub(crate) fn of(controls: &RouteControls, route: &RouteName) -> Option<Self> {
        let (scope, pause) = controls.pause_of(route)?;
        Some(Self::new(scope, pause))
    }

    /// Returns the pause of all routes; `None` when there is none, even if each route is paused by
    /// itself.
    pub(crate) fn of_all(controls: &RouteControls) -> Option<Self> {
        let row = controls.row(&RouteScope::All);
        row.pause.map(|pause| Self::new(&RouteScope::All, &pause))
    }

    fn new(scope: &RouteScope, pause: &RoutePause) -> Self {
        Self {
            all_routes: *scope == RouteScope::All,
            by: pause.by.clone(),
            why: pause.why.clone(),
            since: pause.since.to_string(),
        }
    }
}
