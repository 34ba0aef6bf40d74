//! A service with two sources behind TLS, each with its own keys and JSON Schemas. Tests break and
//! renew single parts of it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use hookbox_testkit::eventually::within;
use rcgen::{CertifiedKey, KeyPair};

use crate::certificate;
use crate::deployment::{Deployment, Pair, Process};
use crate::event;
use crate::sender::post;
use crate::shown::Shown;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The exit code for a config that cannot be used.
const UNUSABLE: i32 = 64;

/// The key of source `begini` at the start.
pub const FIRST_KEY: &str = "the-first-key-of-begini-for-tests";

/// A service with two sources behind TLS, each with its own keys and schemas.
pub struct TwoSources {
    pub deployment: Deployment,
    pub running: Process,
    certificate: CertifiedKey<KeyPair>,
    /// How often the key and the schemas of source `second` were renewed. Their content depends on
    /// this number.
    pub round: u32,
    /// The length of the log when the current check started. A check searches only the log after
    /// this position.
    pub mark: usize,
}

/// Which parts of the service are renewed while one part is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    All,
    /// Everything except the certificate, which is the broken part.
    NoCertificate,
}

impl TwoSources {
    pub async fn start() -> Self {
        let deployment = Deployment::new(Pair::SqliteAlone).await;
        let certificate = certificate::new();
        certificate::write(&deployment, &certificate);
        for folder in ["schemas", "second-schemas"] {
            std::fs::create_dir(deployment.folder.join(folder)).unwrap();
        }
        deployment.write("schemas/unknown.json", "{}");
        deployment.write("key", FIRST_KEY);
        deployment.write("store", "sqlite:hookbox.db");
        write_second(&deployment, 0);
        let path = deployment.folder.join("hookbox.toml");
        let mut text = std::fs::read_to_string(path).unwrap();
        for (from, to) in [
            ("url = \"sqlite:hookbox.db\"", "url = { file = \"store\" }"),
            (
                "[ingest]\n",
                "[ingest]\ntls = { certificate = \"cert.pem\", key = \"key.pem\" }\n",
            ),
            (
                "preset = \"begini\"\n",
                "preset = \"begini\"\nschemas = \"schemas\"\n",
            ),
        ] {
            text = text.replacen(from, to, 1);
        }
        text += "[[source]]\nname = \"second\"\npreset = \"begini\"\n\
                 schemas = \"second-schemas\"\n\
                 secrets = [{ id = \"b\", file = \"second\" }]\n\
                 [log]\nfilter = \"info\"\n";
        deployment.write("hookbox.toml", &text);
        let shown = Shown::new();
        let running = deployment.start(&["run", "--metrics", &shown.address()]);
        within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
        Self {
            deployment,
            running,
            certificate,
            round: 0,
            mark: 0,
        }
    }

    pub fn config(&self) -> String {
        std::fs::read_to_string(self.deployment.folder.join("hookbox.toml")).unwrap()
    }

    /// Renews the key and the schemas of source `second`, and the certificate if it is not the
    /// broken part.
    pub fn renew(&mut self, others: Others) {
        self.round += 1;
        write_second(&self.deployment, self.round);
        if others == Others::All {
            self.certificate = certificate::new();
            certificate::write(&self.deployment, &self.certificate);
        }
    }

    pub fn begin(&mut self) {
        self.mark = self.deployment.log().len();
    }

    /// Waits until a line of the log contains all of these words.
    pub async fn logs(&self, what: &str, words: &[&str]) {
        let has = |line: &str| words.iter().all(|word| line.contains(word));
        let what = format!("{what}: {words:?}");
        within(PATIENCE, &what, async || {
            self.deployment.log()[self.mark..].lines().any(has)
        })
        .await;
    }

