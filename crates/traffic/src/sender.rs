//! A sender: takes the next request of the plan, signs and sends it, and retries as a provider does
//! until the request is accepted or refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hookbox_driver::{Clock as _, SystemClock};
use hookbox_signature::{Key, Scheme, sign};
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::chance::{Chance, Purpose};
use super::journal::{Entry, Journal};
use super::link::{HttpResponse, Link, LinkError};
use super::plan::{Fate, Job, Nature, Plan, Role, Shares};
use super::target::Target;

/// The delay before the first retry of a request; each further delay is twice as long.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// The longest delay before a retry. A provider waits longer; here the delay is short, so that a
/// run takes less time.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// The longest time from the start of a run to the turn of a request. At a very low rate, the turn
/// would be further in the future than a time can express.
const TURN_MAX: Duration = Duration::from_secs(365 * 86_400);

/// The offset of the applicant's id in a body, in bytes. To tamper with a request, the byte at this
/// offset is changed.
const UID_STARTS_AT: usize = br#"{"uid":""#.len();

/// Signs requests as the provider of a source does.
#[derive(Clone)]
pub struct Signer {
    /// The signature scheme.
    pub scheme: Scheme,
    /// The key to sign with.
    pub key: Key,
    /// Further headers, which the signature does not cover.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// How a request of the plan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Accepted,
    Refused,
    /// The request was neither accepted nor refused, and is not sent again. `maybe` is true if it
    /// may nevertheless have been stored.
    GaveUp {
        maybe: bool,
    },
}

/// A request of the plan that was sent, and how it ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct SentRequest {
    pub(super) number: u32,
    pub(super) role: Role,
    pub(super) end: End,
}

/// The counts of one sender.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) sent: Vec<SentRequest>,
    /// How many times a request was sent, or could not be sent; each repetition of a request
    /// counts.
    pub(super) attempts: u64,
    /// The number of responses by HTTP status.
    pub(super) answers: BTreeMap<u16, u64>,
    /// How many times a request was sent without it being known whether it was stored.
    pub(super) unknown: u64,
    /// How many times no connection could be opened for a request.
    pub(super) unreachable: u64,
    /// The latency of each accepted request, in microseconds.
    pub(super) latencies: Vec<u32>,
}

/// The state that all senders share.
pub(super) struct Shared {
    pub(super) seed: u64,
    pub(super) shares: Shares,
    pub(super) signer: Signer,
    pub(super) target: Arc<Target>,
    pub(super) retries: u32,
    /// Requests a second; `None` means as fast as possible.
    pub(super) rate: Option<f64>,
    pub(super) plan: Mutex<Plan>,
    pub(super) journal: Option<Arc<Journal>>,
    pub(super) began: Instant,
    pub(super) stop: CancellationToken,
    pub(super) progress: indicatif::ProgressBar,
}

/// What the journal records about each time that a request is sent, besides the response.
struct AttemptNote<'a> {
    attempt: u32,
    digest: &'a str,
    took: Duration,
}

/// What the result of sending a request once means for the request.
enum AttemptResult {
    Accepted,
    Refused,
    /// The request must be sent again. `maybe` is true if ingest may have stored it this time.
    Again {
        maybe: bool,
    },
}

impl Signer {
    /// Returns a signed request.
    pub fn request(&self, target: &Target, body: Vec<u8>, id: &str) -> Request<Full<Bytes>> {
        let signed = sign(&self.scheme, &self.key, &body, SystemClock.now(), id);
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.path.clone().into();
        let headers = request.headers_mut();
        if let Ok(host) = target.authority.parse() {
            headers.insert(HOST, host);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static("hookbox"));
        headers.extend(signed);
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        request
    }
}

/// Sends requests until the plan is done or the run is stopped. When the run is stopped, the
/// response to a request that is under way is still waited for, because it would otherwise be
/// unknown whether the request was accepted.
pub(super) async fn send_all(shared: Arc<Shared>, mut link: Link) -> Counts {
    let mut counts = Counts::default();
    while !shared.stop.is_cancelled() {
        let next = shared
            .plan
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next();
        let Some(job) = next else {
            break;
        };
        if !shared.wait_for_turn(job).await {
            break;
        }
        let end = shared.deliver(job, &mut link, &mut counts).await;
        counts.sent.push(SentRequest {
            number: job.number,
            role: job.role,
            end,
        });
        shared.progress.inc(1);
    }
    counts
}

impl Shared {
    /// Waits until the configured rate allows this request. Returns `false` if the run is stopped
    /// before that.
    async fn wait_for_turn(&self, job: Job) -> bool {
        let Some(rate) = self.rate else {
            return true;
        };
        self.pause_until(self.began + turn(job.place, rate)).await
    }

