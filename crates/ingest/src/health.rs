//! `GET /healthz`: the process lives. `GET /readyz`: a webhook sent now would be taken.

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
    let why = if ingest.is_leaving() {
        Some("it is shutting down".to_owned())
    } else {
        match ingest.broker.readiness() {
            Readiness::Ready => None,
            Readiness::NotReady { why, .. } => Some(why),
        }
    };
    match why {
        None => json(StatusCode::OK, &serde_json::json!({ "status": "ready" })),
        Some(why) => {
            let fields = serde_json::json!({ "status": "not_ready", "why": why });
            json(StatusCode::SERVICE_UNAVAILABLE, &fields)
        }
    }
}
