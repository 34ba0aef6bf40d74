//! The target `config`: parses config files.

use std::collections::BTreeMap;
use std::path::Path;

use hookbox_config::{Config, HandlerKind, HandlerKinds, Needs, SettingsType};
use hookbox_event::Timestamp;

use super::{Target, class, shape};

/// A secret that no error may contain.
const SECRET: &str = "hunter2hunter2hunter2";

/// The settings of a handler that a user has written.
type Settings = BTreeMap<String, Vec<(Option<u8>, String)>>;

pub struct Configs {
    now: Timestamp,
    kinds: HandlerKinds,
}

impl Configs {
    pub fn new() -> Self {
        let kind = |name, settings| HandlerKind {
            name,
            postgres: Some(settings),
            sqlite: Some(settings),
        };
        Self {
            now: Timestamp::from_unix_micros(1_764_000_000_000_000),
            kinds: HandlerKinds::new(vec![
                kind("record", SettingsType::NONE),
                kind("own", SettingsType::of::<Settings>()),
            ]),
        }
    }
}

impl Target for Configs {
    fn words(&self) -> Vec<&'static [u8]> {
        vec![
            b"[store]\n",
            b"[broker]\n",
            b"[ingest]\n",
            b"[[source]]\n",
            b"[[route]]\n",
            b"url = { env = \"SECRET\" }\n",
            b"url = \"sqlite:a.db\"\n",
            b"\"hunter2hunter2hunter2\"",
            b"spool = \"sqlite:s.db\"\n",
            b"spool_max = \"1 MiB\"\n",
            b"drain = \"1 s\"\n",
            b"topics = [\"a.*\"]\n",
            b"retry = { attempts = 1 }\n",
            b"handler = { kind = \"own\", a = [[1, \"b\"]] }\n",
            b"where = [{ pointer = \"/a\", in = [1.5] }]\n",
            b"preset = \"github\"\n",
            b"\"\"\"",
            b"'''",
            b"\\u0000",
            b"inf",
            b"1979-05-27T07:32:00Z",
        ]
    }

    fn attempt(&mut self, input: &[u8]) -> Result<u64, String> {
        let Ok(text) = std::str::from_utf8(input) else {
            return Ok(0);
        };
        // This folder does not exist, so every file that the config names is missing.
        let path = Path::new("/hookbox-fuzz/hookbox.toml");
        let env = |name: &str| match name {
            "SECRET" => Some(SECRET.to_owned()),
            "BROKER" => Some(format!("amqp://u:{SECRET}@localhost")),
            "STORE" => Some(format!("postgres://u:{SECRET}@localhost/db")),
            _ => None,
        };
        match Config::parse_for(path, text, &env, Needs::ALL, &self.kinds, self.now) {
            Ok(config) => Ok(class((
                "taken",
                config.sources.len().min(3),
                config.routes.len().min(3),
                config.ingest.spool.is_some(),
                config.ingest.tls.is_some(),
            ))),
            Err(mistakes) => {
                let words = mistakes.to_string();
                // The config names environment variables, and no error may show their values. But
                // an error may quote the text of the config, so an input that contains the secret
                // itself is left out.
                if words.contains(SECRET) && !text.contains(SECRET) {
                    return Err("the error shows a secret".to_owned());
                }
                Ok(class(shape(&words)))
            }
        }
    }
}
