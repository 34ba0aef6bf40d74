//! Ensures that no key is used by two sources at once, because a request that was captured at one
//! source would be accepted at the other source. The config check refuses equal keys within one
//! config. During a reload, a source may keep an old key. So the code here also refuses a new key
//! that equals an old key of another source.

use std::collections::HashMap;
use std::sync::Arc;

use hookbox_driver::{Rng as _, SystemRng};
use hookbox_event::SourceName;
use hookbox_signature::Key;

/// The old and new keys of a running source.
pub struct Renewal<'a> {
    /// The name of the source.
    pub source: &'a SourceName,
    /// The keys in use.
    pub held: Arc<[Key]>,
    /// The newly read keys; `None` if the source keeps the keys in use.
    pub read: Option<&'a Vec<Key>>,
}

impl Renewal<'_> {
    fn keys(&self) -> &[Key] {
        self.read.map_or(&self.held[..], Vec::as_slice)
    }
}

/// Rejects new keys until no two sources share a key: a source keeps its old keys if another source
/// uses one of its new keys. Returns the reason for each rejection. Keys are compared by
/// fingerprints under a random salt, which is discarded immediately.
pub fn keep_apart(renewals: &mut [Renewal<'_>]) -> Vec<String> {
    let mut salt = [0; 32];
    SystemRng.fill(&mut salt);
    let mut taken_back = Vec::new();
    while let Some((index, why)) = clash(renewals, &salt) {
        renewals[index].read = None;
        taken_back.push(why);
    }
    taken_back
}

/// Returns a source whose new keys contain a key of another source, and why its new keys are
/// rejected. If neither of two sources with an equal key has new keys, they are ignored, because
/// there is nothing to reject.
fn clash(renewals: &[Renewal<'_>], salt: &[u8; 32]) -> Option<(usize, String)> {
    let mut first: HashMap<[u8; 32], (usize, &Key)> = HashMap::new();
    for (index, renewal) in renewals.iter().enumerate() {
        for key in renewal.keys() {
            let known = first.entry(key.fingerprint(salt)).or_insert((index, key));
            let here = (index, key);
            let there = *known;
            if there.0 == index {
                continue;
            }
            let (at, other) = if renewal.read.is_some() {
                (here, there)
            } else if renewals[there.0].read.is_some() {
                (there, here)
            } else {
                continue;
            };
            let (source, other_source) = (renewals[at.0].source, renewals[other.0].source);
            let why = format!(
                "the keys of source {source} stay as they were, since {:?} is the same key as {:?} \
                 of source {other_source}, which uses this key now; give each source a key of its \
                 own",
                at.1.id(),
                other.1.id()
            );
            return Some((at.0, why));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secrets: &[&str]) -> Vec<Key> {
        let key = |secret: &&str| Key::new(*secret, None, secret.as_bytes().to_vec()).unwrap();
        secrets.iter().map(key).collect()
    }

    /// Returns which of the sources one, two and three keep their keys in use. For each source,
    /// `sources` holds its keys in use and its newly read keys.
    fn kept(sources: [(&[&str], Option<&[&str]>); 3]) -> Vec<String> {
        let names = ["one", "two", "three"].map(|name| name.parse::<SourceName>().unwrap());
        let read = sources.map(|(_, read)| read.map(keys));
        let held = sources.map(|(held, _)| keys(held));
        let mut renewals: Vec<Renewal<'_>> = Vec::new();
        for ((source, held), read) in names.iter().zip(held).zip(&read) {
            renewals.push(Renewal {
                source,
                held: held.into(),
                read: read.as_ref(),
            });
        }
        let reasons = keep_apart(&mut renewals);
        let kept = renewals.iter().filter(|renewal| renewal.read.is_none());
        let kept: Vec<String> = kept.map(|renewal| renewal.source.to_string()).collect();
        let given = read.iter().filter(|read| read.is_none()).count();
        assert_eq!(reasons.len(), kept.len() - given, "{reasons:?}");
        kept
    }

    #[test]
    fn keys_that_change_places_are_renewed_together() {
        let (a, b): (&[&str], &[&str]) = (&["a"], &["b"]);
        assert!(kept([(a, Some(b)), (b, Some(a)), (&["c"], Some(&["d"]))]).is_empty());
        assert!(kept([(a, Some(&["a", "x"])), (b, Some(b)), (&["c"], Some(&["c"]))]).is_empty());
    }

    #[test]
    fn a_key_that_another_source_keeps_is_not_given_to_a_second_one() {
        let (a, b, c): (&[&str], &[&str], &[&str]) = (&["a"], &["b"], &["c"]);
        // Source one shall get the key that source two has had. But the new keys of source two
        // could not be read, so source two keeps that key.
        assert_eq!(
            kept([(a, Some(b)), (b, None), (c, Some(c))]),
            ["one", "two"]
        );
        assert_eq!(
            kept([(b, None), (a, Some(b)), (c, Some(c))]),
            ["one", "two"]
        );
        // Source one keeps its key because its new keys are rejected, so source three cannot get
        // that key.
        assert_eq!(
            kept([(a, Some(b)), (b, None), (c, Some(a))]),
            ["one", "two", "three"]
        );
        assert_eq!(
            kept([(c, Some(a)), (a, Some(b)), (b, None)]),
            ["one", "two", "three"]
        );
    }
}
