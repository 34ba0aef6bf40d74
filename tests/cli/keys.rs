//! `hookbox keys`, and how `check-config` and `dev` treat an identity key.

use std::os::unix::fs::PermissionsExt as _;

use crate::binary::run;
use crate::development::Development;
use crate::service::{Service, write_secret};

const SOURCE: &str = "[identity]\nkey = { file = \"identity\" }\n\
                      [[source]]\nname = \"begini\"\npreset = \"begini\"\n\
                      secrets = [{ id = \"k\", file = \"key\" }]\n";

#[test]
fn each_generated_key_is_different() {
    let here = std::env::temp_dir();
    let made = [(); 2].map(|()| run(&here, &["keys", "generate"]).well().out);
    assert_ne!(made[0], made[1]);
    for text in made {
        let digits = text.strip_suffix('\n').unwrap();
        assert_eq!(digits.len(), 64, "{text}");
        assert!(digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    }
    let json = run(&here, &["keys", "generate", "--json"]).well().json();
    assert_eq!(json["key"].as_str().unwrap().len(), 64);
    assert_eq!(json["fingerprint"].as_str().unwrap().len(), 32);
}

#[test]
fn check_config_shows_whether_ids_are_keyed() {
    let service = Service::prepare("check_config_shows_whether_ids", SOURCE);
    let made = service.run(&["keys", "generate", "--json"]).well().json();
    let key = made["key"].as_str().unwrap();
    write_secret(&service.folder().join("identity"), key);
    let checked = service.run(&["check-config", "--json"]).well();
    assert!(!checked.out.contains(key));
    assert_eq!(
        checked.json()["identity_key"],
        serde_json::json!({ "key": "hidden", "fingerprint": made["fingerprint"] })
    );

    write_secret(&service.folder().join("identity"), &key[1..]);
    let refused = service.run(&["check-config"]);
    assert_eq!(refused.code, 64, "{refused:?}");
    assert!(refused.err.contains("identity.key: "), "{refused:?}");
    assert!(!refused.err.contains(&key[1..]), "{refused:?}");

    let (_, plain) = SOURCE.split_once("\n[[source]]").unwrap();
    let plain = format!("[[source]]{plain}");
    let service = Service::prepare("check_config_shows_that_ids_are_plain", &plain);
    let checked = service.run(&["check-config", "--json"]).well().json();
    assert_eq!(checked["identity_key"], "none: ids are plain digests");
}

#[test]
fn a_new_folder_of_dev_has_a_key() {
    let development = Development::start("a_new_folder_of_dev_has_a_key");
    let file = development.folder().join(".hookbox-dev/identity.key");
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let checked = development.json(&["check-config"]);
    assert_eq!(checked["identity_key"]["key"], "hidden");
}

/// Checks that a folder of an earlier version of hookbox gets no identity key, because the ids of
/// its events were computed without one.
#[test]
fn an_existing_folder_of_dev_is_used_without_a_key() {
    let development = Development::start_in("an_existing_folder_of_dev", |folder| {
        let folder = folder.join(".hookbox-dev");
        std::fs::create_dir(&folder).unwrap();
        let config = "environment = \"dev\"\n[store]\nurl = \"sqlite:hookbox.db\"\n[broker]\n\
             url = \"sqlite:hookbox.db\"\n[[source]]\nname = \"begini\"\npreset = \"begini\"\n\
             secrets = [{ id = \"dev\", file = \"begini.key\" }]\n";
        std::fs::write(folder.join("hookbox.toml"), config).unwrap();
    });
    assert!(
        !development
            .folder()
            .join(".hookbox-dev/identity.key")
            .exists()
    );
    let checked = development.json(&["check-config"]);
    assert_eq!(checked["identity_key"], "none: ids are plain digests");
    let sent = development.generate(&["--count", "3", "--seed", "1"]);
    assert_eq!(sent.code, 0, "{sent:?}");
    development.settle();
}
