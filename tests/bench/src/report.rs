//! Writes docs/BENCHMARKS.md: the method, and one dated table of figures.

use std::fmt::Write as _;

use serde_json::Value;

/// Returns the text of docs/BENCHMARKS.md.
pub(crate) fn document(figures: &Value) -> String {
    let mut text = String::from(METHOD);
    measured(&mut text, figures);
    text.push_str("\n| | ");
    let pairs = all(figures);
    let names: Vec<String> = pairs.iter().map(|pair| plain(&pair["name"])).collect();
    text.push_str(&names.join(" | "));
    // Writing into a string cannot fail.
    let _ = writeln!(text, " |\n|---|{}", "---:|".repeat(pairs.len()));
    floors(&mut text, figures);
    results(&mut text, pairs);
    ratios(&mut text, figures);
    text.push_str(REPEAT);
    text
}

const METHOD: &str = "\
# Benchmarks

Written by `cargo xtask bench`; do not edit by hand. The figures of one machine matter less than
their ratio to the *floors*: what the servers alone do on the same machine in the same run.

## Method

- Clients, ingest, both workers, RabbitMQ and PostgreSQL share the cores that are named below. On
  separate machines each would have more, so that no figure here is a limit of the program.
- **Accepted** is a request that was answered 200, after the broker has confirmed it. The client
  counts it over 64 connections, each of which waits for a response before it sends again. Latency
  is the time from the first byte of the request to the last byte of the response. It is therefore
  that of a receiver under full load: by Little's law, 64 divided by the rate.
- **Processed** is the number of accepted receipts, divided by the time from the first request until
  every receipt had its outcome in the store: duplicates are recognised, conflicts and broken bodies
  are dead letters, Begini's rows are committed. The time of sending is included. The end is
  detected by running `hookbox reconcile` repeatedly, which takes time itself and makes the figure a
  little too low.
- A run counts only when its accounting balances: `done`, `duplicate` and `conflict` must be what the
  traffic was made of, or the bench fails.
- **Peak memory** is `VmHWM`, the most memory that the process ever used, warm-up included.
- Each floor uses one connection and no code of hookbox, and is the best of four counts of two
  seconds: publishes of one message of 600 bytes to a quorum queue, 64 unconfirmed at a time; rows of
  600 bytes into a table with one index, one row or 64 rows a commit; commits of one row into SQLite
  with `synchronous=FULL`.
- A ratio above 1 is possible: hookbox shares a message, a confirm and a commit between the events of
  a batch, and publishes on several channels; the floor of single events does neither. A ratio below 1
  to the batched rows shows what an event costs beyond one insert: verification, the claim, the
  receipt, the schema check, the rows of the handler and the indexes of all of them.
- The quorum queue has one member here. With three members a confirm waits for a majority, so that
  latency grows by a round trip and an fsync.
";

const REPEAT: &str = "
## Repeat it

```sh
cargo xtask bench               # writes this document
cargo xtask bench --json        # writes it, and prints the bare figures
```

It starts private servers on free ports, and stops them. Leave the machine alone meanwhile: any other
work changes the figures.
";

/// Writes when, on which machine and with which events the table was measured.
fn measured(text: &mut String, figures: &Value) {
    let (machine, versions) = (&figures["machine"], &figures["versions"]);
    let of = |name: &str| plain(&machine[name]);
    let version = |name: &str| plain(&versions[name]);
    let _ = write!(
        text,
        "\n## Measured on {}\n\n\
         {} events of Begini to one ingest and two workers, with 5 % duplicates and 0.5 % conflicts \
         beside them; 1 % of the events altered after signing, 1 % malformed; handler `begini`.\n\n\
         Machine: {} cores ({}), {} MiB of memory, {}, file system {}, {}; RabbitMQ {}, \
         PostgreSQL {}, SQLite {}; hookbox at commit {}. Other work on all cores before the start: \
         {} %.\n",
        of("date"),
        plain(&figures["events"]),
        of("cores"),
        of("processor"),
        of("memory_mib"),
        of("kernel"),
        of("file_system"),
        of("rustc"),
        version("rabbitmq"),
        version("postgresql"),
        version("sqlite"),
        of("commit"),
        whole(&machine["other_work_percent"]),
    );
    let other = &machine["other_work_percent"];
    if other.as_f64().is_some_and(|percent| percent > QUIET) {
        text.push_str(DISTURBED);
    }
}

/// The percentage of busy cores up to which a machine counts as idle. System daemons stay below it.
const QUIET: f64 = 5.0;

const DISTURBED: &str = "\n**The machine did other work when this began**: the figures are \
too low, and differ from run to run.\n";

/// Writes a row of the table: one value in the column of one pair of a broker and a store, and
/// dashes in the columns of the other pairs.
fn row_of_one(text: &mut String, figures: &Value, (name, pair): (&str, usize), value: &str) {
    let cell = |number| if number == pair { value } else { "–" };
    let cells: Vec<&str> = (0..all(figures).len()).map(cell).collect();
    let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
}

