//! Handles one webhook request: limit → verify → identify → publish → answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use bytes::Bytes;
use hookbox_crash::crash_point;
use hookbox_driver::{PublishErrorKind, Refusal as KeptRefusal};
use hookbox_event::{ReceiptId, digest_json};
use hookbox_signature::{Refusal, RefusalAnswer, verify};
use http::header::ALLOW;
use http::{HeaderMap, Method, Response};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::batcher::AcceptedRequest;
use crate::body_memory::BodyRoom;
use crate::counters::{InFlight, add};
use crate::places::Place;
use crate::response::{NotAccepted, accepted};
use crate::{Ingest, Source, body, form, identify};

/// The peer that sent a request. The code that serves the connection puts this value into the
/// extensions of the request.
#[derive(Clone)]
pub(crate) struct Peer {
    pub address: SocketAddr,
    /// The connection's place in the limit on open connections; `None` when there is no such limit.
    pub place: Option<Arc<Place>>,
}

/// A request that has no answer yet.
struct Arrival<'a> {
    id: ReceiptId,
    source: &'a str,
    /// The peer of the connection; `None` when a test calls the router without a connection.
    peer: Option<Peer>,
    /// The address of the sender: the peer, or the client that a trusted proxy reports.
    client: IpAddr,
    body_bytes: usize,
    body_digest: Option<String>,
}

