//! The JSON Schemas of all sources, exchanged as a whole while the worker runs.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use hookbox_event::SourceName;

use crate::Schemas;

/// The compiled JSON Schemas of the sources that have some. Clones share them.
#[derive(Clone, Default)]
pub struct SourceSchemas(Arc<RwLock<HashMap<SourceName, Arc<Schemas>>>>);

impl SourceSchemas {
    /// The first ones.
    pub fn new(schemas: HashMap<SourceName, Arc<Schemas>>) -> Self {
        Self(Arc::new(RwLock::new(schemas)))
    }

    /// Others from now on. An event that is being checked is checked to the end by those that it
    /// began with.
    pub fn replace(&self, schemas: HashMap<SourceName, Arc<Schemas>>) {
        // A writer that panicked has exchanged all of them or nothing.
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = schemas;
    }

    /// Those of a source, as they are now.
    pub fn of(&self, source: &SourceName) -> Option<Arc<Schemas>> {
        let schemas = self.0.read().unwrap_or_else(PoisonError::into_inner);
        schemas.get(source).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clones_see_a_replacement_and_a_held_one_stays_as_it_was() {
        let source: SourceName = "begini".parse().expect("a name");
        let compiled = |name: &str| {
            let schemas = Schemas::compile([(name, &serde_json::json!({}))]).expect("compiles");
            HashMap::from([(source.clone(), Arc::new(schemas))])
        };
        let schemas = SourceSchemas::new(compiled("a"));
        let shared = schemas.clone();
        let held = shared.of(&source).expect("there");
        schemas.replace(compiled("b"));
        let types = |schemas: &Schemas| schemas.types().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(types(&shared.of(&source).expect("there")), ["b"]);
        assert_eq!(types(&held), ["a"]);
        assert!(shared.of(&"other".parse().expect("a name")).is_none());
    }
}
