//! Checks the names given on the command line. An unknown name is refused with a list of the known
//! names.

use hookbox_config::Config;
use hookbox_driver::{Ledger, Name, Names};
use hookbox_event::{RouteName, SourceName, Topic};
use hookbox_operations::CommandError;
use hookbox_operations::command::names;

use crate::compose;

/// Refuses names that are neither in the config nor in the store.
pub async fn check(
    config: &Config,
    ledger: &dyn Ledger,
    route: Option<&RouteName>,
    topic: Option<&Topic>,
    source: Option<&SourceName>,
) -> Result<(), CommandError> {
    let given: Vec<Name<'_>> = [
        route.map(Name::Route),
        topic.map(Name::Topic),
        source.map(Name::Source),
    ]
    .into_iter()
    .flatten()
    .collect();
    if given.is_empty() {
        return Ok(());
    }
    names::check(ledger, &configured(config, topic.is_some()), &given).await
}

/// Returns the names in the config.
fn configured(config: &Config, with_topics: bool) -> Names {
    let mut names = Names::default();
    names
        .sources
        .extend(config.sources.iter().map(|it| it.name.to_string()));
    names
        .routes
        .extend(config.routes.iter().map(|it| it.name.to_string()));
    if !with_topics {
        return names;
    }
    let patterns = config.routes.iter().flat_map(|route| &route.topics);
    let exact = patterns
        .map(|pattern| pattern.as_str().to_owned())
        .filter(|pattern| pattern.parse::<Topic>().is_ok());
    names.topics.extend(exact);
    // JSON Schemas that cannot be used are ignored here, because a list command must not fail
    // because of such schemas. A service reports them when it starts.
    for (source, schemas) in compose::schemas(config).unwrap_or_default() {
        let topics = schemas.types().map(|kind| Topic::of(&source, Some(kind)));
        names
            .topics
            .extend(topics.map(|topic| topic.as_str().to_owned()));
    }
    names
}
