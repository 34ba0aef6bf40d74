//! Tests files with secrets (bounded in size, regular, readable by few), and secrets that were
//! written in the place of a name.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::*;

/// A temporary folder for one test, which is removed when dropped.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(test: &str) -> Self {
        let name = format!("hookbox-key-files-{}-{test}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("creating the temporary folder must succeed");
        Self(folder)
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8], mode: u32) {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("written");
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, mode).expect("set");
    }

    /// Returns the warnings about a config that reads its first key from this file. If the config
    /// is refused, returns its mistakes as an error. The positions in the config are removed from
    /// all texts.
    fn says(&self, file: &str) -> Result<Vec<String>, Vec<String>> {
        let text = GOOD.replacen("env = \"KEY\"", &format!("file = {file}"), 1);
        self.says_of("source[0].secrets[0]: ", &text)
    }

    /// Returns the warnings about a config whose listener has this private key. If the config is
    /// refused, returns its mistakes as an error.
    fn says_of_listener(&self, key: &str) -> Result<Vec<String>, Vec<String>> {
        let tls = format!("connections = 100\ntls = {{ certificate = \"cert\", key = {key} }}\n");
        let text = GOOD.replacen("connections = 100\n", &tls, 1);
        self.says_of("ingest.tls.key: ", &text)
    }

    fn says_of(&self, at: &str, text: &str) -> Result<Vec<String>, Vec<String>> {
        let place = |line: &str| {
            let rest = line.split_once(at);
            rest.unwrap_or_else(|| panic!("{line}")).1.to_owned()
        };
        match Config::parse(&self.0.join("hookbox.toml"), text, &env, NOW) {
            Ok(config) => Ok(config.warnings.iter().map(|line| place(line)).collect()),
            Err(mistakes) => Err(mistakes.to_string().lines().map(place).collect()),
        }
    }

    fn make_pipe(&self) {
        let pipe = self.0.join("pipe");
        let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
        assert!(made.success());
    }

    fn refuses(&self, file: &str) -> String {
        let refused = self
            .says(file)
            .expect_err("a config with this key file must be refused");
        assert_eq!(refused.len(), 1, "{refused:?}");
        refused[0].clone()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const KEY: &[u8] = b"a-key-of-thirty-two-random-bytes\n";

/// A named pipe and a device are refused before they are opened: reading a pipe would block, and
/// reading a device would never end. If a file is too large, only its first bytes are read.
#[test]
fn what_is_no_file_is_refused_unread() {
    let folder = Folder::new("no-file");
    folder.make_pipe();
    folder.write("large", &vec![b'k'; 16 * 1024 + 1], 0o600);
    folder.write("bytes", b"\xff\xfe\xff\xfe\xff\xfe\xff\xfe", 0o600);
    for (file, why) in [
        ("\"pipe\"", "/pipe is a named pipe"),
        ("\"/dev/zero\"", "/dev/zero is a device"),
        ("\".\"", "is a folder"),
        ("\"large\"", "/large is larger than 16 KiB"),
        ("\"bytes\"", "/bytes is not text in UTF-8"),
    ] {
        let refused = folder.refuses(file);
        assert!(refused.contains(why), "{file}: {refused}");
    }
    folder.write("largest", &vec![b'k'; 16 * 1024], 0o600);
    assert_eq!(folder.says("\"largest\""), Ok(vec![]));
}

#[test]
fn a_file_that_others_can_read_is_warned_of() {
    let folder = Folder::new("mode");
    for (mode, warned) in [
        (0o400, false),
        (0o600, false),
        (0o640, false),
        (0o700, false),
        (0o644, true),
        (0o660, true),
        (0o604, true),
        (0o777, true),
    ] {
        folder.write("key", KEY, mode);
        let said = folder.says("\"key\"").expect("the config must load");
        assert_eq!(said.len(), usize::from(warned), "{mode:o}: {said:?}");
        for warning in said {
            assert!(warning.contains(&format!("{mode:04o}")) && warning.contains("0640"));
        }
        assert_eq!(folder.says("\"key\", mode = \"any\""), Ok(vec![]));
    }
    let refused = folder.refuses("\"key\", env = \"KEY\"");
    assert_eq!(refused, "the reference must name either env or file");
    // A file that contains a URL is also a secret, so its mode must cause a warning.
    folder.write("store", b"postgres://u:hunter2@localhost/db", 0o644);
    let text = GOOD.replace("env = \"DATABASE_URL\"", "file = \"store\"");
    let config = Config::parse(&folder.0.join("hookbox.toml"), &text, &env, NOW);
    let warnings = config
        .unwrap_or_else(|mistakes| panic!("{mistakes}"))
        .warnings;
    assert!(
        warnings.len() == 1 && warnings[0].contains("store.url"),
        "{warnings:?}"
    );
    check(
        &GOOD.replacen("env = \"KEY\"", "env = \"KEY\", mode = \"any\"", 1),
        expect![[r#"
            hookbox.toml:27:12: source[0].secrets[0]: mode applies only to file: an environment variable has no mode
        "#]],
    );
}

/// The listener's private key is a secret too, and its file may also contain the certificate chain.
#[test]
fn the_key_of_the_listener_is_read_as_other_secrets_are() {
    let folder = Folder::new("listener");
    folder.make_pipe();
    folder.write("cert", b"", 0o644);
    folder.write("large", &vec![b'k'; 64 * 1024 + 1], 0o600);
    for (file, why) in [
        ("\"pipe\"", "/pipe is a named pipe"),
        ("\"/dev/zero\"", "/dev/zero is a device"),
        ("\".\"", "is a folder"),
        ("\"large\"", "/large is larger than 64 KiB"),
        ("\"hunter2\"", "the referenced file cannot be found"),
    ] {
        let refused = folder
            .says_of_listener(file)
            .expect_err("a config with this private key must be refused");
        let [refused] = &refused[..] else {
            panic!("{file}: {refused:?}")
        };
        assert!(refused.contains(why), "{file}: {refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
    folder.write("largest", &vec![b'k'; 64 * 1024], 0o600);
    assert_eq!(folder.says_of_listener("\"largest\""), Ok(vec![]));
    for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true), (0o660, true)] {
        folder.write("key", KEY, mode);
        let said = folder
            .says_of_listener("\"key\"")
            .expect("the config must load");
        assert_eq!(said.len(), usize::from(warned), "{mode:o}: {said:?}");
        for warning in said {
            assert!(warning.contains(&format!("{mode:04o}")) && warning.contains("0640"));
        }
        assert_eq!(
            folder.says_of_listener("\"key\", mode = \"any\""),
            Ok(vec![])
        );
    }
}

/// The certificate is not a secret, so its path is shown.
#[test]
fn what_is_no_file_is_refused_as_a_certificate() {
    let folder = Folder::new("certificate");
    folder.make_pipe();
    folder.write("key", KEY, 0o600);
    for (file, why) in [
        ("pipe", "pipe: this is a named pipe"),
        ("/dev/zero", "/dev/zero: this is a device"),
        (".", "this is a folder"),
        ("absent", "absent cannot be found"),
    ] {
        let tls = format!("tls = {{ certificate = \"{file}\", key = \"key\" }}\n");
        let text = GOOD.replacen("[worker]\n", &format!("{tls}[worker]\n"), 1);
        let refused = folder.says_of("ingest.tls.certificate: ", &text);
        let refused = refused.expect_err("a config with this certificate must be refused");
        assert!(
            refused.len() == 1 && refused[0].contains(why),
            "{refused:?}"
        );
    }
}

/// If a secret was written where the config expects the name of a variable or the path of a file,
/// no message repeats the secret.
#[test]
fn a_name_that_leads_nowhere_is_not_shown() {
    let folder = Folder::new("echo");
    for secret in ["hunter2", "hunter2/with/slashes", &"hunter2".repeat(100)] {
        let refused = folder.refuses(&format!("\"{secret}\""));
        assert!(!refused.contains("hunter2"), "{refused}");
        assert!(
            refused.contains("the referenced file cannot be found"),
            "{refused}"
        );
    }
    for text in [
        GOOD.replacen("env = \"KEY\"", "env = \"hunter2\"", 1),
        GOOD.replacen("env = \"DATABASE_URL\"", "env = \"hunter2\"", 1),
        GOOD.replacen("env = \"AMQP_URL\"", "file = \"amqp://u:hunter2@h/v\"", 1),
        GOOD.replace(
            "connections = 100\n",
            "connections = 100\ntls = { certificate = \"Cargo.toml\", key = \"hunter2\" }\n",
        ),
    ] {
        let message = Config::parse(Path::new("hookbox.toml"), &text, &env, NOW);
        let message = message
            .err()
            .expect("a secret in the place of a name must be refused")
            .to_string();
        assert!(!message.contains("hunter2"), "{message}");
    }
}
