//! Which events the routes of a config select.

use anyhow::Context;
use hookbox_config::{Config, RouteConfig, UNROUTED};
use hookbox_event::{Routing, Selection, TopicPattern};

/// Returns which events each route of the config selects.
pub fn routing(config: &Config) -> anyhow::Result<Routing> {
    let (routes, unrouted): (Vec<_>, Vec<_>) = config
        .routes
        .iter()
        .partition(|route| route.name.as_str() != UNROUTED);
    let unrouted = unrouted
        .first()
        .context("the config has no route \"unrouted\": this is a bug in hookbox")?;
    Ok(Routing {
        selections: routes.into_iter().map(selection).collect(),
        unrouted: unrouted.name.clone(),
    })
}

fn selection(route: &RouteConfig) -> Selection {
    Selection {
        route: route.name.clone(),
        topics: route.topics.clone(),
        conditions: route.conditions.clone(),
    }
}

/// Returns the topics of the other routes that may get the same events as this route. A route is
/// left out if its conditions and those of this route exclude each other. Both may still get the
/// same event in two rare cases: it was received with two different bodies, or under two configs.
/// Each route then processes the event as usual, but may wait for the other route's transaction.
pub(super) fn shared_topics(config: &Config, route: &RouteConfig) -> Vec<TopicPattern> {
    let this = selection(route);
    let others = config.routes.iter().filter(|it| it.name != route.name);
    let others = others.map(selection).filter(|it| this.may_share(it));
    others.flat_map(|it| it.topics).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hookbox_driver::{Clock as _, SystemClock};

    use super::*;

    fn config() -> Config {
        let text = r#"
            environment = "test"
            store.url = "sqlite:hookbox.db"
            broker.url = "sqlite:hookbox.db"
            [[source]]
            name = "shop"
            preset = "begini"
            secrets = [{ id = "test", env = "KEY" }]
            [[route]]
            name = "gold"
            topics = ["shop.order.*"]
            where = [{ pointer = "/level", equals = "gold" }]
            [[route]]
            name = "silver"
            topics = ["shop.order.*"]
            where = [{ pointer = "/level", in = ["silver", "bronze"] }]
            [[route]]
            name = "large"
            topics = ["shop.#"]
            where = [{ pointer = "/total", greater = 1000 }]
        "#;
        let env = |_: &str| Some("a-key-of-many-bytes-for-tests".to_owned());
        Config::parse(Path::new("hookbox.toml"), text, &env, SystemClock.now()).unwrap()
    }

    #[test]
    fn every_route_but_the_last_resort_selects_events() {
        let routing = routing(&config()).unwrap();
        assert_eq!(routing.unrouted.as_str(), UNROUTED);
        let selections = routing.selections.iter();
        let found: Vec<_> = selections
            .map(|it| (it.route.as_str(), it.conditions.len()))
            .collect();
        assert_eq!(found, [("gold", 1), ("silver", 1), ("large", 1)]);
    }

    /// An order has one level, so the routes `gold` and `silver` share no event. An order of any
    /// level may be large, so the route `large` may share events with both.
    #[test]
    fn topics_are_shared_unless_the_conditions_exclude_each_other() {
        let config = config();
        let shared = |name: &str| {
            let mut routes = config.routes.iter();
            let route = routes.find(|it| it.name.as_str() == name).unwrap();
            let topics = shared_topics(&config, route);
            let topics = topics.iter().map(TopicPattern::as_str);
            topics.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shared("gold"), "shop.#");
        assert_eq!(shared("silver"), "shop.#");
        assert_eq!(shared("large"), "shop.order.* shop.order.*");
        assert_eq!(shared(UNROUTED), "shop.order.* shop.order.* shop.#");
    }
}
