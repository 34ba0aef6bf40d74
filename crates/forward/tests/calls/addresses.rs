//! Tests with names of services that lead to refused addresses. Some of the names lead to an
//! allowed address first (DNS rebinding).

use std::net::IpAddr;

use hookbox_forward::{CallClass, Settings};

use crate::service::{Reply, Service};
use crate::world::{HOST, Names, call, client_of, failure, settings};

/// Returns settings without `private_host`. Their URL must begin with `https://`.
fn public(port: u16) -> Settings {
    let mut settings = settings(port);
    settings.url = settings.url.replace("http://", "https://");
    settings.private_host = None;
    settings
}

/// Returns a reply after which the service closes the connection, so that the next call needs
/// another connection.
fn last() -> Reply {
    Reply::answer("200 OK", "connection: close\r\n", "{}")
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_refused() {
    let service = Service::new(|_| Reply::ok()).await;
    for (answer, what) in [
        (&["127.0.0.1"][..], "127.0.0.1 is a loopback address"),
        (
            &["::ffff:127.0.0.1"],
            "::ffff:127.0.0.1 is a loopback address",
        ),
        (&["10.1.2.3"], "10.1.2.3 is a private address"),
        (
            &["169.254.169.254"],
            "169.254.169.254 is the address of a metadata service",
        ),
        (&["64:ff9b::a00:1"], "64:ff9b::a00:1 is a private address"),
        (&["1.1.1.1", "127.0.0.1"], "127.0.0.1 is a loopback address"),
    ] {
        let names = Names::new(&[answer]);
        let client = client_of(&public(service.address.port()), names);
        let error = failure(&client).await;
        assert_eq!(error.class, CallClass::TargetFault);
        let expect = format!("{HOST} must not be called: {what}");
        assert!(error.text.starts_with(&expect), "{error}");
    }
    assert_eq!(service.opened(), 0);
}

#[tokio::test]
async fn a_private_host_that_leads_elsewhere_is_refused() {
    for (answer, what) in [
        (
            "169.254.169.254",
            "169.254.169.254 is the address of a metadata service",
        ),
        ("0.0.0.0", "0.0.0.0 is an unspecified address"),
        ("1.1.1.1", "1.1.1.1 is an address of the public internet"),
    ] {
        let client = client_of(&settings(80), Names::new(&[&[answer]]));
        let error = failure(&client).await;
        assert_eq!(error.class, CallClass::TargetFault);
        let expect = format!("{HOST} must not be called: {what}");
        assert!(error.text.starts_with(&expect), "{error}");
    }
}

/// The first two lookups of the name give an allowed address, and the third gives a refused one.
#[tokio::test]
async fn each_connection_goes_to_the_address_that_was_checked_for_it() {
    let service = Service::new(|_| last()).await;
    let port = service.address.port();
    let second: IpAddr = [127, 0, 0, 2].into();
    let other = Service::at(second, port, |_| last()).await;
    let names = Names::new(&[&["127.0.0.1"], &["127.0.0.2"], &["169.254.169.254"]]);
    let client = client_of(&settings(port), names.clone());
    for (calls, lookups) in [((1, 0), 1), ((1, 1), 2)] {
        client.call(&call()).await.unwrap();
        assert_eq!((service.received().len(), other.received().len()), calls);
        assert_eq!(names.lookups(), lookups);
    }
    let error = failure(&client).await;
    assert_eq!(error.class, CallClass::TargetFault);
    assert!(error.text.contains("a metadata service"), "{error}");
    assert_eq!((service.opened(), other.opened()), (1, 1));
}

/// No service listens at the addresses of IPv6, and there are as many as a connection tries.
#[tokio::test]
async fn ipv4_is_tried_when_no_address_of_ipv6_is_reached() {
    let service = Service::new(|_| Reply::ok()).await;
    let names = Names::new(&[&["::1", "::1", "::1", "::1", "127.0.0.1"]]);
    let client = client_of(&settings(service.address.port()), names);
    client.call(&call()).await.unwrap();
    assert_eq!(service.received().len(), 1);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_the_targets_fault() {
    for (answers, expect) in [
        (
            &[][..],
            "the name service.test cannot be resolved: no such name",
        ),
        (&[&[][..]], "the name service.test has no address"),
    ] {
        let client = client_of(&settings(80), Names::new(answers));
        let error = failure(&client).await;
        assert_eq!(
            (error.class, error.text.as_str()),
            (CallClass::TargetFault, expect)
        );
    }
}

/// The resolver of the operating system, with a name that every machine has.
#[tokio::test]
async fn the_resolver_of_this_machine_resolves_names() {
    use hookbox_forward::{Resolve as _, SystemResolver};
    let resolver = SystemResolver::new();
    let found = resolver.resolve("localhost").await.unwrap();
    assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
    assert!(!found.is_empty());
}
