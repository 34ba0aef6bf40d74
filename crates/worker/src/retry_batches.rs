//! Divides due retries into batches, so that many of them are published as one message.

use std::collections::HashMap;

use hookbox_driver::DueRetry;

/// The most retries in one batch. One worker processes a batch, and RabbitMQ redelivers it after
/// 30 minutes. Events that failed once may be slow: 16 of them that reach a time limit of 30 s take
/// up to 16 minutes, because they run together first and then alone.
const RETRIES_MAX: usize = 16;

/// The largest total size of the bodies in one batch: the same as in a batch of ingest by default.
/// A retry whose body is larger has a batch of its own.
const BYTES_MAX: usize = 256 * 1024;

/// Divides due retries into batches of one route and one topic each, and returns for each batch the
/// positions of its retries in `due`. The retries of a topic stay in the order in which they are
/// given.
pub(crate) fn batches(due: &[&DueRetry]) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    // For each route and topic, the batch that is being filled, and the bytes of its bodies.
    let mut filling = HashMap::new();
    for (position, retry) in due.iter().enumerate() {
        let length = retry.envelope.body.len();
        let key = (&retry.route, &retry.envelope.topic);
        if let Some((batch, bytes)) = filling.get_mut(&key) {
            let batch: &mut Vec<usize> = &mut batches[*batch];
            if batch.len() < RETRIES_MAX && *bytes + length <= BYTES_MAX {
                batch.push(position);
                *bytes += length;
                continue;
            }
        }
        if length <= BYTES_MAX {
            filling.insert(key, (batches.len(), length));
        }
        batches.push(vec![position]);
    }
    batches
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Sample;

    fn retry(route: &str, topic: &str, length: usize) -> DueRetry {
        let sample = Sample::new("{}").of(&"source".parse().unwrap(), topic);
        let mut envelope = sample.envelope(1).unwrap();
        envelope.body = vec![b' '; length].into();
        DueRetry {
            route: route.parse().unwrap(),
            envelope,
        }
    }

    fn divided(due: &[DueRetry]) -> Vec<Vec<usize>> {
        batches(&due.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_batch_has_one_route_and_one_topic_and_keeps_the_order() {
        let due = ["a", "b", "a", "c", "b", "a"].map(|route| retry(route, "x", 2));
        assert_eq!(divided(&due), [vec![0, 2, 5], vec![1, 4], vec![3]]);
        let due = ["x", "y", "x"].map(|topic| retry("a", topic, 2));
        assert_eq!(divided(&due), [vec![0, 2], vec![1]]);
        assert!(divided(&[]).is_empty());
    }

    #[test]
    fn the_retries_of_a_batch_are_limited() {
        let due: Vec<DueRetry> = (0..34).map(|_| retry("a", "x", 2)).collect();
        let lengths: Vec<usize> = divided(&due).iter().map(Vec::len).collect();
        assert_eq!(lengths, [16, 16, 2]);
    }

    #[test]
    fn the_bodies_of_a_batch_are_limited_and_a_larger_body_is_alone() {
        let half = BYTES_MAX / 2;
        let due = [half, half, 1, BYTES_MAX + 1, 1, 1].map(|length| retry("a", "x", length));
        assert_eq!(
            divided(&due),
            [vec![0, 1], vec![2, 4, 5], vec![3]],
            "the third body no longer fits into the first batch, and the fourth into no batch"
        );
    }
}
