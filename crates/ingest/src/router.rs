//! The HTTP routes of an ingest.

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get};

use crate::{Ingest, health, receive};

/// Returns the HTTP service of an ingest. Tests call it without a socket.
pub fn router(ingest: Arc<Ingest>) -> Router {
    Router::new()
        .route("/hooks/{source}", any(receive::receive))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .method_not_allowed_fallback(receive::wrong_method)
        .fallback(receive::unknown_path)
        .with_state(ingest)
}
