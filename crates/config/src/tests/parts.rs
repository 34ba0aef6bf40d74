//! Tests which mistakes make only one reloadable part of a config invalid, and which make all of it
//! invalid.

use std::process::Command;

use super::key_files::Folder;
use super::*;

const TEXT: &str = r#"
environment = "sandbox"
[store]
url = { file = "store" }
[broker]
url = "sqlite:b.db"
[ingest]
tls = { certificate = "cert.pem", key = "key.pem" }
[log]
filter = "info"
[[source]]
name = "one"
preset = "begini"
schemas = "schemas"
secrets = [{ id = "a", file = "one" }, { id = "b", file = "other" }]
[[source]]
name = "two"
preset = "standard-webhooks"
secrets = [{ id = "a", file = "two" }]
"#;

/// Returns a folder in which every file that the config names is valid.
fn folder(test: &str) -> Folder {
    let folder = Folder::new(test);
    for (name, text) in [
        ("store", "sqlite:s.db"),
        ("cert.pem", "a certificate"),
        ("key.pem", "a key"),
        ("one", "a-key-of-thirty-two-random-bytes"),
        ("other", "the-other-key-of-thirty-two-bytes"),
        ("two", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"),
    ] {
        folder.write(name, text.as_bytes(), 0o600);
    }
    std::fs::create_dir(folder.0.join("schemas"))
        .expect("creating the folder of schemas must succeed");
    folder
}

/// How the test breaks a file that the config names.
enum Fault {
    Absent,
    /// A folder in the place of the file, which is not a regular file.
    Folder,
    Pipe,
    Text(&'static str),
}

fn break_file(folder: &Folder, name: &str, fault: &Fault) {
    let path = folder.0.join(name);
    if path.is_dir() {
        std::fs::remove_dir(&path).expect("removed");
    } else {
        std::fs::remove_file(&path).expect("removed");
    }
    match fault {
        Fault::Absent => {}
        Fault::Folder => std::fs::create_dir(&path).expect("made"),
        Fault::Pipe => {
            let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo");
            assert!(made.success());
        }
        Fault::Text(text) => folder.write(name, text.as_bytes(), 0o600),
    }
}

/// Returns cases: a file, how it is broken, the part that becomes invalid, and the reason.
fn faults() -> Vec<(&'static str, Fault, Part, &'static str)> {
    let one = || Part::Keys("one".to_owned());
    let two = || Part::Keys("two".to_owned());
    let schemas = || Part::Schemas("one".to_owned());
    vec![
        (
            "one",
            Fault::Absent,
            one(),
            "secrets[0]: the referenced file cannot be found",
        ),
        ("one", Fault::Folder, one(), "one is a folder"),
        ("other", Fault::Pipe, one(), "other is a named pipe"),
        (
            "one",
            Fault::Text(" \n"),
            one(),
            "the referenced value is empty",
        ),
        ("one", Fault::Text("a-key"), one(), "shorter than 8 bytes"),
        ("two", Fault::Text("whsec_MDEyMzQ1N"), two(), "not base64"),
        (
            "cert.pem",
            Fault::Absent,
            Part::Certificate,
            "cert.pem cannot be found",
        ),
        (
            "cert.pem",
            Fault::Pipe,
            Part::Certificate,
            "cert.pem: this is a named pipe",
        ),
        (
            "key.pem",
            Fault::Absent,
            Part::Certificate,
            "ingest.tls.key: the referenced file cannot be found",
        ),
        (
            "key.pem",
            Fault::Folder,
            Part::Certificate,
            "key.pem is a folder",
        ),
        (
            "schemas",
            Fault::Absent,
            schemas(),
            "schemas is not a folder",
        ),
        (
            "schemas",
            Fault::Text("{}"),
            schemas(),
            "schemas is not a folder",
        ),
        (
            "store",
            Fault::Absent,
            Part::Servers,
            "store.url: the referenced file cannot be found",
        ),
    ]
}

#[test]
fn a_file_that_is_broken_refuses_its_part_alone() {
    for (file, fault, part, why) in faults() {
        let folder = folder("parts");
        let path = folder.0.join("hookbox.toml");
        let parse = || Config::parse_parts(&path, TEXT, Needs::ALL, &HandlerKinds::built_in(), NOW);
        let (_, whole) = parse().unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert!(whole.is_empty(), "{whole:?}");
        break_file(&folder, file, &fault);
        let (config, parts) = parse().unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let broken: Vec<(&Part, String)> = parts.iter().collect();
        let [(found, said)] = &broken[..] else {
            panic!("{file}: {broken:?}")
        };
        assert_eq!(**found, part, "{said}");
        assert!(said.contains(why), "{said}");
        let is_whole = |name: &str| parts.why(&Part::Keys(name.to_owned())).is_none();
        let sources = config.sources.iter();
        let whole = sources.filter(|source| is_whole(source.name.as_str()));
        assert!(whole.map(|source| source.keys.len()).sum::<usize>() > 0);
        // Only a running service can use a config with a broken part: starting a service with it is
        // refused.
        let refused = Config::parse(&path, TEXT, &env, NOW).err();
        assert_eq!(
            refused
                .expect("a start with a broken part must be refused")
                .line(),
            *said
        );
    }
}

#[test]
fn what_is_written_wrong_refuses_its_part_or_all() {
    let folder = folder("written-wrong");
    let path = folder.0.join("hookbox.toml");
    let parse = |from: &str, to: &str| -> Result<Vec<Part>, String> {
        assert!(TEXT.contains(from), "{from}");
        let text = TEXT.replacen(from, to, 1);
        match Config::parse_parts(&path, &text, Needs::ALL, &HandlerKinds::built_in(), NOW) {
            Ok((_, parts)) => Ok(parts.iter().map(|(part, _)| part.clone()).collect()),
            Err(mistakes) => Err(mistakes.line()),
        }
    };
    let (one, two) = (Part::Keys("one".to_owned()), Part::Keys("two".to_owned()));
    let until = "file = \"one\", until = \"tomorrow\"";
    assert_eq!(parse("file = \"one\"", until), Ok(vec![one.clone()]));
    let unknown = "file = \"two\", value = \"x\"";
    assert_eq!(parse("file = \"two\"", unknown), Ok(vec![two]));
    assert_eq!(parse("id = \"b\"", "id = \"a\""), Ok(vec![one]));
    let text = "certificate = \"-----BEGIN CERTIFICATE-----\"";
    let certificate = parse("certificate = \"cert.pem\"", text);
    assert_eq!(certificate, Ok(vec![Part::Certificate]));
    let filter = parse("filter = \"info\"", "filter = \"a=loud\"");
    assert_eq!(filter, Ok(vec![Part::Filter]));
    let url = parse("\"sqlite:b.db\"", "\"sqlite:\"");
    assert_eq!(url, Ok(vec![Part::Servers]));
    for (from, to) in [
        ("[log]", "[logs]"),
        ("environment = \"sandbox\"", "drain = \"1 h\""),
        ("preset = \"begini\"", "preset = \"begini\"\ntopic = \"no\""),
        ("secrets = [", "secret = ["),
        ("[ingest]", "[ingest"),
    ] {
        assert!(parse(from, to).is_err(), "{to}");
    }
}
