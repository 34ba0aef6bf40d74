//! Reloads of the config, after SIGHUP or because a file has changed, while one of the files that
//! the config names is broken. An error must name this file, and its old content must stay in use.
//! Everything else must be renewed.

use crate::two_sources::{FIRST_KEY, Others, TwoSources, second_key};

/// A function that breaks one file of the service.
type Break = fn(&TwoSources);

/// For each way in which a certificate or its key can be broken: a name, the function that breaks
/// it, and what the log then says.
const BROKEN_CERTIFICATES: [(&str, Break, &str); 9] = [
    (
        "no certificate",
        |it| it.remove("cert.pem"),
        "cert.pem cannot be found",
    ),
    (
        "no key",
        |it| it.remove("key.pem"),
        "ingest.tls.key: the referenced file cannot",
    ),
    (
        "unreadable",
        |it| it.make_folder("cert.pem"),
        "cert.pem: this is a folder",
    ),
    (
        "an unreadable key",
        |it| it.make_folder("key.pem"),
        "key.pem is a folder",
    ),
    (
        "a pipe",
        |it| it.make_pipe("cert.pem"),
        "cert.pem: this is a named pipe",
    ),
    (
        "a pipe as key",
        |it| it.make_pipe("key.pem"),
        "key.pem is a named pipe",
    ),
    (
        "empty",
        |it| it.write("cert.pem", ""),
        "no certificate in PEM format",
    ),
    (
        "cut",
        |it| it.cut("cert.pem"),
        "certificate cert.pem cannot be used",
    ),
    (
        "a cut key",
        |it| it.cut("key.pem"),
        "the key key.pem cannot be used",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_key_file_keeps_only_the_keys_of_its_source() {
    let mut service = TwoSources::start().await;
    let stay = "ERROR the keys of source begini stay as they were, since hookbox.toml:";
    let mut key = FIRST_KEY.to_owned();
    let kinds: [(&str, Break, &str); 5] = [
        ("absent", |it| it.remove("key"), "cannot be found"),
        ("unreadable", |it| it.make_folder("key"), "key is a folder"),
        ("a pipe", |it| it.make_pipe("key"), "key is a named pipe"),
        ("empty", |it| it.write("key", ""), "is empty"),
        ("cut", |it| it.write("key", "the-f"), "shorter than 8 bytes"),
    ];
    for (number, (what, break_it, why)) in kinds.into_iter().enumerate() {
        break_it(&service);
        let words = [stay, "source[0].secrets[0]: ", why];
        service.keeps(Others::All, what, &key, &words).await;
        if number == 0 {
            service.keeps_by_itself(Others::All, what, &[stay]).await;
            service.is_in_use(what, &key).await;
        }
        // Now the key file becomes valid again, with another key.
        key = format!("another-key-of-begini-for-tests-{number}");
        service.begin();
        service.write("key", &key);
        if number == 0 {
            let renewed = "a file has changed: source begini has the keys test";
            service.logs(what, &[renewed]).await;
        } else {
            service.running.signal("HUP");
            service
                .logs(what, &["SIGHUP: source begini has the keys test"])
                .await;
        }
        service.is_in_use(what, &key).await;
    }
    // Now the key file is removed and no signal is sent: the service must notice the missing file
    // by itself.
    service.remove("key");
    service
        .keeps_by_itself(Others::All, "without a signal", &[stay])
        .await;
    service.is_in_use("without a signal", &key).await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_certificate_keeps_only_the_old_certificate() {
    let mut service = TwoSources::start().await;
    let stay = "ERROR the certificate stays as it was, since hookbox.toml";
    for (what, break_it, why) in BROKEN_CERTIFICATES {
        break_it(&service);
        service
            .keeps(Others::NoCertificate, what, FIRST_KEY, &[stay, why])
            .await;
        service.remove("cert.pem");
        service.remove("key.pem");
        service.begin();
        service.renew(Others::All);
        service.running.signal("HUP");
        service
            .logs(what, &["new connections get the certificate in"])
            .await;
        service.is_in_use(what, FIRST_KEY).await;
    }
    // Now the private key of the certificate is replaced by a named pipe, and no signal is sent.
    // The service must not wait for a process that writes to the pipe.
    service.make_pipe("key.pem");
    service
        .keeps_by_itself(
            Others::NoCertificate,
            "without a signal",
            &[stay, "a named pipe"],
        )
        .await;
    service.is_in_use("without a signal", FIRST_KEY).await;
    service.begin();
    service.remove("key.pem");
    service.renew(Others::All);
    service
        .logs("valid again", &["a file has changed: new connections get"])
        .await;
    service.is_in_use("valid again", FIRST_KEY).await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_schemas_keep_only_those_of_their_source() {
    let mut service = TwoSources::start().await;
    let stay = "ERROR the JSON Schemas of source begini stay as they were, since hookbox.toml";
    let kinds: [(&str, Break, &str); 4] = [
        (
            "absent",
            |it| it.remove("schemas"),
            "schemas is not a folder",
        ),
        (
            "a file",
            |it| it.write("schemas", "{}"),
            "schemas is not a folder",
        ),
        (
            "not JSON",
            |it| it.write("schemas/unknown.json", "{\"type\":"),
            "unknown.json is not JSON",
        ),
        (
            "unreadable",
            |it| it.make_folder("schemas/unknown.json"),
            "unknown.json: this is a folder",
        ),
    ];
    for (what, break_it, why) in kinds {
        break_it(&service);
        service
            .keeps(Others::All, what, FIRST_KEY, &[stay, why])
            .await;
        service.begin();
        service.make_folder("schemas");
        let schema = format!("{{\"title\":\"{what}\"}}");
        service.deployment.write("schemas/unknown.json", &schema);
        service.running.signal("HUP");
        service
            .logs(what, &["SIGHUP: new JSON Schemas are in use for begini"])
            .await;
    }
    service.remove("schemas");
    service
        .keeps_by_itself(Others::All, "without a signal", &[stay])
        .await;
    service.finish().await;
}

/// Checks an invalid log filter in the config, and then a missing file that holds the URL of the
/// store. Hookbox reads this URL only when a process starts. In both cases everything else must be
/// renewed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_and_a_url_that_are_broken_keep_nothing_else_as_it_was() {
    let mut service = TwoSources::start().await;
    let whole = service.config();
    let wrong = whole.replacen("filter = \"info\"", "filter = \"a=loud\"", 1);
    service.deployment.write("hookbox.toml", &wrong);
    let stay = "ERROR the log filter stays as it was, since hookbox.toml:";
    service
        .keeps(
            Others::All,
            "an invalid log filter",
            FIRST_KEY,
            &[stay, "log.filter: "],
        )
        .await;

    service.deployment.write("hookbox.toml", &whole);
    service.remove("store");
    let refused = [
        "WARN SIGHUP: a restart would be refused, since",
        "store.url: ",
    ];
    service
        .keeps(Others::All, "a missing file of a URL", FIRST_KEY, &refused)
        .await;
    service.deployment.write("store", "sqlite:hookbox.db");

    // From a config file that is not valid TOML hookbox can read no setting, so it must reload
    // nothing at all.
    service.begin();
    service.renew(Others::All);
    service
        .deployment
        .write("hookbox.toml", &format!("{whole}\n[ingest\n"));
    service.running.signal("HUP");
    let nothing = "ERROR SIGHUP: the config cannot be used, so nothing was reloaded: hookbox.toml:";
    service.logs("not TOML", &[nothing]).await;
    assert!(!service.deployment.log()[service.mark..].contains("SIGHUP: source"));
    service.deployment.write("hookbox.toml", &whole);
    service.finish().await;
}

/// Checks that no key ever belongs to two sources at once, even while the key file of one of them
/// cannot be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_another_source_keeps_is_not_taken() {
    let mut service = TwoSources::start().await;
    let second = second_key(service.round);
    service.remove("second");
    service.write("key", &second);
    service.begin();
    service.running.signal("HUP");
    let stay = "ERROR the keys of source begini stay as they were, since \"test\" is the same key";
    service
        .logs("a shared key", &[stay, "\"b\" of source second"])
        .await;
    assert_eq!(service.status("begini", &second).await, 403);
    service.is_in_use("a shared key", FIRST_KEY).await;
    // As soon as the files of both sources can be read, the sources exchange their keys.
    service.begin();
    service.write("second", FIRST_KEY);
    service
        .logs("exchanged keys", &["source begini has the keys test"])
        .await;
    service
        .logs("exchanged keys", &["source second has the keys b"])
        .await;
    assert_eq!(service.status("begini", &second).await, 200);
    assert_eq!(service.status("second", FIRST_KEY).await, 200);
    assert_eq!(service.status("begini", FIRST_KEY).await, 403);
    service.finish().await;
}
