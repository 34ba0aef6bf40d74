//! Parses responses of the management API. Each JSON object is read as a map, from which only the
//! needed fields are taken.
//!
//! The API combines statistics that several nodes collect, so its responses are irregular. While
//! the members of a queue change, an object has the same field several times; the last value is the
//! newest (RabbitMQ 4.0.5). A field is absent or null until its value was collected. An empty
//! object is written as an empty list. None of this makes a response unreadable. A response is
//! unreadable only if it contains no list of objects.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::policy::Policy;

/// Why a response cannot be used. The error does not quote the response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the response is not JSON")]
    NoJson(#[from] serde_json::Error),
    #[error("the response is not {0}")]
    Other(&'static str),
}

/// One page of the list of queues.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// How many pages the list has.
    pub count: u64,
    pub queues: Vec<Queue>,
}

/// A queue and the number of its members; `None` where the API does not report the number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Queue {
    pub name: String,
    pub members: Option<usize>,
}

/// Parses a list of policies: either the policies of users, or those of operators, which override
/// the policies of users.
pub(super) fn policies(body: &[u8]) -> Result<Vec<Policy>, Unreadable> {
    let all = objects(json(body)?, "a list of policies")?;
    let one = |mut policy: Map<String, Value>| Policy {
        name: text(&mut policy, "name").unwrap_or_else(|| "(no name)".to_owned()),
        pattern: text(&mut policy, "pattern"),
        apply_to: text(&mut policy, "apply-to"),
        definition: match policy.remove("definition") {
            Some(Value::Object(definition)) => definition,
            // The definition is empty, which RabbitMQ writes as a list, or is no definition at all.
            Some(_) | None => Map::new(),
        },
    };
    Ok(all.into_iter().map(one).collect())
}

/// Reads how many nodes the cluster has.
pub(super) fn nodes(body: &[u8]) -> Result<usize, Unreadable> {
    objects(json(body)?, "a list of nodes").map(|nodes| nodes.len())
}

/// Parses a page of queues. A broker that does not support pages returns all queues as one list,
/// which is then the only page.
pub(super) fn queues(body: &[u8]) -> Result<Page, Unreadable> {
    let expected = "a page of queues";
    let (count, items) = match json(body)? {
        Value::Object(mut page) => {
            let count = page.get("page_count").and_then(Value::as_u64);
            let items = page.remove("items").ok_or(Unreadable::Other(expected))?;
            (count.unwrap_or(1), items)
        }
        all => (1, all),
    };
    let one = |mut queue: Map<String, Value>| {
        let members = queue.get("members").and_then(Value::as_array);
        let members = members.map(|members| {
            let names: BTreeSet<&str> = members.iter().filter_map(Value::as_str).collect();
            names.len()
        });
        Some(Queue {
            name: text(&mut queue, "name")?,
            members,
        })
    };
    let queues = objects(items, expected)?;
    Ok(Page {
        count,
        queues: queues.into_iter().filter_map(one).collect(),
    })
}

/// Parses JSON. Bytes that are not valid UTF-8 occur in the names of other programs' objects, so
/// such bytes are replaced, and the response is still read.
fn json(body: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_str(&String::from_utf8_lossy(body))
}

fn objects(value: Value, expected: &'static str) -> Result<Vec<Map<String, Value>>, Unreadable> {
    let Value::Array(all) = value else {
        return Err(Unreadable::Other(expected));
    };
    let one = |value: Value| match value {
        Value::Object(object) => Ok(object),
        Value::Array(empty) if empty.is_empty() => Ok(Map::new()),
        _ => Err(Unreadable::Other(expected)),
    };
    all.into_iter().map(one).collect()
}

