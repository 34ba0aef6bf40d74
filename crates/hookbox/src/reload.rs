//! Reloads what a running service can exchange: the keys of sources, the certificate, JSON Schemas
//! and the log filter. SIGHUP reloads them at once, together with the config. The files with keys,
//! certificate and JSON Schemas are also reloaded when they change.
//!
//! The keys of each source, the certificate, the JSON Schemas of each source and the filter are
//! separate parts. Each part is read as a whole, and then replaced or left unchanged. A part that
//! cannot be used is logged, and does not prevent the other parts from being reloaded. A request
//! uses the keys that were in use when it started. Every other setting needs a restart.

mod certificate;
mod in_use;
mod keys;
mod paths;
mod renewal;
mod schemas;
mod unusable;
mod watched;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hookbox_config::{BrokenParts, Config, Differences, Part};
use hookbox_driver::{Clock as _, SystemClock};
use hookbox_event::Timestamp;
use hookbox_ingest::Ingest;
use hookbox_worker::SourceSchemas;
use tokio::signal::unix::Signal;
use tokio::time::MissedTickBehavior;

use self::in_use::KeptKeys;
use self::unusable::UnusableParts;
use self::watched::{Changes, Watched, identities_of, is_of};
use crate::key_ends::{KeysEnd, Reminders};
use crate::telemetry::Log;
use crate::tls::Certificate;

/// The interval at which files are checked for changes. A changed file is read once two consecutive
/// checks find it in the same state, because until then it may be half written.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// How long after its last read a part that could not be used is read again although no file has
/// changed. What prevented its use may be over: the certificate was not valid yet, or the file
/// could not be read at that moment.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The parts of this process that a reload replaces.
pub struct Targets {
    /// The ingest, whose keys a reload replaces; `None` in a process that receives no webhooks.
    pub ingest: Option<Arc<Ingest>>,
    /// The certificate that new connections get; `None` without a listener that uses TLS.
    pub certificate: Option<Arc<Certificate>>,
    /// The JSON Schemas against which a worker checks bodies; `None` without a worker.
    pub schemas: Option<SourceSchemas>,
    /// The log, whose filter a reload replaces.
    pub log: Log,
}

impl Targets {
    /// Returns targets that contain only the log.
    pub fn new(log: Log) -> Self {
        Self {
            ingest: None,
            certificate: None,
            schemas: None,
            log,
        }
    }
}

/// Reloads the exchangeable parts of a running service.
pub struct Reloader {
    /// The newest config that could be read, but with the sources that the process was started
    /// with. Sources are added and removed only at a restart.
    config: Config,
    /// The text of the config at the start of the process. A reload compares the new config with
    /// it, to report the changes that take effect only after a restart.
    begun_with: String,
    targets: Targets,
    files: Watched,
    filter: Option<String>,
    /// The parts that could not be used. When any file changes, these parts are read again, because
    /// the changed file may be the one that had the mistake.
    broken: UnusableParts,
    /// When the parts in `broken` were last read.
    broken_read_at: Timestamp,
    reminders: Reminders,
}

impl Reloader {
    /// Makes a reloader for a service that runs with this config.
    pub fn new(config: Config, targets: Targets) -> Self {
        Self {
            begun_with: config.text.clone(),
            filter: targets.log.refilter(&config.log).ok(),
            config,
            targets,
            files: Watched::default(),
            broken: UnusableParts::default(),
            broken_read_at: Timestamp::from_unix_micros(0),
            reminders: Reminders::default(),
        }
    }