fn floors(text: &mut String, figures: &Value) {
    for (pair, name, key) in FLOORS {
        let value = whole(&figures["floors"][key]);
        row_of_one(text, figures, (name, pair), &value);
    }
}

const FLOORS: [(usize, &str, &str); 4] = [
    (0, "Floor: confirmed publishes a second", "amqp_publishes"),
    (0, "Floor: rows a second, one a commit", "postgres_inserts"),
    (
        0,
        "Floor: rows a second, 64 a commit",
        "postgres_batched_inserts",
    ),
    (1, "Floor: commits a second", "sqlite_commits"),
];

fn results(text: &mut String, pairs: &[Value]) {
    for (name, pointer, digits) in ROWS {
        let _ = write!(text, "| {name} |");
        for pair in pairs {
            let value = pair["figures"].pointer(pointer).unwrap_or(&Value::Null);
            let _ = write!(text, " {} |", number(value, digits));
        }
        text.push('\n');
    }
    for role in ["ingest", "worker 1", "worker 2"] {
        let _ = write!(text, "| Peak memory of {role}, MiB |");
        for pair in pairs {
            let kib = pair["figures"]["peak_memory_kib"][role].as_f64();
            let mib = kib.map_or("–".to_owned(), |kib| format!("{:.1}", kib / 1024.0));
            let _ = write!(text, " {mib} |");
        }
        text.push('\n');
    }
}

const ROWS: [(&str, &str, usize); 12] = [
    ("**Accepted a second**", "/accepted_per_second", 0),
    ("**Processed a second**", "/processed_per_second", 0),
    ("Latency p50, ms", "/latency_ms/p50", 1),
    ("Latency p99, ms", "/latency_ms/p99", 1),
    ("Latency max, ms", "/latency_ms/max", 1),
    ("Sent after, s", "/sent_seconds", 1),
    ("Drained after, s", "/drained_seconds", 1),
    ("Receipts", "/accepted", 0),
    ("… done", "/done", 0),
    ("… duplicate", "/duplicate", 0),
    ("… conflict", "/conflict", 0),
    ("… dead", "/dead", 0),
];

fn ratios(text: &mut String, figures: &Value) {
    for (pair, figure, floor, name) in RATIOS {
        let of = all(figures).get(pair).map(|pair| &pair["figures"][figure]);
        let of = of.and_then(Value::as_f64);
        let ratio = match (of, figures["floors"][floor].as_f64()) {
            (Some(of), Some(floor)) if floor > 0.0 => format!("{:.2}", of / floor),
            (_, _) => "–".to_owned(),
        };
        row_of_one(text, figures, (name, pair), &ratio);
    }
}

const RATIOS: [(usize, &str, &str, &str); 5] = [
    (
        0,
        "accepted_per_second",
        "amqp_publishes",
        "Ratio: accepted to confirmed publishes",
    ),
    (
        0,
        "processed_per_second",
        "postgres_inserts",
        "Ratio: processed to rows, one a commit",
    ),
    (
        0,
        "processed_per_second",
        "postgres_batched_inserts",
        "Ratio: processed to rows, 64 a commit",
    ),
    (
        1,
        "accepted_per_second",
        "sqlite_commits",
        "Ratio: accepted to commits",
    ),
    (
        1,
        "processed_per_second",
        "sqlite_commits",
        "Ratio: processed to commits",
    ),
];

fn all(figures: &Value) -> &[Value] {
    figures["pairs"].as_array().map_or(&[], Vec::as_slice)
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn whole(value: &Value) -> String {
    number(value, 0)
}

fn number(value: &Value, digits: usize) -> String {
    value
        .as_f64()
        .map_or("–".to_owned(), |number| format!("{number:.digits$}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_figure_is_shown_and_a_missing_one_is_a_dash() {
        let pair = |name: &str, rate: f64| {
            json!({ "name": name, "figures": {
                "accepted_per_second": rate, "processed_per_second": rate / 2.0,
                "latency_ms": { "p50": 1.25, "p99": 9.0 },
                "peak_memory_kib": { "ingest": 2048 },
            }})
        };
        let figures = json!({
            "events": 10,
            "machine": { "other_work_percent": 40.4 },
            "floors": { "amqp_publishes": 100.0, "postgres_inserts": 0.0, "sqlite_commits": 50.0 },
            "pairs": [pair("A", 300.0), pair("B", 20.0)],
        });
        let text = document(&figures);
        for line in [
            "| **Accepted a second** | 300 | 20 |",
            "| **Processed a second** | 150 | 10 |",
            "| Peak memory of ingest, MiB | 2.0 | 2.0 |",
            "| Peak memory of worker 1, MiB | – | – |",
            "| Floor: confirmed publishes a second | 100 | – |",
            "| Floor: commits a second | – | 50 |",
            "| Ratio: accepted to confirmed publishes | 3.00 | – |",
            "| Ratio: processed to rows, one a commit | – | – |",
            "| Ratio: processed to commits | – | 0.20 |",
            DISTURBED.trim(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
        assert!(
            text.contains("Other work on all cores before the start: 40 %."),
            "{text}"
        );
    }
}