/// Answers `POST /hooks/{source}`.
pub(crate) async fn receive(
    State(ingest): State<Arc<Ingest>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response<Body> {
    // Names of sources are UTF-8, so a name that is not UTF-8 belongs to no source.
    let Ok(Path(name)) = name else {
        return unknown_path(State(ingest), request).await;
    };
    let id = ReceiptId::new(ingest.clock.now(), ingest.rng.ten());
    let peer = request.extensions().get::<Peer>().cloned();
    let (client, may_send) = admit(&ingest, peer.as_ref(), request.headers());
    let mut arrival = Arrival {
        id,
        source: &name,
        peer,
        client,
        body_bytes: 0,
        body_digest: None,
    };
    let source = ingest.sources.get(&name);
    let _in_flight = InFlight::new(&ingest.counters);
    let taken = match (may_send, source) {
        (Err(why), _) => {
            discard(&ingest, request).await;
            Err(why)
        }
        (Ok(()), Some(source)) => {
            let taken = take(&ingest, source, request, &mut arrival);
            let late = NotAccepted::NotDurable(PublishErrorKind::TimedOut);
            timeout(ingest.limits.request_deadline, taken)
                .await
                .unwrap_or(Err(late))
        }
        (Ok(()), None) => {
            let why = stranger(&ingest, &request);
            discard(&ingest, request).await;
            Err(why)
        }
    };
    match taken {
        Ok(()) => {
            crash_point!("ingest.before_response");
            add(&ingest.counters.accepted, 1);
            accepted(id)
        }
        Err(why) => {
            refuse(&ingest, &arrival, why);
            let standard = RefusalAnswer::default();
            why.response(id, source.map_or(&standard, |source| &source.answer))
        }
    }
}

/// Answers a request to a path that belongs to no webhook.
pub(crate) async fn unknown_path(
    State(ingest): State<Arc<Ingest>>,
    request: Request,
) -> Response<Body> {
    let id = ReceiptId::new(ingest.clock.now(), ingest.rng.ten());
    ingest.counters.refuse(NotAccepted::UnknownPath.reason());
    discard(&ingest, request).await;
    NotAccepted::UnknownPath.response(id, &RefusalAnswer::default())
}

/// Answers a request to a health check with a wrong method. The router adds the header `Allow` with
/// the allowed methods afterwards.
pub(crate) async fn wrong_method(
    State(ingest): State<Arc<Ingest>>,
    request: Request,
) -> Response<Body> {
    let id = ReceiptId::new(ingest.clock.now(), ingest.rng.ten());
    ingest.counters.refuse(NotAccepted::WrongMethod.reason());
    discard(&ingest, request).await;
    let mut response = NotAccepted::WrongMethod.response(id, &RefusalAnswer::default());
    response.headers_mut().remove(ALLOW);
    response
}

/// Returns the client of the request, and an error if the request must be refused before its body
/// is read.
fn admit(
    ingest: &Ingest,
    peer: Option<&Peer>,
    headers: &HeaderMap,
) -> (IpAddr, Result<(), NotAccepted>) {
    let unspecified = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let address = peer.map_or(unspecified, |peer| peer.address.ip());
    let (client, may_send) = ingest.peers.client(address, headers);
    let place = peer.and_then(|peer| peer.place.as_ref());
    let may_send = match place {
        // This connection was admitted when every ordinary place was taken, so only health checks
        // are answered on it.
        Some(place) if place.is_reserve() => Err(NotAccepted::TooBusy),
        Some(_) | None => may_send,
    };
    (client, may_send)
}

/// Reads and discards the body of a request that is refused before its body is read, so that its
/// sender can read the answer.
async fn discard(ingest: &Ingest, request: Request) {
    let (head, body) = request.into_parts();
    body::discard_unread(&head.headers, body, &ingest.limits).await;
}

fn stranger(ingest: &Ingest, request: &Request) -> NotAccepted {
    if request.method() != Method::POST {
        return NotAccepted::WrongMethod;
    }
    // The source is unknown, so nothing can be verified. Nevertheless one HMAC is computed with a
    // decoy key, as for a known source, so that the time until the answer does not reveal which
    // sources exist. The body of a request to an unknown source is discarded.
    let decoy = &ingest.decoy;
    let now = ingest.clock.now();
    let _ = verify(&decoy.0, &decoy.1, request.headers(), Bytes::new(), now);
    NotAccepted::UnknownSource
}

async fn take(
    ingest: &Ingest,
    source: &Source,
    request: Request,
    arrival: &mut Arrival<'_>,
) -> Result<(), NotAccepted> {
    let room = ingest.body_memory.room(arrival.client.into());
    let checked = check_head(ingest, &request, &room);
    let announced = match checked {
        Ok(announced) => announced,
        Err(why) => {
            discard(ingest, request).await;
            return Err(why);
        }
    };
    let (head, body) = request.into_parts();
    let (bytes, mut room) = body::read(body, announced, &ingest.limits, room).await?;
    arrival.body_bytes = bytes.len();
    let now = ingest.clock.now();
    let keys = source.keys_now();
    let verified = match verify(&source.scheme, &keys, &head.headers, bytes.clone(), now) {
        Ok(verified) => verified,
        Err(refusal) => {
            arrival.body_digest = Some(digest_of(&bytes));
            return Err(NotAccepted::Signature(refusal));
        }
    };
    room.verified();
    if let Some(place) = arrival.peer.as_ref().and_then(|peer| peer.place.as_ref()) {
        place.verified();
    }
    crash_point!("ingest.after_verify");
    let pointers = identify::pointers(source);
    let conditions = ingest.conditions_of(source);
    let digester = &ingest.digester;
    let read = |body: &[u8]| digest_json(digester, body, &pointers, conditions.conditions());
    let (verified, content) = form::event_of(source, &head.headers, verified, read)?;
    let identified = identify::identify(
        digester,
        source,
        conditions,
        &head.headers,
        &verified,
        content,
    );
    let accepted = AcceptedRequest {
        receipt: arrival.id,
        source: source.name.clone(),
        identified,
        received_at: now,
        traceparent: traceparent(&head.headers),
        verified,
        room,
    };
    ingest
        .batcher
        .publish(accepted, ingest.limits.confirm_deadline)
        .await
}

/// Checks what is known of a request before its body is read. Returns the announced length of the
/// body, or `None` without `Content-Length`.
fn check_head(
    ingest: &Ingest,
    request: &Request,
    room: &BodyRoom,
) -> Result<Option<usize>, NotAccepted> {
    if request.method() != Method::POST {
        return Err(NotAccepted::WrongMethod);
    }
    if ingest.is_draining() {
        return Err(NotAccepted::Draining);
    }
    let announced = body::check_head(request.headers(), &ingest.limits)?;
    room.check(announced.unwrap_or(0))?;
    Ok(announced)
}

/// Counts and logs why a request is refused, and stores the refusal for operators.
fn refuse(ingest: &Ingest, arrival: &Arrival<'_>, why: NotAccepted) {
    let peer = arrival.peer.as_ref();
    let peer = peer.map(|peer| peer.address.ip().to_string());
    let client = peer.as_ref().map(|_| arrival.client.to_string());
    let (peer, client) = (peer.unwrap_or_default(), client.unwrap_or_default());
    // The sender chose the text of the path, so the text is limited in length and escaped before it
    // is stored.
    let source: String = arrival
        .source
        .chars()
        .take(63)
        .flat_map(char::escape_default)
        .collect();
    if let NotAccepted::NotDurable(_)
    | NotAccepted::TooBusy
    | NotAccepted::Draining
    | NotAccepted::Signature(Refusal::NoValidKey) = why
    {
        add(&ingest.counters.not_durable, 1);
    }
    ingest.counters.refuse(why.reason());
    let known = ingest.sources.contains_key(arrival.source);
    let known = known.then_some(arrival.source);
    if ingest.refusal_log.admits(known, why.reason()) {
        tracing::info!(
            request = %arrival.id,
            source,
            peer,
            client,
            reason = why.reason(),
            body_bytes = arrival.body_bytes,
            "request {} to source {source} was not accepted: {}",
            arrival.id,
            why.reason()
        );
    }
    ingest.refusals.note(KeptRefusal {
        request: arrival.id,
        source,
        reason: why.reason().to_owned(),
        body_digest: arrival.body_digest.clone(),
        body_bytes: arrival.body_bytes as u64,
        peer: client,
        at: ingest.clock.now(),
    });
}

/// Returns the SHA-256 of a body: enough to recognise a given body with `sha256sum`, without
/// revealing its content.
fn digest_of(bytes: &Bytes) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Returns the W3C trace context if it is valid: `{version}-{32 hex}-{16 hex}-{2 hex}`, in exactly
/// one header, with an allowed version and with ids that are not all zeros.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all("traceparent").iter();
    let text = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    let plain = parts.iter().all(|part| part.bytes().all(hex));
    if lengths != [2, 32, 16, 2] || !plain {
        return None;
    }
    let is_zero = |part: &str| part.bytes().all(|c| c == b'0');
    let is_valid = parts[0] != "ff" && !is_zero(parts[1]) && !is_zero(parts[2]);
    is_valid.then(|| text.to_owned())
}
