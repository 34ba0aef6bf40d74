//! Files of secrets: bounded, regular, and for few to read; and what stands in the place of a name.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::*;

/// A folder of a test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let name = format!("hookbox-key-files-{}-{test}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a folder");
        Self(folder)
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("written");
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, mode).expect("set");
    }

    /// What is said of a config whose first key is in this file, after its place: mistakes, or
    /// warnings.
    fn says(&self, file: &str) -> Result<Vec<String>, Vec<String>> {
        let text = GOOD.replacen("env = \"KEY\"", &format!("file = {file}"), 1);
        let place = |line: &str| {
            let rest = line.split_once("source[0].secrets[0]: ");
            rest.unwrap_or_else(|| panic!("{line}")).1.to_owned()
        };
        match Config::parse(&self.0.join("hookbox.toml"), &text, &env, NOW) {
            Ok(config) => Ok(config.warnings.iter().map(|line| place(line)).collect()),
            Err(mistakes) => Err(mistakes.to_string().lines().map(place).collect()),
        }
    }

    fn refuses(&self, file: &str) -> String {
        let refused = self.says(file).expect_err("it is refused");
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

/// Reading any of these would wait for ever, never end, or take all memory.
#[test]
fn what_is_no_file_is_refused_unread() {
    let folder = Folder::new("no-file");
    let pipe = folder.0.join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    folder.write("large", &vec![b'k'; 16 * 1024 + 1], 0o600);
    folder.write("bytes", b"\xff\xfe\xff\xfe\xff\xfe\xff\xfe", 0o600);
    for (file, why) in [
        ("\"pipe\"", "is a named pipe"),
        ("\"/dev/zero\"", "/dev/zero is a device"),
        ("\".\"", "is a folder"),
        ("\"large\"", "is larger than 16 KiB"),
        ("\"bytes\"", "is not text in UTF-8"),
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
        let said = folder.says("\"key\"").expect("it loads");
        assert_eq!(said.len(), usize::from(warned), "{mode:o}: {said:?}");
        for warning in said {
            assert!(warning.contains(&format!("{mode:04o}")) && warning.contains("0640"));
        }
        assert_eq!(folder.says("\"key\", mode = \"any\""), Ok(vec![]));
    }
    let refused = folder.refuses("\"key\", env = \"KEY\"");
    assert_eq!(refused, "it must name one of env and file");
    // A URL's file is a secret as well.
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
            hookbox.toml:27:12: source[0].secrets[0]: mode belongs to file: a variable has none
        "#]],
    );
}

/// Where a secret stands in the place of its name, no message repeats it.
#[test]
fn a_name_that_leads_nowhere_is_not_shown() {
    let folder = Folder::new("echo");
    for secret in ["hunter2", "hunter2/with/slashes", &"hunter2".repeat(100)] {
        let refused = folder.refuses(&format!("\"{secret}\""));
        assert!(!refused.contains("hunter2"), "{refused}");
        assert!(refused.contains("cannot be found"), "{refused}");
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
        let told = Config::parse(Path::new("hookbox.toml"), &text, &env, NOW);
        let told = told.err().expect("it is refused").to_string();
        assert!(!told.contains("hunter2"), "{told}");
    }
}
