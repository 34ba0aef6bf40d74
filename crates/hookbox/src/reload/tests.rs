//! Tests what a reload keeps of running sources when the config has changed.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookbox_config::HandlerKinds;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;
use crate::{compose, tls};

const HEAD: &str = r#"
environment = "test"
[store]
url = "sqlite:a"
[broker]
url = "sqlite:a"
"#;

fn source(name: &str) -> String {
    format!(
        "[[source]]\nname = {name:?}\npreset = \"begini\"\nschemas = {name:?}\n\
         secrets = [{{ id = \"a\", file = \"{name}.key\" }}]\n"
    )
}

/// Makes a new folder with a config of two sources.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("hookbox-{name}-{}", std::process::id()));
    for source in ["one", "two", "three"] {
        std::fs::create_dir_all(folder.join(source)).unwrap();
        std::fs::write(folder.join(source).join("a.json"), "{}").unwrap();
        let key = format!("a-key-for-tests-of-{source}");
        std::fs::write(folder.join(format!("{source}.key")), key).unwrap();
    }
    write(&folder, &[&source("one"), &source("two")]);
    folder
}

fn write(folder: &Path, sources: &[&str]) {
    let text = format!("{HEAD}{}", sources.concat());
    std::fs::write(folder.join("hookbox.toml"), text).unwrap();
}

/// Returns a reloader of a worker that runs with the config in the folder, and the JSON Schemas
/// that the reloader replaces.
fn worker(folder: &Path) -> (Reloader, SourceSchemas) {
    let config = Config::load(&folder.join("hookbox.toml"), &HandlerKinds::built_in()).unwrap();
    let schemas = SourceSchemas::new(compose::schemas(&config).unwrap());
    let mut targets = Targets::new(Log::default());
    targets.schemas = Some(schemas.clone());
    (Reloader::new(config, targets), schemas)
}

fn types(schemas: &SourceSchemas, source: &str) -> Option<Vec<String>> {
    let schemas = schemas.of(&source.parse().unwrap())?;
    Some(schemas.types().map(str::to_owned).collect())
}

/// Checks the files twice, because a changed file is read only once two consecutive checks find it
/// in the same state.
fn check_files(reloader: &mut Reloader) {
    for _ in 0..2 {
        reloader.check_files(SystemClock.now());
    }
}

