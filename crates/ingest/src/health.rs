//! `GET /healthz`: the process is alive. `GET /readyz`: a webhook sent now would be accepted.
//!
//! Both endpoints are public. The reason why an ingest is not ready may name queues, policies,
//! files and the environment. So these responses contain only its class; the log and the metrics
//! listener report the reason.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use hookbox_driver::Readiness;
use http::{Response, StatusCode};

use crate::Ingest;
use crate::response::json;

pub(crate) async fn alive() -> Response<Body> {
    json(StatusCode::OK, &serde_json::json!({ "status": "alive" }))
}

pub(crate) async fn ready(State(ingest): State<Arc<Ingest>>) -> Response<Body> {
    let class = if ingest.is_leaving() {
        Some("draining")
    } else {
        match ingest.broker.readiness() {
            Readiness::Ready if ingest.verifies_nothing() => Some("keys"),
            Readiness::Ready => None,
            Readiness::NotReady { kind, why: _ } => Some(kind.as_str()),
        }
    };
    match class {
        None => json(StatusCode::OK, &serde_json::json!({ "status": "ready" })),
        Some(class) => {
            let fields = serde_json::json!({ "status": "not_ready", "class": class });
            json(StatusCode::SERVICE_UNAVAILABLE, &fields)
        }
    }
}
