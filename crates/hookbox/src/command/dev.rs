//! `hookbox dev`: all roles in one process over two SQLite files, with nothing to set up.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use hookbox_config::Config;
use hookbox_driver::{Rng, SystemRng};
use tokio_util::task::TaskTracker;

use crate::command::keys::identity_key;
use crate::command::print;
use crate::command::roles::{self, Roles, WorkerRole};
use crate::compose::{self, Registry};
use crate::exit::{self, Exit};
use crate::log_args::LogArgs;
use crate::signals;
use crate::telemetry::Log;

/// The address at which ingest listens with a config that `dev` has created.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The folder for the config, the key and the database. The other commands look for a config there.
const FOLDER: &str = ".hookbox-dev";

/// The name of the config file that `dev` creates.
const CONFIG: &str = "hookbox.toml";
/// The name of the file with the key that verifies the requests of the source `begini`.
const KEY: &str = "begini.key";
/// The name of the file with the identity key.
const IDENTITY_KEY: &str = "identity.key";

/// The name of the SQLite file of the store.
const STORE: &str = "hookbox.db";
/// The name of the SQLite file of the broker. It is not the file of the store, so that ingest does
/// not wait for the write lock of the file into which workers write.
const BROKER: &str = "broker.db";

/// Arguments of `dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// The folder of the config, the key and the database
    #[arg(long, default_value = FOLDER, value_name = "FOLDER")]
    pub dir: PathBuf,

    /// Where to listen; loopback only [default: the config's, which is 127.0.0.1:8080 in
    /// a new config]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
}

/// Creates the files that are missing, prints how to send events, and runs until a signal.
pub async fn run(
    args: &DevArgs,
    logging: &LogArgs,
    json: bool,
    handlers: &Registry,
    log: &Log,
) -> anyhow::Result<Exit> {
    if let Some(listen) = args.listen {
        loopback_only(listen)?;
    }
    prepare(args)?;
    let mut config = Config::load(&args.dir.join(CONFIG), &handlers.kinds())?;
    let configured = config.ingest.listen;
    config.ingest.listen = args.listen.unwrap_or(configured);
    loopback_only(config.ingest.listen)?;
    log.begin(logging, &config.log)
        .context("cannot start the log")?;
    let listening = roles::listen(&config).await?;
    let address = listening.listener.tcp.local_addr()?;
    let elsewhere = elsewhere(&args.dir, configured, address);
    for (_, path) in compose::sqlite_files(&config) {
        hookbox_driver_sqlite::migrate(compose::sqlite_options(&config, path)).await?;
    }
    let tasks = TaskTracker::new();
    let shutdown = signals::drain_at_hangup(&tasks, signals::service(&tasks, log)?);
    let roles = Roles {
        ingest: true,
        worker: Some(WorkerRole::of_all_routes(handlers)),
    };
    let Some(opened) = roles::open(&config, &roles, shutdown, log).await? else {
        return Ok(exit::OK);
    };
    if json {
        print::text(&greeting_json(&args.dir, address))?;
    } else {
        print::text(&greeting(&args.dir, address, &elsewhere))?;
        if config.is_one_file() {
            print::text(ONE_FILE)?;
        }
    }
    roles::serve_roles(config, opened, Some(listening), None).await
}

fn loopback_only(listen: SocketAddr) -> anyhow::Result<()> {
    if !listen.ip().is_loopback() {
        bail!(
            "{listen} is not loopback, and `hookbox dev` must not be reached from elsewhere: it \
             has a development key and no TLS; write a config instead (see docs/CONFIG.md)"
        );
    }
    Ok(())
}

