//! Writes the page of metrics in the format OpenMetrics 1.0.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use hookbox_ingest as ingest;
use hookbox_worker as worker;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::families as f;
use super::families::{Family, Kind};
use super::readiness;
use super::state::{Monitor, Observed, Parts};

/// Returns the page with the current values of all metrics.
pub fn of(monitor: &Monitor) -> Result<String, fmt::Error> {
    write(Snapshot {
        parts: monitor.parts(),
        seen: monitor.observed(),
    })
}

fn write(moment: Snapshot) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("hookbox");
    registry.register_collector(Box::new(moment));
    let mut page = String::new();
    encode(&mut page, &registry)?;
    Ok(page)
}

/// The state from which the page is written.
struct Snapshot {
    parts: Parts,
    seen: Observed,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page(encoder);
        let Self { parts, seen } = self;
        page.rows(
            &f::BUILD_INFO,
            [(vec![env!("CARGO_PKG_VERSION").to_owned()], 1)],
        )?;
        page.one(&f::DRAINING, parts.draining.into())?;
        page.one(&f::LOG_DROPPED, parts.log.dropped())?;
        page.one(&f::BROKER_UP, readiness::broker(parts).is_none().into())?;
        if parts.needs.store {
            page.one(&f::STORE_UP, readiness::store(parts, seen).is_none().into())?;
        }
        if let Some(counters) = &parts.ingest {
            page.ingest(counters)?;
        }
        if let Some(counters) = &parts.spool {
            page.one(&f::SPOOL_EVENTS, read(&counters.events))?;
            page.one(&f::SPOOL_REFUSED, read(&counters.refused))?;
            page.one(&f::SPOOL_KEPT, read(&counters.kept))?;
            page.one(&f::SPOOL_FORWARDED, read(&counters.forwarded))?;
        }
        if let Some(counters) = &parts.worker {
            page.worker(counters)?;
        }
        page.waiting(seen)
    }
}

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn ingest(&mut self, counters: &ingest::Counters) -> fmt::Result {
        let (accepted, not_durable) = (read(&counters.accepted), read(&counters.not_durable));
        let reasons = counters.refused_by_reason();
        let not_accepted: u64 = reasons.values().sum();
        let outcomes = [
            ("accepted", accepted),
            ("refused", not_accepted.saturating_sub(not_durable)),
            ("not_durable", not_durable),
        ];
        let outcomes = outcomes.map(|(outcome, count)| (vec![outcome.to_owned()], count));
        self.rows(&f::REQUESTS, outcomes)?;
        let reasons = reasons.iter();
        let reasons = reasons.map(|(reason, count)| (vec![(*reason).to_owned()], *count));
        self.rows(&f::REFUSED, reasons)?;
        let unrouted = counters.unrouted_by_source().into_iter();
        self.rows(
            &f::UNROUTED,
            unrouted.map(|(source, count)| (vec![source], count)),
        )?;
        let ends = counters.keys_end();
        let ends = ends.into_iter().filter_map(|(source, end)| {
            let seconds = u64::try_from(end?.unix_seconds()).unwrap_or(0);
            Some((vec![source], seconds))
        });
        self.rows(&f::KEYS_END, ends)?;
        self.one(&f::IN_FLIGHT, read(&counters.in_flight))?;
        self.one(&f::WAITING, read(&counters.waiting))?;
        self.connections(counters)?;
        self.one(&f::BATCHES, read(&counters.batches))?;
        self.histogram(&f::CONFIRMS, &counters.confirms)?;
        self.one(&f::REFUSALS_DROPPED, read(&counters.refusals_dropped))?;
        self.one(&f::ACCEPT_REPORTS, read(&counters.accounts))?;
        self.one(&f::UNREPORTED, read(&counters.unreported))?;
        self.one(
            &f::DROPPED_FROM_REPORTS,
            read(&counters.dropped_from_reports),
        )
    }

    fn connections(&mut self, counters: &ingest::Counters) -> fmt::Result {
        let states = [
            ("open", &counters.connections),
            ("idle", &counters.connections_idle),
            ("unverified", &counters.connections_unverified),
            ("health", &counters.connections_reserve),
        ];
        let reasons = [
            ("to_make_room", &counters.connections_closed),
            ("address_full", &counters.connections_refused),
        ];
        let rows = |(label, counter): (&str, &AtomicU64)| (vec![label.to_owned()], read(counter));
        self.rows(&f::CONNECTIONS, states.map(rows))?;
        self.rows(&f::CONNECTIONS_CLOSED, reasons.map(rows))
    }

    fn worker(&mut self, counters: &worker::Counters) -> fmt::Result {
        let (mut receipts, mut faults, mut paused) = (Vec::new(), Vec::new(), Vec::new());
        let (mut standstill, mut isolated) = (Vec::new(), Vec::new());
        for (route, one) in &counters.routes {
            let route = route.as_str();
            for (outcome, count) in [
                ("done", &one.done),
                ("duplicate", &one.duplicate),
                ("conflict", &one.conflict),
                ("dead", &one.dead),
                ("stale", &one.stale),
                ("retrying", &one.retrying),
                ("deferred", &one.deferred),
                ("redelivered", &one.redelivered),
            ] {
                receipts.push((vec![route.to_owned(), outcome.to_owned()], read(count)));
            }
            faults.push((vec![route.to_owned()], read(&one.faults)));
            standstill.push((vec![route.to_owned()], read(&one.standstill_s)));
            isolated.push((vec![route.to_owned()], read(&one.suspects)));
            for (by, is_paused) in [
                ("store", one.paused.load(Ordering::Relaxed)),
                ("broker", one.unsubscribed.load(Ordering::Relaxed)),
                ("standstill", one.stalled.load(Ordering::Relaxed)),
                ("missing_right", one.missing_right().is_some()),
                ("target", one.target_down.load(Ordering::Relaxed)),
                ("operator", one.operator_pause().is_some()),
            ] {
                paused.push((vec![route.to_owned(), by.to_owned()], is_paused.into()));
            }
        }
        self.rows(&f::RECEIPTS, receipts)?;
        self.rows(&f::FAULTS, faults)?;
        self.rows(&f::PAUSED, paused)?;
        self.rows(&f::STANDSTILL, standstill)?;
        self.rows(&f::ISOLATED, isolated)?;
        self.calls(counters)?;
        self.one(&f::REQUEUED, read(&counters.requeued))?;
        self.one(&f::COLLECTED, read(&counters.collected))
    }

    fn calls(&mut self, counters: &worker::Counters) -> fmt::Result {
        let of = |count: fn(&worker::RouteCounters) -> &AtomicU64| {
            let routes = counters.routes.iter();
            routes.map(move |(route, one)| (vec![route.to_string()], read(count(one))))
        };
        self.rows(&f::LEASED, of(|one| &one.leased))?;
        self.rows(&f::SUPERSEDED, of(|one| &one.superseded))?;
        self.rows(&f::CALLS, of(|one| &one.calls_in_flight))
    }

    /// Writes the results of the last polls. A value that could not be read is left out, because a
    /// reader could not distinguish an old value from a new one.
    fn waiting(&mut self, seen: &Observed) -> fmt::Result {
        let depths = seen.depths.iter().flatten();
        let of = |count: fn(&hookbox_driver::Depth) -> Option<u64>| {
            let rows = depths.clone();
            rows.filter_map(move |one| Some((vec![one.queue.to_string()], count(one)?)))
        };
        self.rows(&f::QUEUE_MESSAGES, of(|one| one.ready))?;
        self.rows(&f::QUEUE_CONSUMERS, of(|one| one.consumers))?;
        let backlog = seen.backlog.iter().flatten();
        let of = |count: fn(&hookbox_driver::Backlog) -> u64| {
            let rows = backlog.clone();
            rows.map(move |one| (vec![one.route.to_string()], count(one)))
        };
        self.rows(&f::RETRIES, of(|one| one.retrying))?;
        self.rows(&f::RETRIES_DUE, of(|one| one.due))?;
        self.rows(&f::DEFERRED, of(|one| one.deferred))?;
        self.rows(&f::DEFERRED_OLDEST, of(|one| one.deferred_oldest_s))?;
        self.rows(&f::DEAD, of(|one| one.dead))?;
        if let Some(bytes) = seen.sqlite_log {
            self.one(&f::SQLITE_LOG, bytes)?;
        }
        if let Some(contradictions) = seen.contradictions {
            self.one(&f::IMBALANCES, contradictions)?;
        }
        if let Some(mismatch) = &seen.witness {
            self.one(&f::WITNESS, mismatch.is_some().into())?;
        }
        if let Some(seconds) = seen.ends_held_back_s {
            self.one(&f::ENDS_HELD_BACK, seconds)?;
        }
        let Some(accounts) = &seen.accounts else {
            return Ok(());
        };
        let reported = accounts.reported.iter();
        let reported = reported.map(|(route, receipts)| (vec![route.to_string()], *receipts));
        self.rows(&f::REPORTED, reported)?;
        let oldest = accounts.open.first().map_or(0, |it| it.seconds);
        let overdue = accounts.open.iter().filter(|it| it.passed).count();
        self.one(&f::OPEN, accounts.open_count())?;
        self.one(&f::OLDEST, oldest)?;
        self.one(&f::OVERDUE, overdue as u64)?;
        self.one(&f::GAPS, accounts.gaps.len() as u64)
    }

    fn one(&mut self, family: &Family, value: u64) -> fmt::Result {
        self.rows(family, [(Vec::new(), value)])
    }

    /// Writes a metric with one row for each combination of label values. A metric without rows is
    /// left out.
    fn rows(
        &mut self,
        family: &Family,
        rows: impl IntoIterator<Item = (Vec<String>, u64)>,
    ) -> fmt::Result {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let kind = match family.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge | Kind::Histogram => MetricType::Gauge,
        };
        let mut encoder = self
            .0
            .encode_descriptor(family.name, family.help, None, kind)?;
        for (values, value) in rows {
            let labels: Vec<(&str, String)> = family.labels.iter().copied().zip(values).collect();
            if labels.is_empty() {
                row(&mut encoder, family.kind, value)?;
            } else {
                row(&mut encoder.encode_family(&labels)?, family.kind, value)?;
            }
        }
        Ok(())
    }

    fn histogram(&mut self, family: &Family, latencies: &ingest::Latencies) -> fmt::Result {
        let kind = MetricType::Histogram;
        let mut encoder = self
            .0
            .encode_descriptor(family.name, family.help, None, kind)?;
        let buckets = latencies.buckets();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = latencies.sum_seconds();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

fn row(encoder: &mut MetricEncoder<'_>, kind: Kind, value: u64) -> fmt::Result {
    match kind {
        Kind::Counter => encoder.encode_counter::<NoLabelSet, u64, u64>(&value, None),
        Kind::Gauge | Kind::Histogram => encoder.encode_gauge(&value),
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests;
