//! How the config of a source describes its sender's signature.

use crate::service::Service;

/// Checks a provider that writes its signatures in upper-case hex.
#[test]
fn upper_case_hex_is_accepted_where_the_source_allows_it() {
    let source = "[[source]]\nname = \"pay\"\nscheme = \"hmac\"\nheader = \"X-Sig\"\n\
                  algorithm = \"sha512\"\nencoding = \"hex-any-case\"\nprefix = \"sha512=\"\n\
                  identity = [\"/id\"]\nsecrets = [{ id = \"k\", file = \"key\" }]\n";
    let mut service = Service::prepare("upper_case_hex_is_accepted", source);
    let shown = service.run(&["check-config", "--json"]).well().json();
    assert_eq!(shown["sources"][0]["scheme"]["encoding"], "hex-any-case");
    service.begin();
    // `send` signs in upper case when the source allows it.
    service.send("pay", &[], r#"{"id":1}"#);
    let strict = source.replace("hex-any-case", "hex");
    let config = service.folder().join("hookbox.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace(source, &strict)).unwrap();
    service.send("pay", &[], r#"{"id":2}"#);
    assert_eq!(service.events().len(), 2);
    // The opposite case: this service accepts lower case only and refuses the request, because
    // `send` signs in upper case.
    let mut service = Service::prepare("upper_case_hex_is_refused", &strict);
    service.begin();
    std::fs::write(
        service.folder().join("hookbox.toml"),
        std::fs::read_to_string(service.folder().join("hookbox.toml"))
            .unwrap()
            .replace(&strict, source),
    )
    .unwrap();
    let refused = service.try_to_send("pay", &[], r#"{"id":1}"#);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.out.contains("401"), "{refused:?}");
}
