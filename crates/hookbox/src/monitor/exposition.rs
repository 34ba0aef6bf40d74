//! The two text formats of metrics, and the choice between them by the `Accept` header.

use std::collections::HashSet;

use http::HeaderMap;
use http::header::ACCEPT;

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0, which Prometheus requests.
    OpenMetrics,
    /// The older format of Prometheus, 0.0.4, which every other reader understands.
    Text,
}

impl Exposition {
    /// Returns the requested format; without a preference, the format that every reader
    /// understands.
    pub fn requested_by(headers: &HeaderMap) -> Self {
        let texts = headers.get_all(ACCEPT).iter();
        let texts = texts.filter_map(|value| value.to_str().ok());
        let ranges: Vec<Range> = texts
            .flat_map(|text| text.split(','))
            .filter_map(Range::parse)
            .collect();
        let quality = |kind: &str, family: &str, version: &str| {
            let matching = ranges.iter().filter_map(|range| {
                let rank = match range.name.as_str() {
                    name if name == kind => 2,
                    name if name == family => 1,
                    "*/*" => 0,
                    _ => return None,
                };
                let wanted = range.version.as_deref();
                wanted
                    .is_none_or(|wanted| wanted == version)
                    .then_some((rank, range.quality))
            });
            // The most specific media range decides; among equally specific media ranges, the one
            // with the best quality decides.
            matching.max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))
        };
        let open = quality("application/openmetrics-text", "application/*", "1.0.0");
        let text = quality("text/plain", "text/*", "0.0.4").map_or(0.0, |(_, quality)| quality);
        match open {
            // A rank of at least 1 means that the reader named `application`. A reader that accepts
            // only `*/*` (rank 0) gets the older format.
            Some((1.., quality)) if quality > 0.0 && quality >= text => Self::OpenMetrics,
            Some(_) | None => Self::Text,
        }
    }

    /// Returns the content type of a page in this format.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Converts a page of OpenMetrics to this format.
    pub fn of(self, page: String) -> String {
        match self {
            Self::OpenMetrics => page,
            Self::Text => text(&page),
        }
    }
}

/// One media range of an `Accept` header.
struct Range {
    name: String,
    version: Option<String>,
    quality: f64,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next()?.to_ascii_lowercase();
        let mut range = Self {
            name,
            version: None,
            quality: 1.0,
        };
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match key.trim().to_ascii_lowercase().as_str() {
                "version" => range.version = Some(value.to_owned()),
                "q" => range.quality = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?,
                _ => {}
            }
        }
        Some(range)
    }
}

/// Converts a page to the older format. In that format, the name of a counter includes `_total` in
/// every line, and there are no lines with units and no end marker.
fn text(page: &str) -> String {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counters: HashSet<&str> = types
        .filter_map(|line| line.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(page.len());
    for line in page.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let about = ["# HELP ", "# TYPE "].iter().find_map(|mark| {
            let (name, rest) = line.strip_prefix(mark)?.split_once(' ')?;
            counters.contains(name).then_some((mark, name, rest))
        });
        match about {
            Some((mark, name, rest)) => text += &format!("{mark}{name}_total {rest}\n"),
            None => {
                text += line;
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asked(accept: &str) -> Exposition {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
        Exposition::requested_by(&headers)
    }

    #[test]
    fn the_requested_format_is_sent() {
        use Exposition::{OpenMetrics, Text};
        assert_eq!(Exposition::requested_by(&HeaderMap::new()), Text);
        // The `Accept` header of Prometheus 2.42, and that of Prometheus 3.
        let two = "application/openmetrics-text;version=1.0.0,\
                   application/openmetrics-text;version=0.0.1;q=0.75,\
                   text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let three = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                     application/openmetrics-text;version=0.0.1;q=0.5,\
                     text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                     text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, exposition) in [
            (two, OpenMetrics),
            (three, OpenMetrics),
            ("*/*", Text),
            ("text/plain", Text),
            ("text/plain;version=0.0.4", Text),
            ("text/html, */*;q=0.8", Text),
            ("application/json", Text),
            ("application/openmetrics-text", OpenMetrics),
            (
                "Application/OpenMetrics-Text; Version=\"1.0.0\"",
                OpenMetrics,
            ),
            ("application/openmetrics-text;version=2.0.0", Text),
            ("application/openmetrics-text;q=0", Text),
            ("application/openmetrics-text;q=0.5, text/plain;q=0.6", Text),
            ("application/openmetrics-text;q=0.5, text/*;q=0.6", Text),
            (
                "application/openmetrics-text;q=0.6, text/plain;q=0.5",
                OpenMetrics,
            ),
            ("application/openmetrics-text;q=nonsense", Text),
            ("", Text),
        ] {
            assert_eq!(asked(accept), exposition, "{accept}");
        }
    }

    #[test]
    fn the_older_format_names_counters_as_a_whole() {
        let page = "# HELP a_seen Seen.\n# TYPE a_seen counter\n# UNIT a_seen events\n\
                    a_seen_total{by=\"x\"} 1\n# HELP b Now.\n# TYPE b gauge\nb 2\n# EOF\n";
        let text = "# HELP a_seen_total Seen.\n# TYPE a_seen_total counter\n\
                    a_seen_total{by=\"x\"} 1\n# HELP b Now.\n# TYPE b gauge\nb 2\n";
        assert_eq!(Exposition::Text.of(page.to_owned()), text);
        assert_eq!(Exposition::OpenMetrics.of(page.to_owned()), page);
    }
}
