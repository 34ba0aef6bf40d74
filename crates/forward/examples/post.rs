//! Posts one event to a service in the way that `forward` does, to try out the service:
//!
//! ```text
//! cargo run --package hookbox-forward --example post -- http://127.0.0.1:8000/hooks KEY [COUNT]
//! ```
//!
//! `KEY` is the path of a file with the signing key. The event is posted `COUNT` times with the
//! same idempotency key, so that a service which recognises repetitions processes it once.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use hookbox_event::Timestamp;
use hookbox_forward::{
    Call, Client, IdempotencyKey, LimitSettings, Reference, Secret, Settings, SystemResolver,
};

const BODY: &[u8] = br#"{"type":"order.paid","order":"2026-0001","cents":1250}"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments
        .next()
        .ok_or("the first argument must be the URL")?;
    let key = arguments
        .next()
        .ok_or("the second argument must be the file of the signing key")?;
    let count: u32 = arguments.next().map_or(Ok(1), |count| count.parse())?;
    let uri: http::Uri = url.parse()?;
    let settings = Settings {
        // The service may be on this machine or in your own network.
        private_host: uri.host().map(str::to_owned),
        url,
        secrets: vec![Secret {
            id: "example".to_owned(),
            env: None,
            file: Some(key),
            mode: None,
        }],
        headers: [].into(),
        secret_headers: [].into(),
        ca_file: None,
        limits: LimitSettings::default(),
        concurrency: None,
        rate: None,
        repeatable: false,
    };
    let read_secret = |reference: &Reference| {
        let file = reference
            .file
            .as_deref()
            .ok_or("the secret must name a file")?;
        let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
        Ok(text.trim().to_owned())
    };
    let resolver = Arc::new(SystemResolver::new());
    let client = Client::new(&settings, Path::new("."), &read_secret, resolver)?;
    let since = SystemTime::UNIX_EPOCH.elapsed()?;
    let id = since.as_micros();
    for attempt in 1..=count {
        let passed = SystemTime::UNIX_EPOCH.elapsed()?;
        let call = Call {
            key: IdempotencyKey::new(format!("example_{id}_1"))?,
            topic: "shop.order.paid".parse()?,
            attempt,
            epoch: attempt,
            traceparent: None,
            body: Bytes::from_static(BODY),
            now: Timestamp::from_unix_micros(0).saturating_add(passed),
        };
        match client.call(&call).await {
            Ok(()) => println!("attempt {attempt}: the service has taken the event"),
            Err(error) => println!("attempt {attempt}: {error} ({:?})", error.class),
        }
    }
    Ok(())
}
