//! An event on a route: the key of most tables.

use hookbox_event::{EventId, RouteName};

pub(crate) type OnRoute = (RouteName, EventId);
