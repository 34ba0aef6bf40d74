//! The senders: they sign webhooks, post them until they are accepted, and record the responses.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookbox_event::{ReceiptId, Timestamp};
use hookbox_signature::{Preset, sign};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;

use crate::accepted::Accepted;
use crate::engine::{Fleet, Running, key};
use crate::fault::Fault;
use crate::process::Process;
use crate::scenario::{Post, SOURCE, routes_of};

/// The time after which a sender without a response disconnects.
const PATIENCE: Duration = Duration::from_secs(10);

enum PostResult {
    Accepted(ReceiptId, Arc<Process>),
    /// The ingest answered 503, so the sender must try again later.
    Later,
    Refused(StatusCode),
    /// The sender got no response. The webhook may have been accepted.
    Nothing,
}

/// Posts one webhook until it is accepted, refused or abandoned.
pub(crate) async fn send(fleet: Arc<Fleet>, post: Post) {
    let world = &fleet.world;
    tokio::time::sleep(post.at).await;
    for number in 1.. {
        let result = attempt(&fleet, &post).await;
        let what = match &result {
            PostResult::Accepted(receipt, _) => format!("accepted as {receipt}"),
            PostResult::Later => "answered 503, to be posted again".to_owned(),
            PostResult::Refused(status) => format!("refused, {status}"),
            PostResult::Nothing => "got no response".to_owned(),
        };
        world.note(&format!("post {} try {number}: {what}", post.number));
        match result {
            PostResult::Accepted(receipt, by) => return accept(&fleet, &post, receipt, by),
            PostResult::Refused(status) => return refuse(&fleet, &post, status),
            PostResult::Later | PostResult::Nothing => {}
        }
        if post.tries.is_some_and(|most| number >= most) {
            return;
        }
        let wait = world.chance.millis(200, 2_500);
        tokio::time::sleep(wait).await;
    }
}

fn accept(fleet: &Fleet, post: &Post, receipt: ReceiptId, by: Arc<Process>) {
    let mut state = fleet.world.state();
    if post.forged {
        let text = format!(
            "post {} was accepted although its signature is forged",
            post.number
        );
        state.violate("I4", &text);
    }
    for route in routes_of(&post.body) {
        if !state.queues.confirmed.contains(&(route.clone(), receipt)) {
            let text = format!(
                "receipt {receipt} is answered 200, but the queue of {route} did not confirm it"
            );
            state.violate("I5", &text);
        }
    }
    let body = post.body.clone();
    state.accepted.push(Accepted {
        receipt,
        body,
        died: by.died.clone(),
    });
}

fn refuse(fleet: &Fleet, post: &Post, status: StatusCode) {
    if !post.forged {
        let text = format!(
            "post {} was refused although it is genuine: {status}",
            post.number
        );
        fleet.world.state().violate("I1", &text);
    }
}

async fn attempt(fleet: &Fleet, post: &Post) -> PostResult {
    let world = &fleet.world;
    let ingests = fleet.running().into_iter();
    let ingests: Vec<Running> = ingests.filter(|it| it.ingest.is_some()).collect();
    let Some((running, ingest)) = world
        .chance
        .pick(&ingests)
        .and_then(|it| it.ingest.clone().map(|ingest| (it, ingest)))
    else {
        return PostResult::Nothing;
    };
    if post.forged {
        world.state().struck(Fault::Forged, "post");
    } else {
        world.state().signed.insert(post.body.clone());
    }
    let Some(request) = request(post) else {
        return PostResult::Nothing;
    };
    let whom = format!("post {}", post.number);
    let left = if world.strikes(Fault::SenderLeft, &whom) {
        world.chance.millis(0, 40)
    } else {
        PATIENCE
    };
    let answer = async {
        let answered = hookbox_ingest::router(ingest).oneshot(request).await;
        match answered {
            Ok(response) => read(response, &running.process).await,
            Err(never) => match never {},
        }
    };
    let result = tokio::select! {
        biased;
        () = running.process.died.cancelled() => PostResult::Nothing,
        result = answer => result,
        () = tokio::time::sleep(left) => PostResult::Nothing,
    };
    if world.strikes(Fault::AnswerLost, &whom) {
        return PostResult::Nothing;
    }
    result
}

fn request(post: &Post) -> Option<Request<Full<Bytes>>> {
    let key = key(if post.forged { "wrong" } else { "right" })?;
    // Begini's scheme does not sign a timestamp, so the value has no effect.
    let now = Timestamp::from_unix_micros(0);
    let headers = sign(&Preset::Begini.scheme(), &key, &post.body, now, "");
    let mut request = Request::post(format!("/hooks/{SOURCE}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(Full::new(post.body.clone())).ok()
}

async fn read<B: BodyExt>(response: Response<B>, by: &Arc<Process>) -> PostResult {
    let status = response.status();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        return PostResult::Later;
    }
    if status != StatusCode::OK {
        return PostResult::Refused(status);
    }
    let Ok(body) = response.into_body().collect().await else {
        return PostResult::Nothing;
    };
    let fields: serde_json::Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    let receipt = fields["receipt"].as_str().and_then(|it| it.parse().ok());
    receipt.map_or(PostResult::Refused(status), |receipt| {
        PostResult::Accepted(receipt, Arc::clone(by))
    })
}
