//! `hookbox keys`: makes keys.

use clap::Subcommand;
use hookbox_driver::{Rng, SystemRng};
use hookbox_event::IdentityKey;

use super::print;
use crate::exit::{self, Exit};

/// The subcommands of `keys`.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Print a new identity key, for the secret to which `[identity] key` of the config refers
    Generate,
}

/// Runs a subcommand of `keys`. The subcommand reads no config and stores nothing.
pub fn run(command: &KeysCommand, json: bool) -> anyhow::Result<Exit> {
    match command {
        KeysCommand::Generate => generate(json),
    }
}

fn generate(json: bool) -> anyhow::Result<Exit> {
    let text = identity_key(&SystemRng);
    if json {
        let fingerprint = text.parse::<IdentityKey>()?.fingerprint().to_string();
        let made = serde_json::json!({ "key": text, "fingerprint": fingerprint });
        print::text(&format!("{made}\n"))?;
    } else {
        print::text(&format!("{text}\n"))?;
    }
    Ok(exit::OK)
}

/// Returns a new identity key, in the form in which the config reads it.
pub fn identity_key(rng: &dyn Rng) -> String {
    let mut bytes = [0; IdentityKey::BYTES];
    rng.fill(&mut bytes);
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_can_be_used_and_is_random() {
        let made = [(); 2].map(|()| identity_key(&SystemRng));
        let fingerprints = made.map(|text| text.parse::<IdentityKey>().unwrap().fingerprint());
        assert_ne!(fingerprints[0], fingerprints[1]);
    }
}
