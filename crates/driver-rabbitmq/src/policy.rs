//! A RabbitMQ policy that an operator has set, and the harm that it would do to a queue of hookbox.

use hookbox_driver::TopologyDifference;
use regex::Regex;
use serde_json::Value;

use crate::topology::{Argument, QueueDeclaration};

/// The fields of a policy that hookbox needs, as the management API reports them.
#[derive(Debug)]
pub(crate) struct Policy {
    pub name: String,
    pub pattern: Option<String>,
    pub apply_to: Option<String>,
    pub definition: serde_json::Map<String, Value>,
}

impl Policy {
    /// Returns the harm that this policy does to each queue that its pattern matches. Every
    /// matching policy is reported, not only the one with the highest priority, because another
    /// policy applies as soon as that one is removed.
    pub fn wrong(&self, queues: &[QueueDeclaration]) -> Vec<TopologyDifference> {
        let applies = |to: &str| ["all", "queues", "quorum_queues"].contains(&to);
        if !self.apply_to.as_deref().is_none_or(applies) {
            return Vec::new();
        }
        // RabbitMQ's patterns may use syntax of Perl that Rust's `regex` cannot parse. Such a
        // pattern may match anything, so it counts as matching.
        let pattern = self.pattern.as_deref();
        let pattern = pattern.and_then(|pattern| Regex::new(pattern).ok());
        let is_matched = |name: &str| pattern.as_ref().is_none_or(|it| it.is_match(name));
        let mut found = Vec::new();
        for queue in queues.iter().filter(|queue| is_matched(&queue.name)) {
            for (key, value) in &self.definition {
                let Some(why) = harm(key, value, queue) else {
                    continue;
                };
                found.push(TopologyDifference {
                    queue: queue.name.clone(),
                    difference: format!(
                        "the policy {:?} sets {key} on the queue: {why}; take the queues of \
                         hookbox out of the policy's pattern, or clear the policy",
                        self.name
                    ),
                });
            }
        }
        found
    }
}

/// Returns why hookbox's queue must not have this setting of a policy; `None` when the setting is
/// harmless.
fn harm(key: &str, value: &Value, queue: &QueueDeclaration) -> Option<&'static str> {
    match key {
        // hookbox declares its queues without a length limit, so every limit is harmful.
        "max-length" | "max-length-bytes" => {
            Some("the policy limits the queue: new events would be refused, or the oldest dropped")
        }
        // Any limit on the age of messages is harmful, because messages may wait for any time in a
        // backlog.
        "message-ttl" => Some("messages would expire before they are processed"),
        // Every value is harmful, because RabbitMQ deletes a queue that was unused for this time,
        // with all its messages.
        "expires" => Some("the broker would delete the queue while no worker runs"),
        // The policy's value replaces the value that hookbox gave in the argument `x-overflow` when
        // it declared the queue. So only `reject-publish` is harmless. Any other value makes a
        // quorum queue drop its oldest messages, even `reject-publish-dlx`, which only classic
        // queues support.
        "overflow" if value.as_str() != Some("reject-publish") => Some(
            "the policy changes what a full queue does: the queue must reject new messages, and \
             must not drop its oldest messages",
        ),
        // RabbitMQ applies the lower of the policy's limit and that of the argument
        // `x-delivery-limit`, so a policy with a higher limit is harmless. A negative limit counts
        // as harmful: it means no limit in some versions and zero in others.
        "delivery-limit" if !is_no_lower(value, queue) => {
            Some("the broker would dead-letter messages after too few deliveries")
        }
        _ => None,
    }
}

fn is_no_lower(value: &Value, queue: &QueueDeclaration) -> bool {
    match queue.arguments.get("x-delivery-limit") {
        Some(Argument::Number(ours)) => value.as_i64().is_some_and(|theirs| theirs >= *ours),
        Some(Argument::Text(_)) | None => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::topology::topology;

    const ROUTE: &str = "hookbox.a.route.x";
    const WITNESS: &str = "hookbox.a.witness";
    const ACCOUNTS: &str = "hookbox.a.accounts";
    const DEAD: &str = "hookbox.a.dead";

    /// Returns the names of the queues for which a policy with this pattern, scope and definition
    /// is reported.
    fn reported(pattern: &str, apply_to: &str, definition: &str) -> Vec<String> {
        let queues = topology(&"a".parse().unwrap(), &["x".parse().unwrap()]).queues;
        let policy = Policy {
            name: "theirs".into(),
            pattern: Some(pattern.into()),
            apply_to: Some(apply_to.into()),
            definition: serde_json::from_str(definition).unwrap(),
        };
        let found = policy.wrong(&queues);
        found.into_iter().map(|it| it.queue).collect()
    }

    #[test]
    fn a_harmful_policy_is_reported_for_each_matching_queue() {
        let long = "{\"max-length\": 5}";
        assert_eq!(
            reported(".*", "all", long),
            [ROUTE, WITNESS, ACCOUNTS, DEAD]
        );
        assert_eq!(reported("^hookbox\\..*\\.dead$", "queues", long), [DEAD]);
        assert_eq!(reported("other", "quorum_queues", long), [""; 0]);
        assert_eq!(reported(".*", "exchanges", long), [""; 0]);
        assert_eq!(reported(".*", "classic_queues", long), [""; 0]);
        // `regex` cannot parse the look-ahead, so the pattern counts as matching all four queues.
        assert_eq!(reported("^(?!x)", "all", long).len(), 4);
        let both = "{\"overflow\": \"drop-head\", \"message-ttl\": 1}";
        assert_eq!(reported("dead", "all", both), [DEAD, DEAD]);
    }

    #[test]
    fn a_harmless_policy_is_not_reported() {
        let route = |definition: &str| reported("route", "all", definition);
        for harmless in [
            "{\"queue-leader-locator\": \"balanced\"}",
            "{\"overflow\": \"reject-publish\"}",
            "{\"delivery-limit\": 1000}",
            "{\"delivery-limit\": 5000}",
        ] {
            assert_eq!(route(harmless), [""; 0], "{harmless}");
        }
        for harmful in [
            "{\"overflow\": \"drop-head\"}",
            "{\"overflow\": \"reject-publish-dlx\"}",
            "{\"overflow\": 1}",
            "{\"delivery-limit\": 999}",
            "{\"delivery-limit\": -1}",
            "{\"delivery-limit\": \"many\"}",
            "{\"max-length\": 1000000000}",
            "{\"max-length-bytes\": 1}",
            "{\"message-ttl\": 86400000}",
            "{\"expires\": 86400000}",
        ] {
            assert_eq!(route(harmful), [ROUTE], "{harmful}");
        }
        // The dead-letter queue has a higher delivery limit than a route's queue, so a policy with
        // the limit 5,000 is harmful to the dead-letter queue and harmless to a route's queue.
        assert_eq!(
            reported("dead", "all", "{\"delivery-limit\": 5000}"),
            [DEAD]
        );
    }
}