    /// Reloads at each SIGHUP, checks the files periodically, and warns about keys that expire
    /// soon.
    pub async fn run(mut self, mut hangup: Option<Signal>) {
        let mut checks = tokio::time::interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_hangup = tokio::select! {
                _ = checks.tick() => false,
                () = next(&mut hangup) => true,
            };
            // A file may be on a network file system that does not respond. In that case only this
            // blocking task waits for the file system.
            let checked = tokio::task::spawn_blocking(move || {
                let now = SystemClock.now();
                if is_hangup {
                    self.reload(now);
                } else {
                    self.check_files(now);
                }
                self
            });
            self = match checked.await {
                Ok(reloader) => reloader,
                Err(_) => {
                    tracing::error!(
                        "the reloader failed: changes of files take effect only after a restart"
                    );
                    return;
                }
            };
        }
    }

    /// Reads the config and everything that the config names.
    fn reload(&mut self, now: Timestamp) {
        // The identities of the files are read before their contents, so that the next check
        // notices a file that changes in between.
        let seen = identities_of(&self.paths());
        let read = Config::load_parts(&self.config.path, self.config.needs, &self.config.kinds);
        let (config, parts) = match read {
            Ok(read) => read,
            Err(mistakes) => {
                let why = mistakes.line();
                tracing::error!(
                    why,
                    "SIGHUP: the config cannot be used, so nothing was reloaded: {why}"
                );
                return;
            }
        };
        let left = self.exchange_config(config, &parts);
        self.files.at_once(seen);
        self.broken.log_again();
        self.broken_read_at = now;
        for warning in &self.config.warnings {
            tracing::warn!("{warning}");
        }
        let mut changes = self.exchange_keys(&left, &parts, &BTreeSet::new());
        changes.extend(self.exchange_certificate(parts.why(&Part::Certificate), now));
        changes.extend(self.exchange_schemas(&parts, &BTreeSet::new()));
        changes.extend(self.exchange_filter(parts.why(&Part::Filter)));
        self.report_unused(&parts);
        let restart = Differences::between(&self.begun_with, &self.config.text).describe();
        if let Some(what) = &restart {
            let path = self.config.path.display();
            tracing::warn!(
                what,
                "SIGHUP: these changes in {path} take effect only after a restart: {what}"
            );
        }
        let is_whole = parts.is_empty() && !self.broken.any();
        if changes.is_empty() && restart.is_none() && is_whole {
            tracing::info!("SIGHUP: nothing has changed");
        }
        log_changes("SIGHUP", &changes);
    }

    /// Warns about parts that cannot be used now, but that this process uses only after a restart.
    fn report_unused(&self, parts: &BrokenParts) {
        for (part, why) in parts.iter() {
            let is_used = match part {
                Part::Keys(source) => self.has_keys_of(source),
                Part::Certificate => self.targets.certificate.is_some(),
                Part::Schemas(source) => self.targets.schemas.is_some() && self.runs(source),
                Part::Filter => true,
                Part::Servers => false,
            };
            if !is_used {
                tracing::warn!(why, "SIGHUP: a restart would be refused, since {why}");
            }
        }
    }

    /// Returns whether a source existed at the start of the process.
    fn runs(&self, source: &str) -> bool {
        let mut running = self.config.sources.iter();
        running.any(|running| running.name.as_str() == source)
    }

    /// Reads the files that have changed since the last check, and those that could not be used.
    fn check_files(&mut self, now: Timestamp) {
        let seen = identities_of(&self.paths());
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
                 check for a minute"
            );
        }
        let touches = |paths: &[PathBuf]| changed.iter().any(|path| is_of(path, paths));
        let keys = touches(&self.secrets());
        let certificate = touches(&self.certificate());
        let schemas = touches(&self.schema_folders());
        let is_changed = !changed.is_empty();
        let reads_broken = is_changed || self.is_retry_due(now);
        if is_changed {
            self.broken.log_again();
        }
        if reads_broken {
            self.broken_read_at = now;
        }
        // A certificate that is being written now is read when it is complete.
        let is_written = moving.iter().any(|path| is_of(path, &self.certificate()));
        let mut changes = Vec::new();
        if keys || (reads_broken && self.broken.keys.is_unusable) {
            changes.extend(self.read_keys(&moving, now));
        }
        if certificate || (reads_broken && self.broken.certificate.is_unusable && !is_written) {
            changes.extend(self.exchange_certificate(None, now));
        }
        if schemas || (reads_broken && self.broken.schemas.is_unusable) {
            changes.extend(self.exchange_schemas(&BrokenParts::default(), &moving));
        }
        let why = if is_changed {
            "a file has changed"
        } else {
            "a file that could not be used was read again"
        };
        log_changes(why, &changes);
        self.remind(now);
    }

    /// Returns whether the parts that could not be used are to be read although no file has
    /// changed.
    fn is_retry_due(&self, now: Timestamp) -> bool {
        // If the clock was set back, it does not show how long ago the last read was.
        let is_due = now < self.broken_read_at || now.since(self.broken_read_at) >= RETRY_AFTER;
        is_due && self.broken.any()
    }

    /// Uses another config, except for changes that need a restart. Returns which keys stay in use
    /// although the config has changed.
    fn exchange_config(&mut self, config: Config, parts: &BrokenParts) -> Vec<KeptKeys> {
        let before = std::mem::replace(&mut self.config, config);
        in_use::keep(before, &mut self.config, parts, &self.begun_with)
    }

    fn exchange_filter(&mut self, mistake: Option<String>) -> Option<String> {
        let exchanged = match mistake {
            Some(why) => Err(why),
            None => {
                let exchanged = self.targets.log.refilter(&self.config.log);
                exchanged.map_err(|error| format!("{error:#}"))
            }
        };
        match exchanged {
            Ok(filter) => {
                let before = self.filter.replace(filter.clone());
                let is_other = before.as_ref() != Some(&filter);
                is_other.then(|| format!("the log filter is {filter:?}"))
            }
            Err(why) => {
                tracing::error!(why, "the log filter stays as it was, since {why}");
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

fn log_changes(why: &str, changes: &[String]) {
    for change in changes {
        tracing::info!("{why}: {change}");
    }
}

/// Waits for the next SIGHUP; waits for ever if SIGHUP is not handled.
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
