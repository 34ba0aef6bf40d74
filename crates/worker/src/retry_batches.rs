//! Divides due retries into batches, so that many of them are published as one message.

use std::collections::HashMap;

use hookbox_driver::DueRetry;

use crate::intake::SHARED_MAX;

/// The most bytes of bodies in one batch: as many as in a batch of ingest by default. A retry whose
/// body is larger has a batch of its own.
const BYTES_MAX: usize = 256 * 1024;

/// Divides due retries into batches of one route each, and returns for each batch the positions of
/// its retries in `due`. A batch has at most [`SHARED_MAX`] retries, as a batch of ingest has. The
/// retries of a route keep their order.
pub(crate) fn batches(due: &[&DueRetry]) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    // For each route, the batch that is being filled, and the bytes of its bodies.
    let mut filling = HashMap::new();
    for (position, retry) in due.iter().enumerate() {
        let length = retry.envelope.body.len();
        if let Some((batch, bytes)) = filling.get_mut(&retry.route) {
            let batch: &mut Vec<usize> = &mut batches[*batch];
            if batch.len() < SHARED_MAX && *bytes + length <= BYTES_MAX {
                batch.push(position);
                *bytes += length;
                continue;
            }
        }
        filling.insert(&retry.route, (batches.len(), length));
        batches.push(vec![position]);
    }
    batches
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Sample;

    fn retry(route: &str, length: usize) -> DueRetry {
        let mut envelope = Sample::new("{}").envelope(1).unwrap();
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
    fn a_batch_has_one_route_and_keeps_the_order() {
        let due = ["a", "b", "a", "c", "b", "a"].map(|route| retry(route, 2));
        assert_eq!(divided(&due), [vec![0, 2, 5], vec![1, 4], vec![3]]);
        assert!(divided(&[]).is_empty());
    }

    #[test]
    fn a_batch_has_as_many_retries_as_a_transaction() {
        let due: Vec<DueRetry> = (0..130).map(|_| retry("a", 2)).collect();
        let lengths: Vec<usize> = divided(&due).iter().map(Vec::len).collect();
        assert_eq!(lengths, [64, 64, 2]);
    }

    #[test]
    fn the_bodies_of_a_batch_are_bounded_and_a_larger_body_is_alone() {
        let half = BYTES_MAX / 2;
        let due = [half, half, 1, BYTES_MAX + 1, 1, 1].map(|length| retry("a", length));
        assert_eq!(
            divided(&due),
            [vec![0, 1], vec![2], vec![3], vec![4, 5]],
            "the third body no longer fits, and the fourth fits into no batch"
        );
    }
}