    async fn pause_until(&self, moment: Instant) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = sleep_until(moment) => true,
        }
    }

    async fn deliver(&self, job: Job, link: &mut Link, counts: &mut Counts) -> End {
        let fate = Fate::of(self.seed, job.number, &self.shares);
        let body = fate.body(job.role);
        let digest = match &self.journal {
            Some(_) => hex::encode(Sha256::digest(&body)),
            None => String::new(),
        };
        let id = format!("msg_{:016x}{:08x}", self.seed, job.number);
        let mut chance = Chance::new(self.seed, job.number, Purpose::Backoff);
        let mut maybe_stored = false;
        for attempt in 1..=self.retries.saturating_add(1) {
            let request = self.request(&fate, body.clone(), &id);
            let began = Instant::now();
            let answered = link.exchange(request).await;
            let took = began.elapsed();
            counts.attempts += 1;
            self.note(
                &fate,
                job,
                &AttemptNote {
                    attempt,
                    digest: &digest,
                    took,
                },
                &answered,
            );
            match counts.record(answered, took) {
                AttemptResult::Accepted => return End::Accepted,
                AttemptResult::Refused => return End::Refused,
                AttemptResult::Again { maybe } => maybe_stored |= maybe,
            }
            let longest = BACKOFF_FIRST.saturating_mul(1 << (attempt - 1).min(16));
            let wait = longest.min(BACKOFF_MAX).mul_f64(0.5 + chance.unit() / 2.0);
            if attempt > self.retries || !self.pause_until(Instant::now() + wait).await {
                break;
            }
        }
        End::GaveUp {
            maybe: maybe_stored,
        }
    }

    /// Returns a signed request for an event. If the event is to be tampered with, the body is
    /// altered after it was signed.
    fn request(&self, fate: &Fate, body: Vec<u8>, id: &str) -> Request<Full<Bytes>> {
        if fate.nature != Nature::Tampered {
            return self.signer.request(&self.target, body, id);
        }
        let mut altered = body.clone();
        if let Some(byte) = altered.get_mut(UID_STARTS_AT) {
            *byte = if *byte == b'X' { b'Y' } else { b'X' };
        }
        let mut request = self.signer.request(&self.target, body, id);
        *request.body_mut() = Full::new(altered.into());
        request
    }

    fn note(
        &self,
        fate: &Fate,
        job: Job,
        noted: &AttemptNote<'_>,
        answered: &Result<HttpResponse, LinkError>,
    ) {
        #[derive(Deserialize)]
        struct Accepted<'a> {
            #[serde(borrow)]
            receipt: Option<&'a str>,
        }
        let Some(journal) = &self.journal else {
            return;
        };
        let (status, receipt, error) = match answered {
            Ok(answer) => {
                let accepted = serde_json::from_slice::<Accepted<'_>>(&answer.body).ok();
                (Some(answer.status), accepted.and_then(|a| a.receipt), None)
            }
            Err(error) => (None, None, Some(error.to_string())),
        };
        journal.write(&Entry {
            event: job.number,
            class: fate.nature.as_str(),
            copy: job.role.as_str(),
            r#type: fate.event.kind.as_str(),
            attempt: noted.attempt,
            status,
            receipt,
            digest: noted.digest,
            error: error.as_deref(),
            milliseconds: noted.took.as_secs_f64() * 1e3,
        });
    }
}

impl Counts {
    fn record(
        &mut self,
        answered: Result<HttpResponse, LinkError>,
        took: Duration,
    ) -> AttemptResult {
        let result = match answered {
            Ok(answer) => {
                *self.answers.entry(answer.status).or_default() += 1;
                if answer.is_accepted() {
                    let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
                    self.latencies.push(micros);
                }
                classify(&answer)
            }
            Err(LinkError::Unreachable { .. } | LinkError::NoTrust(_)) => {
                self.unreachable += 1;
                AttemptResult::Again { maybe: false }
            }
            Err(LinkError::Lost(_) | LinkError::TooSlow) => AttemptResult::Again { maybe: true },
        };
        if matches!(result, AttemptResult::Again { maybe: true }) {
            self.unknown += 1;
        }
        result
    }
}

/// Returns how long after the start of a run the request at this place of the plan is sent, at this
/// many requests a second.
fn turn(place: u64, rate: f64) -> Duration {
    let turn = Duration::try_from_secs_f64(place as f64 / rate);
    turn.unwrap_or(TURN_MAX).min(TURN_MAX)
}

/// Classifies a response as a strict provider does. Status 200 with JSON is success. Most statuses
/// from 400 to 499 refuse the request. After every other response the request is sent again. A 503
/// does not prove that nothing was stored, because the broker may have stored the message and then
/// lost the connection.
fn classify(answer: &HttpResponse) -> AttemptResult {
    match answer.status {
        200 if answer.is_accepted() => AttemptResult::Accepted,
        408 | 429 => AttemptResult::Again { maybe: false },
        400..=499 => AttemptResult::Refused,
        _ => AttemptResult::Again { maybe: true },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_is_too_far_is_cut() {
        for (place, rate, expect) in [
            (0, 1e-300, Duration::ZERO),
            (10, 4.0, Duration::from_millis(2_500)),
            (10, 1e300, Duration::ZERO),
            (1, 1e-9, TURN_MAX),
            (1, 1e-300, TURN_MAX),
            (u64::MAX, f64::MIN_POSITIVE, TURN_MAX),
        ] {
            assert_eq!(turn(place, rate), expect, "{place} at {rate}");
        }
    }
}