    /// Sends an event to a source on a new connection, signed with this key, and returns the
    /// status.
    pub async fn status(&self, source: &str, key: &str) -> u16 {
        let mut stream = certificate::connect(&self.deployment, &self.certificate)
            .await
            .expect("the ingest must show the current certificate");
        let body = event::score("someone");
        post(&mut stream, source, key, &body).await.unwrap().status
    }

    /// Checks that source `begini` accepts the key `begini`, and that source `second` accepts the
    /// key of its last renewal.
    pub async fn is_in_use(&self, what: &str, begini: &str) {
        assert_eq!(self.status("begini", begini).await, 200, "{what}");
        let second = second_key(self.round);
        within(PATIENCE, what, async || {
            self.status("second", &second).await == 200
        })
        .await;
    }

    pub async fn finish(self) {
        self.running.stop();
        self.deployment.finish().await;
    }

    /// Renews everything except a broken part, sends SIGHUP, and checks that the broken part keeps
    /// its old content while the rest is renewed. Also checks that `check-config` refuses the
    /// broken part.
    pub async fn keeps(&mut self, others: Others, what: &str, begini: &str, words: &[&str]) {
        self.begin();
        self.renew(others);
        self.running.signal("HUP");
        self.logs(what, words).await;
        self.logs(what, &["source second has the keys b"]).await;
        self.logs(what, &["new JSON Schemas are in use for second"])
            .await;
        if others == Others::All {
            self.logs(what, &["new connections get the certificate in"])
                .await;
        }
        self.is_in_use(what, begini).await;
        let refused = self.deployment.command(&["check-config"]).output().unwrap();
        assert_eq!(refused.status.code(), Some(UNUSABLE), "{what}");
    }

    /// Does the same as `keeps`, but sends no signal: the service notices the changed files by
    /// itself.
    pub async fn keeps_by_itself(&mut self, others: Others, what: &str, words: &[&str]) {
        self.begin();
        self.renew(others);
        if !words.is_empty() {
            self.logs(what, words).await;
        }
        self.logs(what, &["a file has changed: source second has the keys b"])
            .await;
        self.logs(
            what,
            &["a file has changed: new JSON Schemas are in use for second"],
        )
        .await;
        if others == Others::All {
            self.logs(what, &["a file has changed: new connections get the"])
                .await;
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.deployment.folder.join(name)
    }

    /// Removes a file or a folder with its content, if it exists.
    pub fn remove(&self, name: &str) {
        let path = self.path(name);
        let removed = match path.symlink_metadata() {
            Ok(found) if found.is_dir() => std::fs::remove_dir_all(&path),
            Ok(_) => std::fs::remove_file(&path),
            Err(_) => Ok(()),
        };
        removed.unwrap();
    }

    pub fn make_folder(&self, name: &str) {
        self.remove(name);
        std::fs::create_dir(self.path(name)).unwrap();
    }

    /// Replaces a file by a named pipe without a writer. A process that opened it for reading would
    /// be blocked.
    pub fn make_pipe(&self, name: &str) {
        self.remove(name);
        let made = Command::new("mkfifo").arg(self.path(name)).status();
        assert!(made.unwrap().success());
    }

    pub fn cut(&self, name: &str) {
        let text = std::fs::read(self.path(name)).unwrap();
        std::fs::write(self.path(name), &text[..text.len() / 2]).unwrap();
    }

    /// Replaces a file or a folder by a file with this text.
    pub fn write(&self, name: &str, text: &str) {
        self.remove(name);
        self.deployment.write(name, text);
    }
}

/// Returns the key that source `second` has after this many renewals.
pub fn second_key(round: u32) -> String {
    format!("key-{round}-of-the-second-source-for-tests")
}

/// Writes the key and the schemas that source `second` has after this many renewals.
pub fn write_second(deployment: &Deployment, round: u32) {
    deployment.write("second", &second_key(round));
    let schema = format!("{{\"title\":\"{round}\"}}");
    deployment.write("second-schemas/unknown.json", &schema);
}
