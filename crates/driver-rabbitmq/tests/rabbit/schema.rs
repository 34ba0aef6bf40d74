//! The topology in the repository (`schemas/topology.json`) must equal the one that the driver
//! declares.

use hookbox_driver_rabbitmq::{Argument, topology};
use serde_json::{Map, Value, json};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/topology.json");

/// Returns the topology as JSON. The keys are in alphabetical order, so that the text does not
/// depend on features of serde_json.
fn dump() -> String {
    let routes = ["scores", "unrouted"].map(|route| route.parse().unwrap());
    let queues: Vec<Value> = topology(&"production".parse().unwrap(), &routes)
        .queues
        .into_iter()
        .map(|queue| {
            let arguments: Map<String, Value> = queue
                .arguments
                .into_iter()
                .map(|(name, argument)| match argument {
                    Argument::Text(text) => (name.to_owned(), json!(text)),
                    Argument::Number(number) => (name.to_owned(), json!(number)),
                })
                .collect();
            json!({ "arguments": arguments, "durable": true, "name": queue.name })
        })
        .collect();
    let topology = json!({ "environment": "production", "queues": queues });
    format!("{topology:#}\n")
}

#[test]
fn the_topology_equals_the_dump() {
    let dump = dump();
    if std::env::var_os("UPDATE_SCHEMAS").is_some_and(|update| update == "1") {
        std::fs::write(PATH, &dump).unwrap();
    }
    let committed = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        committed == dump,
        "schemas/topology.json differs from what the driver declares; run this test with \
         UPDATE_SCHEMAS=1 and read the difference"
    );
}
