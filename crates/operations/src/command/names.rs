//! Checks names of routes, sources and topics that an operator gives. A name that neither the
//! config nor the store knows is probably mistyped. Without this check, the operator would get an
//! empty list, and might conclude that nothing is wrong.

use hookbox_driver::{Ledger, Name, Names};

use crate::CommandError;

/// How many names an error suggests at most.
const SUGGESTED_MAX: usize = 30;

/// Returns an error if one of the given names is unknown. The error lists the names that are known.
pub async fn check(
    ledger: &dyn Ledger,
    configured: &Names,
    names: &[Name<'_>],
) -> Result<(), CommandError> {
    for name in names {
        if name.among(configured).contains(name.as_str()) {
            continue;
        }
        let seen = ledger.has_seen(*name).await;
        if seen.map_err(CommandError::store("check whether a given name is known"))? {
            continue;
        }
        let mut known = ledger.names().await.map_err(CommandError::store(
            "read the names of known routes, sources and topics",
        ))?;
        known.extend(configured.clone());
        return Err(CommandError::UnknownName {
            kind: name.kind(),
            name: name.as_str().to_owned(),
            known: list(name.among(&known)),
        });
    }
    Ok(())
}

fn list(names: &std::collections::BTreeSet<String>) -> String {
    let shown: Vec<&str> = names
        .iter()
        .take(SUGGESTED_MAX)
        .map(String::as_str)
        .collect();
    match names.len().saturating_sub(SUGGESTED_MAX) {
        _ if names.is_empty() => "none".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
