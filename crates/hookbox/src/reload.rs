//! What a running service reads again: keys of sources, the certificate, JSON Schemas and the log
//! filter. At SIGHUP with the config, at once; and the files by themselves, when they change.
//!
//! Each of the four is read as a whole, and exchanged or left as it was: what is broken is logged
//! and changes nothing. A request keeps what it began with. Everything else needs a restart.

mod in_use;
mod paths;
mod watched;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::Clock as _;
use hookbox_event::{SourceName, Timestamp};
use hookbox_ingest::Ingest;
use hookbox_signature::Key;
use hookbox_worker::SourceSchemas;
use tokio::signal::unix::Signal;
use tokio::time::MissedTickBehavior;

use self::in_use::{Left, are_same};
use self::watched::{Changes, Watched, is_of, look_at};
use crate::clock::SystemClock;
use crate::compose::{self, SchemaTexts};
use crate::config::{Config, Differences};
use crate::key_ends::{KeysEnd, Reminders};
use crate::telemetry::Log;
use crate::tls::{self, Certificate};

/// How often files are looked at. A change is used after two looks that agree.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What is exchanged in this process.
pub struct Targets {
    /// The HTTP side, whose keys they are.
    pub ingest: Option<Arc<Ingest>>,
    /// What new connections are shown.
    pub certificate: Option<Arc<Certificate>>,
    /// What bodies are checked by.
    pub schemas: Option<SourceSchemas>,
    /// The log.
    pub log: Log,
}

impl Targets {
    /// The log alone.
    pub fn new(log: Log) -> Self {
        Self {
            ingest: None,
            certificate: None,
            schemas: None,
            log,
        }
    }
}

/// What reloads a service.
pub struct Reloader {
    /// The newest config that could be read, with the sources that run.
    config: Config,
    /// The config's text at the start: what differs from it needs a restart.
    begun_with: String,
    targets: Targets,
    files: Watched,
    /// The texts that the schemas were compiled from, as far as they are known.
    schemas: Option<SchemaTexts>,
    filter: Option<String>,
    broken: Broken,
    reminders: Reminders,
}

/// What could not be used when it was last read. It is tried again when any file changes: the
/// reason may lie in another one.
#[derive(Default, Clone, Copy)]
struct Broken {
    keys: bool,
    certificate: bool,
    schemas: bool,
}

impl Reloader {
    /// For a service that runs with this config.
    pub fn new(config: Config, targets: Targets) -> Self {
        let schemas = match &targets.schemas {
            Some(_) => compose::read_schemas(&config).ok(),
            None => None,
        };
        Self {
            begun_with: config.text.clone(),
            filter: targets.log.refilter(&config.log).ok(),
            config,
            targets,
            files: Watched::default(),
            schemas,
            broken: Broken::default(),
            reminders: Reminders::default(),
        }
    }

