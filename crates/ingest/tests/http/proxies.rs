//! Tests an ingest behind proxies that terminate TLS: which client a request counts for, and that
//! it must have been received over https.

use std::sync::atomic::Ordering;

use hookbox_ingest::{Limits, Peers};
use hookbox_testkit::eventually::eventually;

use crate::client::{HttpResponse, head, post};
use crate::world::{EVENT, World, signed};

/// The last byte of the loopback address of the trusted proxy.
const PROXY: u8 = 2;

/// The last byte of a loopback address that is not in `trusted_proxies`.
const OTHER: u8 = 3;

fn peers(proxies: &[&str], plain: &[&str]) -> Peers {
    let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Peers {
        trusted_proxies: networks(proxies),
        plain_http_from: networks(plain),
    }
}

async fn behind_a_proxy() -> World {
    World::behind(peers(&["127.0.0.2", "10.0.0.0/8"], &[]), Limits::standard()).await
}

fn genuine(headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let signature = signed(body);
    let mut all = vec![("x-signature", signature.as_str())];
    all.extend_from_slice(headers);
    post("/hooks/begini", &all, body)
}

async fn sent(world: &World, from: u8, headers: &[(&str, &str)]) -> HttpResponse {
    world
        .client_from(from)
        .await
        .ask(&genuine(headers, EVENT))
        .await
}

const HTTPS: (&str, &str) = ("x-forwarded-proto", "https");
const HTTP: (&str, &str) = ("x-forwarded-proto", "http");

#[tokio::test]
async fn only_a_listed_proxy_that_says_https_is_accepted() {
    let world = behind_a_proxy().await;
    for (from, headers, reason) in [
        (OTHER, vec![HTTP], "untrusted_peer"),
        (OTHER, vec![HTTPS], "untrusted_peer"),
        (
            OTHER,
            vec![HTTPS, ("x-forwarded-for", "127.0.0.2")],
            "untrusted_peer",
        ),
        (PROXY, vec![], "not_https"),
        (PROXY, vec![HTTP], "not_https"),
        (PROXY, vec![HTTPS, HTTP], "not_https"),
        (
            PROXY,
            vec![HTTPS, ("forwarded", "for=192.0.2.1;proto=http")],
            "not_https",
        ),
        (PROXY, vec![("forwarded", "for=192.0.2.1")], "not_https"),
    ] {
        let counters = world.ingest.counters();
        let before = counters.refused_by_reason().get(reason).copied();
        let answer = sent(&world, from, &headers).await;
        assert_eq!(answer.status, 503, "{from} {headers:?}");
        assert_eq!(answer.json()["reason"], "not_through_https");
        assert_eq!(answer.header("connection"), Some("close"));
        let after = counters.refused_by_reason().get(reason).copied();
        assert_eq!(after, Some(before.unwrap_or(0) + 1), "{from} {headers:?}");
        assert_eq!(counters.not_durable.load(Ordering::Relaxed), 0);
    }
    world.nothing_published();
    for headers in [
        vec![HTTPS],
        vec![("forwarded", "for=192.0.2.1;proto=https")],
    ] {
        assert_eq!(
            sent(&world, PROXY, &headers).await.status,
            200,
            "{headers:?}"
        );
    }
    for path in ["/healthz", "/readyz"] {
        let mut client = world.client_from(OTHER).await;
        assert_eq!(
            client.ask(&head("GET", path, &[])).await.status,
            200,
            "{path}"
        );
    }
    // A peer that is not a trusted proxy gets the same answer for an unknown source, so it cannot
    // find out which sources exist.
    let mut client = world.client_from(OTHER).await;
    assert_eq!(
        client.ask(&post("/hooks/other", &[], b"")).await.status,
        503
    );
}

#[tokio::test]
async fn a_refusal_names_the_client_of_a_proxy() {
    let world = behind_a_proxy().await;
    let forged = post(
        "/hooks/begini",
        &[
            HTTPS,
            ("x-forwarded-for", "203.0.113.9, 192.0.2.1, 10.0.0.7"),
            ("x-signature", &signed(b"{}")),
        ],
        EVENT,
    );
    assert_eq!(
        world.client_from(PROXY).await.ask(&forged).await.status,
        403
    );
    assert_eq!(sent(&world, OTHER, &[HTTPS]).await.status, 503);
    eventually("the refusals of both requests must be stored", async || {
        world.ledger.kept().len() == 2
    })
    .await;
    let kept = world.ledger.kept();
    let kept: Vec<_> = kept.iter().map(|one| (&*one.reason, &*one.peer)).collect();
    assert_eq!(
        kept,
        [
            ("wrong_signature", "192.0.2.1"),
            ("untrusted_peer", "127.0.0.3")
        ]
    );
}

#[tokio::test]
async fn the_share_of_bytes_is_the_clients_and_a_proxy_connects_freely() {
    const MAX: usize = 64 * 1024;
    let limits = Limits {
        body_max: MAX,
        body_bytes_in_flight_max: 16 * MAX,
        connections_per_address_max: 1,
        ..Limits::standard()
    };
    let world = World::behind(peers(&["127.0.0.2"], &[]), limits).await;
    let from = |client: &'static str| [HTTPS, ("x-forwarded-for", client)];
    let length = MAX.to_string();
    let mut headers = vec![("content-length", length.as_str())];
    headers.extend(from("192.0.2.1"));
    let mut unfinished = world.client_from(PROXY).await;
    unfinished
        .send(&head("POST", "/hooks/begini", &headers))
        .await;
    unfinished.send(&vec![b' '; MAX - 1]).await;
    let mut tries = 0;
    while sent(&world, PROXY, &from("192.0.2.1")).await.status == 200 {
        tries += 1;
        assert!(
            tries < 1_000,
            "the memory for the bodies of one client must be limited"
        );
    }
    let reasons = world.ingest.counters().refused_by_reason();
    assert_eq!(reasons.get("address_busy"), Some(&1), "{reasons:?}");
    assert_eq!(sent(&world, PROXY, &from("192.0.2.2")).await.status, 200);
    // An address that the client itself wrote into the header does not change for which client the
    // request counts.
    let forged = from("192.0.2.3, 192.0.2.1");
    assert_eq!(sent(&world, PROXY, &forged).await.status, 503);
}

#[tokio::test]
async fn plain_http_is_accepted_from_where_the_config_says() {
    let both = peers(&["127.0.0.2"], &["127.0.0.2", "127.0.0.3"]);
    let world = World::behind(both, Limits::standard()).await;
    for from in [PROXY, OTHER] {
        for headers in [vec![], vec![HTTP], vec![HTTPS]] {
            assert_eq!(
                sent(&world, from, &headers).await.status,
                200,
                "{from} {headers:?}"
            );
        }
    }
    assert_eq!(sent(&world, 4, &[HTTPS]).await.status, 503);
}
