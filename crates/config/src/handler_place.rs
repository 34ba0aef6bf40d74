//! The place of a route's handler in the config file, for messages about mistakes that are found
//! only when the handler is made.

use hookbox_event::RouteName;

use super::config::Config;
use super::place::Places;

impl Config {
    /// Returns the message `what` about the handler of a route, with the handler's place in the
    /// file before it.
    pub fn at_handler(&self, route: &RouteName, what: &str) -> String {
        let Ok(places) = Places::new(&self.path, &self.text) else {
            return format!("{}: {what}", self.path.display());
        };
        let file = places.json();
        let mut routes = file["route"].as_array().into_iter().flatten();
        // The route `unrouted` is not in the file, so no place is found for it. Its handler has no
        // settings, so there is no mistake in them to report.
        let index = routes.position(|one| one["name"].as_str() == Some(route.as_str()));
        let pointer = index.map_or_else(String::new, |index| format!("/route/{index}/handler"));
        places.line(&pointer, what)
    }
}