/// Creates the folder, the keys and the config; existing ones are left unchanged. An identity key
/// is created only for new databases, because the ids of events that were stored without a key
/// cannot be changed.
fn prepare(args: &DevArgs) -> anyhow::Result<()> {
    let dir = &args.dir;
    let making = |what: &str| format!("cannot create {what} in {}", dir.display());
    if !dir.is_dir() {
        // Only the owner may enter the folder, because the database will contain personal data.
        fs::DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(dir)
            .with_context(|| making("the folder"))?;
    }
    let key = dir.join(KEY);
    if !key.exists() {
        let mut bytes = [0; 32];
        SystemRng.fill(&mut bytes);
        write_new(&key, &hex::encode(bytes)).with_context(|| making("the key"))?;
    }
    let config = dir.join(CONFIG);
    if !config.exists() {
        // A store file without a broker file beside it comes from an earlier version of hookbox,
        // which kept its queues in the store file.
        let is_one_file = dir.join(STORE).exists() && !dir.join(BROKER).exists();
        let broker = if is_one_file { STORE } else { BROKER };
        let is_new = !dir.join(STORE).exists() && !dir.join(BROKER).exists();
        let identity = dir.join(IDENTITY_KEY);
        if is_new && !identity.exists() {
            write_new(&identity, &identity_key(&SystemRng))
                .with_context(|| making("the identity key"))?;
        }
        let text = config_text(args.listen.unwrap_or(LISTEN), broker, identity.exists());
        write_new(&config, &text).with_context(|| making("the config"))?;
    }
    Ok(())
}

/// Creates a file that only its owner may read. The text is first written under another name, so
/// that an interrupted write leaves no part of the text under this name, which later starts would
/// keep. An existing file is an error, and is never replaced.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let part = part_of(path);
    // An earlier process with the same number may have been killed while it wrote the text.
    match fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let written = write_part(&part, text).and_then(|()| fs::hard_link(&part, path));
    let removed = fs::remove_file(&part);
    written.and(removed)
}

/// Returns the name under which this process writes the text of a new file.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".part-{}", std::process::id()));
    PathBuf::from(name)
}