    /// Reloads at each SIGHUP, looks at the files in between, and reminds of keys that end.
    pub async fn run(mut self, mut hangup: Option<Signal>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_hangup = tokio::select! {
                _ = looks.tick() => false,
                () = next(&mut hangup) => true,
            };
            // A file may lie on a network that does not answer: only this task waits for it.
            let looked = tokio::task::spawn_blocking(move || {
                let now = SystemClock.now();
                if is_hangup {
                    self.reload(now);
                } else {
                    self.look(now);
                }
                self
            });
            self = match looked.await {
                Ok(reloader) => reloader,
                Err(_) => {
                    tracing::error!("nothing is reloaded any more; restart to change anything");
                    return;
                }
            };
        }
    }

    /// Reads the config and everything that it names.
    fn reload(&mut self, now: Timestamp) {
        // Before anything is read: what changes meanwhile is seen by the next look.
        let seen = look_at(&self.paths());
        let read = Config::load_for(&self.config.path, self.config.needs);
        let config = match read {
            Ok(config) => config,
            Err(mistakes) => {
                let why = mistakes.to_string().replace('\n', "; ");
                tracing::error!(
                    why,
                    "SIGHUP: the config cannot be used, so nothing was reloaded: {why}"
                );
                return;
            }
        };
        let left = self.exchange_config(config);
        self.files.at_once(seen);
        for warning in &self.config.warnings {
            tracing::warn!("{warning}");
        }
        let mut changes = self.exchange_keys(&left, &BTreeSet::new());
        changes.extend(self.exchange_certificate(now));
        changes.extend(self.exchange_schemas(&BTreeSet::new()));
        changes.extend(self.exchange_filter());
        let restart = Differences::between(&self.begun_with, &self.config.text).describe();
        if let Some(what) = &restart {
            let path = self.config.path.display();
            tracing::warn!(
                what,
                "SIGHUP: only a restart uses what else changed in {path}: {what}"
            );
        }
        let Broken {
            keys,
            certificate,
            schemas,
        } = self.broken;
        if changes.is_empty() && restart.is_none() && !(keys || certificate || schemas) {
            tracing::info!("SIGHUP: nothing has changed");
        }
        say("SIGHUP", &changes);
    }

    /// Reads what has changed by itself.
    fn look(&mut self, now: Timestamp) {
        let seen = look_at(&self.paths());
        let Changes {
            settled: changed,
            moving,
            restless,
        } = self.files.settled(seen, &self.together(), now);
        for path in restless {
            let path = path.display();
            tracing::warn!(
                %path,
                "{path} is not read: it, or a file that is read with it, has changed at every \
                 look for a minute"
            );
        }
        let touches = |paths: &[PathBuf]| changed.iter().any(|path| is_of(path, paths));
        let keys = touches(&self.secrets());
        let certificate = touches(&self.certificate());
        let schemas = touches(&self.schema_folders());
        let is_changed = !changed.is_empty();
        let mut changes = Vec::new();
        if keys || (is_changed && self.broken.keys) {
            changes.extend(self.read_keys(&moving, now));
        }
        if certificate || (is_changed && self.broken.certificate) {
            changes.extend(self.exchange_certificate(now));
        }
        if schemas || (is_changed && self.broken.schemas) {
            changes.extend(self.exchange_schemas(&moving));
        }
        say("a file has changed", &changes);
        self.remind(now);
    }

    /// Reads the secrets by the config that is in use, which may be edited at this moment.
    fn read_keys(&mut self, moving: &BTreeSet<PathBuf>, now: Timestamp) -> Vec<String> {
        let env = |name: &str| std::env::var(name).ok();
        let Config {
            path, text, needs, ..
        } = &self.config;
        match Config::parse_for(path, text, &env, *needs, now) {
            Ok(config) => {
                let left = self.exchange_config(config);
                self.exchange_keys(&left, moving)
            }
            Err(mistakes) => {
                self.broken.keys = true;
                let why = mistakes.to_string().replace('\n', "; ");
                tracing::error!(why, "the keys stay as they were, since {why}");
                Vec::new()
            }
        }
    }

    /// Uses another config as far as that needs no restart.
    fn exchange_config(&mut self, config: Config) -> Vec<Left> {
        let before = std::mem::replace(&mut self.config, config);
        in_use::keep(before, &mut self.config, &self.begun_with)
    }

    fn exchange_keys(&mut self, left: &[Left], moving: &BTreeSet<PathBuf>) -> Vec<String> {
        self.broken.keys = false;
        let Some(ingest) = &self.targets.ingest else {
            return Vec::new();
        };
        let mut changes = Vec::new();
        for source in &self.config.sources {
            let name = source.name.as_str();
            let mut files = source.secret_files(&self.config.path);
            if files.any(|file| moving.contains(&file)) {
                continue;
            }
            let held = ingest.keys(name).unwrap_or_default();
            if !are_same(&held, &source.keys) && ingest.swap_keys(name, source.keys.clone()) {
                let ids: Vec<&str> = source.keys.iter().map(Key::id).collect();
                changes.push(format!("source {name} has the keys {}", ids.join(", ")));
            }
        }
        for left in left {
            match left {
                Left::WrittenOtherwise(source) => tracing::warn!(
                    %source,
                    "the keys of source {source} stay as they were: its preset or its scheme is \
                     another one, which only a restart uses, and its keys with it"
                ),
                Left::Unreadable(source, mistakes) => {
                    self.broken.keys = true;
                    let why = mistakes.reasons();
                    tracing::error!(
                        %source,
                        why,
                        "the keys of source {source} stay as they were, since {why}; it runs until \
                         a restart, though the config has it no more"
                    );
                }
            }
        }
        changes
    }

    fn exchange_certificate(&mut self, now: Timestamp) -> Option<String> {
        let target = self.targets.certificate.as_ref()?;
        let read = tls::read(&self.config, now);
        self.broken.certificate = read.is_err();
        match read {
            Ok(renewed) => {
                let (path, _) = self.config.ingest.tls.as_ref()?;
                let path = path.display();
                let is_other = target.replace(renewed?);
                is_other.then(|| format!("new connections get the certificate in {path}"))
            }
            Err(error) => {
                let why = format!("{error:#}");
                tracing::error!(why, "the certificate stays as it was, since {why}");
                None
            }
        }
    }

    /// Each source by itself: what cannot be used of one stays as it was, and keeps no other one.
    fn exchange_schemas(&mut self, moving: &BTreeSet<PathBuf>) -> Option<String> {
        let target = self.targets.schemas.as_ref()?;
        let before = self.schemas.take();
        let (mut after, mut all) = (SchemaTexts::new(), HashMap::new());
        self.broken.schemas = false;
        for source in &self.config.sources {
            let name = &source.name;
            let folder = source.schemas.as_slice();
            let mut is_left = moving.iter().any(|path| is_of(path, folder));
            if !is_left {
                match compose::source_schemas(&self.config, source) {
                    Ok(Some((texts, compiled))) => {
                        after.insert(name.clone(), texts);
                        all.insert(name.clone(), Arc::new(compiled));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        is_left = true;
                        self.broken.schemas = true;
                        let why = format!("{error:#}");
                        tracing::error!(why, "the JSON Schemas stay as they were, since {why}");
                    }
                }
            }
            if is_left {
                let texts = before.as_ref().and_then(|before| before.get(name));
                after.extend(texts.map(|texts| (name.clone(), texts.clone())));
                all.extend(target.of(name).map(|held| (name.clone(), held)));
            }
        }
        target.replace(all);
        let after = self.schemas.insert(after);
        let before = before?;
        let names: BTreeSet<&SourceName> = before.keys().chain(after.keys()).collect();
        let names = names
            .into_iter()
            .filter(|name| before.get(name) != after.get(name));
        let names: Vec<&str> = names.map(SourceName::as_str).collect();
        let names = names.join(", ");
        (!names.is_empty()).then(|| format!("there are other JSON Schemas for {names}"))
    }

    fn exchange_filter(&mut self) -> Option<String> {
        match self.targets.log.refilter(&self.config.log) {
            Ok(filter) => {
                let before = self.filter.replace(filter.clone());
                let is_other = before.as_ref() != Some(&filter);
                is_other.then(|| format!("the log filter is {filter:?}"))
            }
            Err(error) => {
                tracing::error!(%error, "the log filter stays as it was, since {error}");
                None
            }
        }
    }

    fn remind(&mut self, now: Timestamp) {
        let Some(ingest) = &self.targets.ingest else {
            return;
        };
        for end in self.reminders.due(&ingest.counters().keys_end(), now) {
            match end {
                KeysEnd::Near(what) => tracing::warn!("{what}"),
                KeysEnd::Over(what) => tracing::error!("{what}"),
            }
        }
    }
}

fn say(why: &str, changes: &[String]) {
    for change in changes {
        tracing::info!("{why}: {change}");
    }
}

/// The next SIGHUP, where there is one.
async fn next(hangup: &mut Option<Signal>) {
    let heard = match hangup {
        Some(hangup) => hangup.recv().await,
        None => None,
    };
    if heard.is_none() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests;