#[test]
fn a_running_source_keeps_its_schemas_when_it_leaves_the_config() {
    let folder = folder("gone");
    let (mut reloader, schemas) = worker(&folder);
    check_files(&mut reloader);
    write(&folder, &[&source("one"), &source("three")]);
    reloader.reload(SystemClock.now());
    let first = Some(vec!["a".to_owned()]);
    assert_eq!(types(&schemas, "one"), first);
    assert_eq!(
        types(&schemas, "two"),
        first,
        "a source that left the config must keep its schemas until a restart"
    );
    assert_eq!(
        types(&schemas, "three"),
        None,
        "a source that is new in the config must have no schemas before a restart"
    );
    // The files of the removed source are still in use, so a change of them is reloaded.
    std::fs::write(folder.join("two/b.json"), "{}").unwrap();
    check_files(&mut reloader);
    let both = Some(vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(types(&schemas, "two"), both);
    std::fs::remove_dir_all(folder.join("two")).unwrap();
    std::fs::write(folder.join("one/b.json"), "{}").unwrap();
    check_files(&mut reloader);
    assert_eq!(
        types(&schemas, "two"),
        both,
        "schemas of source two that cannot be read must stay as they were"
    );
    assert_eq!(
        types(&schemas, "one"),
        both,
        "the schemas of source one must be reloaded nevertheless"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn schemas_that_change_before_the_first_check_are_reported() {
    let folder = folder("before-the-first-check");
    let config = Config::load(&folder.join("hookbox.toml"), &HandlerKinds::built_in()).unwrap();
    let schemas = SourceSchemas::new(compose::schemas(&config).unwrap());
    std::fs::write(folder.join("one").join("b.json"), "{}").unwrap();
    let mut targets = Targets::new(Log::default());
    targets.schemas = Some(schemas.clone());
    let mut reloader = Reloader::new(config, targets);
    let said = reloader.exchange_schemas(&BrokenParts::default(), &BTreeSet::new());
    let expected = "new JSON Schemas are in use for one";
    assert_eq!(said.as_deref(), Some(expected));
    let both = Some(vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(types(&schemas, "one"), both);
    let said = reloader.exchange_schemas(&BrokenParts::default(), &BTreeSet::new());
    assert_eq!(
        said, None,
        "schemas that stay the same must not be reported"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn schemas_of_one_source_that_cannot_be_used_keep_no_other_source_from_theirs() {
    let folder = folder("apart");
    let (mut reloader, schemas) = worker(&folder);
    let (two, elsewhere) = (folder.join("two"), folder.join("elsewhere"));
    let first = Some(vec!["a".to_owned()]);
    for (number, kind) in [
        "absent",
        "a file",
        "not JSON",
        "unreadable",
        "a pipe",
        "no file",
    ]
    .iter()
    .enumerate()
    {
        std::fs::rename(&two, &elsewhere).unwrap();
        if *kind != "absent" && *kind != "a file" {
            std::fs::create_dir(&two).unwrap();
        }
        match *kind {
            "a file" => std::fs::write(&two, "{}").unwrap(),
            "not JSON" => std::fs::write(two.join("a.json"), "{\"type\":").unwrap(),
            "unreadable" => std::fs::create_dir(two.join("a.json")).unwrap(),
            "a pipe" => {
                let pipe = std::process::Command::new("mkfifo")
                    .arg(two.join("a.json"))
                    .status();
                assert!(pipe.unwrap().success());
            }
            _ => {}
        }
        let added = format!("more-{number}");
        std::fs::write(folder.join(format!("one/{added}.json")), "{}").unwrap();
        reloader.reload(SystemClock.now());
        let of_one = types(&schemas, "one").unwrap();
        assert!(of_one.contains(&added), "{kind}: {of_one:?}");
        assert_eq!(types(&schemas, "two"), first, "{kind}");
        assert!(reloader.broken.schemas.is_unusable, "{kind}");
        // The schema folder of source two is valid again, and contains one more file.
        let _ = std::fs::remove_dir_all(&two);
        let _ = std::fs::remove_file(&two);
        std::fs::rename(&elsewhere, &two).unwrap();
        let again = two.join(format!("{added}.json"));
        std::fs::write(&again, "{}").unwrap();
        check_files(&mut reloader);
        assert!(types(&schemas, "two").unwrap().contains(&added), "{kind}");
        assert!(!reloader.broken.schemas.is_unusable, "{kind}");
        std::fs::remove_file(&again).unwrap();
        check_files(&mut reloader);
        assert_eq!(types(&schemas, "two"), first, "{kind}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// If the value of `schemas` is wrong, the JSON Schemas of the preset must not be used instead.
#[test]
fn schemas_that_are_written_wrong_stay_as_they_were() {
    let folder = folder("wrong");
    let (mut reloader, schemas) = worker(&folder);
    let wrong = source("two").replace("schemas = \"two\"", "schemas = 3");
    write(&folder, &[&source("one"), &wrong]);
    std::fs::write(folder.join("one/b.json"), "{}").unwrap();
    reloader.reload(SystemClock.now());
    let (first, both) = (vec!["a".to_owned()], vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(types(&schemas, "two"), Some(first.clone()));
    assert_eq!(types(&schemas, "one"), Some(both));
    std::fs::remove_file(folder.join("one/b.json")).unwrap();
    check_files(&mut reloader);
    assert_eq!(types(&schemas, "two"), Some(first.clone()));
    assert_eq!(types(&schemas, "one"), Some(first));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_source_that_differs_keeps_the_schemas_that_it_runs_with() {
    let folder = folder("differs");
    let (mut reloader, schemas) = worker(&folder);
    // The new config gives source two another preset, `github`, and no folder of JSON Schemas. A
    // preset is only exchanged by a restart, so the source still runs as `begini` and keeps its
    // JSON Schemas.
    let other = source("two").replace("\"begini\"", "\"github\"");
    write(
        &folder,
        &[&source("one"), &other.replace("schemas = \"two\"\n", "")],
    );
    reloader.reload(SystemClock.now());
    let first = Some(vec!["a".to_owned()]);
    assert_eq!(types(&schemas, "two"), first);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A writer that collects what is logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns what is logged while `work` runs.
fn logged(work: impl FnOnce()) -> String {
    let lines = Logged::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// Writes a certificate that is valid from the beginning of this year on, and its key.
fn write_certificate(folder: &Path, year: i32) {
    let mut params = CertificateParams::new(["hooks.example".to_owned()]).unwrap();
    params.not_before = date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let text = pem("CERTIFICATE", certificate.der());
    std::fs::write(folder.join("cert.pem"), text).unwrap();
    let text = pem("PRIVATE KEY", &key.serialize_der());
    std::fs::write(folder.join("key.pem"), text).unwrap();
}

/// Returns the time so many seconds after the beginning of the year 2100.
fn in_2100(seconds: i64) -> Timestamp {
    let begin = Timestamp::parse_rfc3339("2100-01-01T00:00:00Z").unwrap();
    Timestamp::from_unix_micros(begin.unix_micros() + seconds * 1_000_000)
}

/// A renewed certificate may be valid only some seconds after it was written. Then no file changes
/// when it becomes valid.
#[test]
fn a_certificate_that_was_not_valid_yet_is_used_although_no_file_changes() {
    let folder = folder("not-valid-yet");
    write_certificate(&folder, 2000);
    let listener = "[ingest]\ntls = { certificate = \"cert.pem\", key = \"key.pem\" }\n";
    write(&folder, &[listener, &source("one")]);
    let config = Config::load(&folder.join("hookbox.toml"), &HandlerKinds::built_in()).unwrap();
    let (_, certificate) = tls::acceptor(&config).unwrap().unwrap();
    let mut targets = Targets::new(Log::default());
    targets.certificate = Some(Arc::clone(&certificate));
    let mut reloader = Reloader::new(config, targets);
    let mut check = |seconds: &[i64]| {
        logged(|| {
            for &seconds in seconds {
                reloader.check_files(in_2100(seconds));
            }
        })
    };
    assert_eq!(check(&[-104, -102]), "");
    write_certificate(&folder, 2100);
    let said = check(&[-100, -98]);
    assert!(said.contains("the certificate stays as it was"), "{said}");
    // The certificate is read again every 30 seconds, and its reason is logged already.
    assert_eq!(check(&[-96, -68, -66, -38, -8, 0, 2]), "");
    let said = check(&[22]);
    let used = "a file that could not be used was read again: new connections get the certificate";
    assert!(said.contains(used), "{said}");
    assert_eq!(check(&[24, 54, 84]), "");
    assert!(!reloader.broken.any());
    let renewed = tls::read(&reloader.config, in_2100(22)).unwrap().unwrap();
    assert!(
        !certificate.replace(renewed),
        "the certificate in the file must be in use"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}