fn text(object: &mut Map<String, Value>, key: &str) -> Option<String> {
    match object.remove(key) {
        Some(Value::String(text)) => Some(text),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::topology::topology;

    /// Returns the names of those hookbox queues that are harmed by the policies in a response.
    fn harmed(body: &[u8]) -> Vec<String> {
        let queues = topology(&"a".parse().unwrap(), &["x".parse().unwrap()]).queues;
        let policies = policies(body).unwrap();
        let found = policies.iter().flat_map(|policy| policy.wrong(&queues));
        found.map(|it| it.queue).collect()
    }

    fn members(body: &[u8]) -> Vec<Option<usize>> {
        let page = queues(body).unwrap();
        page.queues.iter().map(|queue| queue.members).collect()
    }

    #[test]
    fn of_a_repeated_field_the_last_value_counts() {
        // The response of RabbitMQ 4.0.5 after `rabbitmq-queues delete_member`; only the names were
        // changed.
        let repeated = br#"{"filtered_count":1,"item_count":1,"items":[{
            "members":["rabbit@a","rabbit@b","rabbit@c"],
            "members":["rabbit@a","rabbit@b"],
            "name":"hookbox.a.route.x"}],
            "page":1,"page_count":1,"page_size":500,"total_count":1}"#;
        assert_eq!(members(repeated), [Some(2)]);
        let alone = br#"{"items":[{"members":["rabbit@a","rabbit@b"],"members":["rabbit@a"],
            "name":"q"}],"page_count":2,"page_count":1}"#;
        assert_eq!(members(alone), [Some(1)]);
        assert_eq!(queues(alone).unwrap().count, 1);
        let twice = br#"[{"vhost":"/","name":"theirs","name":"theirs","pattern":"none",
            "pattern":"^hookbox.*dead$","apply-to":"exchanges","apply-to":"queues",
            "definition":{},"definition":{"max-length":1,"max-length":5},"priority":0}]"#;
        assert_eq!(harmed(twice), ["hookbox.a.dead"]);
        assert_eq!(
            nodes(br#"[{"name":"a","name":"b"},{"name":"c"}]"#).unwrap(),
            2
        );
    }

    #[test]
    fn what_is_missing_null_or_unknown_hides_nothing_else() {
        for (answer, expected) in [
            (&br#"{"items":[{"name":"q"}]}"#[..], None),
            (
                br#"{"items":[{"name":"q","members":null}],"page_count":null}"#,
                None,
            ),
            (
                br#"{"items":[{"name":"q","members":"rabbit@a"}],"page_count":"1"}"#,
                None,
            ),
            (
                br#"{"items":[{"name":"q","members":["a",null]}],"more":{"x":[1e9]}}"#,
                Some(1),
            ),
            (
                br#"{"items":[[],{"name":null,"members":["a"]},{"name":"q","members":[]}]}"#,
                Some(0),
            ),
            (br#"[{"name":"q","members":["a","a","b"]}]"#, Some(2)),
            (
                b"[{\"name\":\"q\",\"owner\":\"\xff\",\"members\":[\"a\",\"b\"]}]",
                Some(2),
            ),
        ] {
            assert_eq!(members(answer), [expected], "{}", answer.escape_ascii());
            assert_eq!(
                queues(answer).unwrap().count,
                1,
                "{}",
                answer.escape_ascii()
            );
        }
        // Without `apply-to`, the policy may apply to every queue.
        let vague = br#"[{"definition":[]},[],{"name":null,"pattern":null,"apply-to":null,
            "definition":{"message-ttl":null,"unknown":[{}]}},
            {"name":"x","pattern":".*","definition":null}]"#;
        assert_eq!(harmed(vague).len(), 4);
        assert_eq!(
            nodes(br#"[{},{"name":null},[],{"name":"a","running":true}]"#).unwrap(),
            4
        );
    }

    #[test]
    fn what_is_no_list_of_objects_is_unreadable() {
        for answer in [
            &b""[..],
            b"null",
            b"{}",
            b"[1]",
            b"[null]",
            b"{\"items\":null}",
            b"[{",
        ] {
            assert!(queues(answer).is_err(), "{}", answer.escape_ascii());
            assert!(policies(answer).is_err(), "{}", answer.escape_ascii());
            assert!(nodes(answer).is_err(), "{}", answer.escape_ascii());
        }
    }
}
