//! Suggests the known key that an unknown one probably means.

/// Returns the known key that differs least from `key`, if it differs little.
pub fn nearest<'k>(key: &str, known: &'k [String]) -> Option<&'k str> {
    let (distance, near) = known
        .iter()
        .map(|known| (distance(key, known), known.as_str()))
        .min()?;
    (distance <= 1 + key.len() / 3).then_some(near)
}

/// Returns the Levenshtein distance of two texts.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.chars().enumerate() {
            let cost = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
