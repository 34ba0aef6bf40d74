//! An event on a route: the key of most tables of the simulated store.

use hookbox_event::{EventId, RouteName};

pub(crate) type OnRoute = (RouteName, EventId);
