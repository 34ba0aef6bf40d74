//! The options that all list commands share: the number of rows, and the period.

use clap::Args;
use hookbox_config::duration;
use hookbox_driver::{Clock as _, SystemClock};
use hookbox_event::Timestamp;

/// The option for the number of rows.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// The most rows to list; `--after` lists the next ones
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// The options that limit a list to a period.
#[derive(Debug, Args)]
pub struct TimeArgs {
    /// Only from this time on: a time (RFC 3339), a day (UTC), or how long ago ("2h", "30 min")
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Timestamp>,
    /// Only before this time; takes the same forms as --since
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Timestamp>,
}

/// The options for the period in which retries are due.
#[derive(Debug, Args)]
pub struct DueArgs {
    /// Only retries due from this time on: a time (RFC 3339), a day (UTC), or how long ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Timestamp>,
    /// Only retries due before this time; takes the same forms as --since, and a time from now
    /// ("+2h")
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Timestamp>,
}

/// Parses a time, a day, or a duration before or after now.
fn moment(text: &str) -> Result<Timestamp, String> {
    moment_from(text, SystemClock.now())
}

fn moment_from(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    for written in [text.to_owned(), format!("{text}T00:00:00Z")] {
        if let Ok(moment) = Timestamp::parse_rfc3339(&written) {
            return Ok(moment);
        }
    }
    let (later, length) = match text.strip_prefix('+') {
        Some(length) => (true, length),
        None => (false, text),
    };
    let length = duration(length).map_err(|_| {
        format!(
            "{text:?} is not a time: write 2026-11-26T17:30:00Z, 2026-11-26, or how long ago, such \
             as 2h"
        )
    })?;
    if later {
        return Ok(now.saturating_add(length));
    }
    let micros = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
    Ok(Timestamp::from_unix_micros(
        now.unix_micros().saturating_sub(micros),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_absolute_or_relative() {
        let now =
            Timestamp::parse_rfc3339("2026-11-26T17:30:00Z").expect("`now` must be a valid time");
        for (text, moment) in [
            ("2026-11-26T17:30:00Z", "2026-11-26T17:30:00Z"),
            ("2026-11-26T18:30:00.5+01:00", "2026-11-26T17:30:00.5Z"),
            ("2026-11-26", "2026-11-26T00:00:00Z"),
            ("2h", "2026-11-26T15:30:00Z"),
            (" 30 min ", "2026-11-26T17:00:00Z"),
            ("+1d", "2026-11-27T17:30:00Z"),
        ] {
            let expect = Timestamp::parse_rfc3339(moment).map_err(|error| error.to_string());
            assert_eq!(moment_from(text, now), expect, "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2",
            "-2h",
            "17:30",
            "2026-13-01",
            "2026-11-26 17:30",
        ] {
            assert!(moment_from(text, now).is_err(), "{text}");
        }
    }
}