fn write_part(part: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn config_text(listen: SocketAddr, broker: &str, is_keyed: bool) -> String {
    let identity = if is_keyed {
        format!("[identity]\nkey = {{ file = \"{IDENTITY_KEY}\" }}\n\n")
    } else {
        String::new()
    };
    format!(
        r##"# Made by `hookbox dev`. Every key is explained in docs/CONFIG.md.
environment = "dev"

[store]
url = "sqlite:{STORE}"

[broker]
url = "sqlite:{broker}"

{identity}[ingest]
listen = "{listen}"

[[source]]
name = "begini"
preset = "begini"
secrets = [{{ id = "dev", file = "{KEY}" }}]

[[route]]
name = "scores"
topics = ["begini.*_score.complete"]
handler = {{ kind = "begini" }}

[[route]]
name = "applications"
topics = ["begini.application.*"]
handler = {{ kind = "begini" }}
"##
    )
}

/// The body of an example event. It is printed in single quotes and contains no single quote, so
/// every shell accepts it.
const EXAMPLE: &str = concat!(
    r#"{"uid":"APPLICANT-0001","integration_id":"12345678901234567890","#,
    r#""event":{"type":"psychometric_score.complete","details":{"#,
    r#""application_started_at":1764000000,"application_completed_at":1764000600,"#,
    r#""scored_at":1764000601,"platform":"WEB","calculated":{"score":712,"risk_band":"B","#,
    r#""score_confidence":"0.333333333333333","#,
    r#""traits":[{"key":"planning","value":"0.71","risk_band":"B"}]}}}}"#,
);

/// The text that is printed when the config names one file for the store and the broker.
const ONE_FILE: &str = "\
Store and broker share one file, as the config says. A folder that `hookbox dev` creates now has two
files, so that accepting an event does not wait while a handler writes.

";

/// Returns the text that is printed once the server listens. `elsewhere` contains the arguments
/// with which the commands `send` and `generate` find this config and this server.
fn greeting(dir: &Path, address: SocketAddr, elsewhere: &str) -> String {
    let key = dir.join(KEY);
    let (dir, key) = (dir.display(), key.display());
    // The program's path as it was called: after `cargo run` the program is not in the PATH.
    let hookbox = std::env::args().next().unwrap_or("hookbox".into());
    format!(
        "
hookbox listens on http://{address}/hooks/begini
  development key: {key}
  config and data: {dir}

Send one signed event (paste this into a second terminal, in this folder):

  BODY='{EXAMPLE}'; curl -sS http://{address}/hooks/begini -H 'Content-Type: application/json' \
-H \"X-Signature: $(printf %s \"$BODY\" | openssl dgst -sha512 -hmac \"$(cat '{key}')\" -r | cut -d' ' -f1)\" \
-d \"$BODY\"

Without curl:
  {hookbox} send{elsewhere}
Many, with duplicates and forgeries among them:
  {hookbox} generate{elsewhere}

Stop with Ctrl-C.

"
    )
}

/// Returns the greeting as JSON, for a program that reads it.
fn greeting_json(dir: &Path, address: SocketAddr) -> String {
    let greeting = serde_json::json!({
        "url": format!("http://{address}/hooks/begini"),
        "key": dir.join(KEY),
        "config": dir.join(CONFIG),
    });
    format!("{greeting}\n")
}

/// Returns the arguments that `send` and `generate` need here: the path of a config that is not in
/// the usual folder, and an address that differs from the config's.
fn elsewhere(dir: &Path, listen: SocketAddr, address: SocketAddr) -> String {
    let mut arguments = String::new();
    if dir != Path::new(FOLDER) {
        arguments.push_str(&format!(" --config '{}'", dir.join(CONFIG).display()));
    }
    if listen != address {
        arguments.push_str(&format!(" --url http://{address}"));
    }
    arguments
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use hookbox_config::IdentityConfig;

    use super::*;

    #[test]
    fn a_new_file_is_whole_or_absent() {
        let name = format!("hookbox-dev-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("key");
        // A process that was killed has left a part of the text.
        fs::write(part_of(&path), "the te").unwrap();
        write_new(&path, "the text").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "the text");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let error = write_new(&path, "another text").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "the text");
        // The text cannot be written, because a folder has the name of its part.
        let other = folder.join("other");
        fs::create_dir(part_of(&other)).unwrap();
        assert!(write_new(&other, "the text").is_err());
        assert!(!other.exists());
        fs::remove_dir(part_of(&other)).unwrap();
        let left = fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path());
        assert_eq!(left.collect::<Vec<_>>(), [path]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_example_can_be_pasted_and_keeps_to_its_schema() {
        // The example body is printed between single quotes, so it must contain no single quote.
        assert!(!EXAMPLE.contains('\''));
        let example: serde_json::Value = serde_json::from_str(EXAMPLE).unwrap();
        let (_, schema) = hookbox_handlers::begini_schemas()
            .into_iter()
            .find(|(name, _)| *name == example["event"]["type"])
            .unwrap();
        let schema = serde_json::from_str(schema).unwrap();
        assert!(jsonschema::is_valid(&schema, &example));
    }

    #[test]
    fn the_config_that_is_made_can_be_used() {
        for (broker, is_one_file, is_keyed) in [
            (BROKER, false, true),
            (BROKER, false, false),
            (STORE, true, false),
        ] {
            let text = config_text(LISTEN, broker, is_keyed);
            let text = text.replace("file = \"begini.key\"", "env = \"KEY\"");
            let text = text.replace("file = \"identity.key\"", "env = \"IDENTITY\"");
            let env = |name: &str| match name {
                "KEY" => Some("a-key-for-tests".to_owned()),
                "IDENTITY" => Some(identity_key(&SystemRng)),
                _ => None,
            };
            let now = hookbox_event::Timestamp::from_unix_micros(0);
            let config = Config::parse(Path::new("hookbox.toml"), &text, &env, now);
            let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
            assert_eq!(config.ingest.listen, LISTEN);
            assert_eq!(config.routes.len(), 3);
            assert_eq!(config.is_one_file(), is_one_file);
            let found = matches!(config.identity, IdentityConfig::Keyed(_));
            assert_eq!(found, is_keyed);
        }
    }

    #[test]
    fn other_commands_get_only_the_arguments_that_they_need() {
        let arguments =
            |dir: &str, address: &str| elsewhere(Path::new(dir), LISTEN, address.parse().unwrap());
        assert_eq!(arguments(FOLDER, "127.0.0.1:8080"), "");
        assert_eq!(
            arguments("other", "127.0.0.1:9"),
            " --config 'other/hookbox.toml' --url http://127.0.0.1:9"
        );
    }
}
