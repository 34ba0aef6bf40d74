//! Reads a config file and checks its structure and its meaning.

use std::path::Path;

use hookbox_driver::{Clock as _, SystemClock};
use hookbox_event::Timestamp;

use super::config::Config;
use super::handler_kinds::HandlerKinds;
use super::needs::Needs;
use super::parts::BrokenParts;
use super::place::Mistakes;
use super::secret::{ENVIRONMENT, Env, Secrets};
use super::{check, structure};

impl Config {
    /// Reads and checks a file for a program that has these kinds of handlers, and resolves every
    /// secret.
    pub fn load(path: &Path, kinds: &HandlerKinds) -> Result<Self, Mistakes> {
        Self::load_for(path, Needs::ALL, kinds)
    }

    /// Reads and checks a file, and resolves only the secrets in `needs`.
    pub fn load_for(path: &Path, needs: Needs, kinds: &HandlerKinds) -> Result<Self, Mistakes> {
        let text = read(path)?;
        Self::parse_for(path, &text, ENVIRONMENT, needs, kinds, SystemClock.now())
    }

    /// Reads and checks a file for a running service; see [`Config::parse_parts`].
    pub fn load_parts(
        path: &Path,
        needs: Needs,
        kinds: &HandlerKinds,
    ) -> Result<(Self, BrokenParts), Mistakes> {
        Self::parse_parts(path, &read(path)?, needs, kinds, SystemClock.now())
    }

    /// Checks the text of a config file for a program that has the handlers that come with hookbox.
    /// `env` returns environment variables.
    pub fn parse(path: &Path, text: &str, env: Env<'_>, now: Timestamp) -> Result<Self, Mistakes> {
        let kinds = HandlerKinds::built_in();
        Self::parse_for(path, text, env, Needs::ALL, &kinds, now)
    }

    /// Checks the text of a config file for a command that needs only some of the secrets.
    pub fn parse_for(
        path: &Path,
        text: &str,
        env: Env<'_>,
        needs: Needs,
        kinds: &HandlerKinds,
        now: Timestamp,
    ) -> Result<Self, Mistakes> {
        let (file, places) = structure::read(path, text, kinds)?;
        let secrets = Secrets::of(path, env, needs);
        let config = check::check(path, &file, places, &secrets, kinds, now)?;
        let text = text.to_owned();
        Ok(Self { text, ..config })
    }

    /// Checks the text of a config file for a running service, and resolves the secrets that it
    /// uses. A reloadable part that cannot be used does not invalidate the others: it is listed in
    /// the returned [`BrokenParts`].
    pub fn parse_parts(
        path: &Path,
        text: &str,
        needs: Needs,
        kinds: &HandlerKinds,
        now: Timestamp,
    ) -> Result<(Self, BrokenParts), Mistakes> {
        let (file, places) = structure::read(path, text, kinds)?;
        let secrets = Secrets::of(path, ENVIRONMENT, needs);
        let (config, broken) = check::check_parts(path, &file, places, &secrets, kinds, now)?;
        let text = text.to_owned();
        Ok((Self { text, ..config }, broken))
    }
}

fn read(path: &Path) -> Result<String, Mistakes> {
    std::fs::read_to_string(path).map_err(|error| {
        let advice = "write a config (see docs/CONFIG.md), name another file with --config, or try \
                      `hookbox dev`, which needs no config";
        let what = format!("the config file cannot be read ({error}); {advice}");
        Mistakes::one(path, what)
    })
}
