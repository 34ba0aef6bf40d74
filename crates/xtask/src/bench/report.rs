//! Writes the document: the figures in tables, what they mean, and what they do not show.

use std::fmt::Write as _;

use serde_json::Value;

/// Returns the text of docs/BENCHMARKS.md.
pub(super) fn document(figures: &Value) -> String {
    let mut text = String::from("# Benchmarks\n\n");
    // Writing into a string cannot fail.
    let _ = write!(
        text,
        "Written by `cargo xtask bench --events {}`; do not edit by hand. What matters is less \
         the figures of one machine than their ratio to what the servers alone do on the same \
         machine in the same run: the *floors*.\n\n",
        figures["events"]
    );
    machine(&mut text, figures);
    floors(&mut text, &figures["floors"]);
    pairs(&mut text, figures);
    ratios(&mut text, figures);
    text.push_str(MEANING);
    text
}

const MEANING: &str = "\
## What the figures mean

- Clients, ingest, both workers, RabbitMQ and PostgreSQL share the cores named above. On machines \
of their own each would have more; no figure here is a limit of the program.
- **Accepted** is a request that was answered with 200, which is after the broker has confirmed \
it. It is counted by the client, over 64 connections, each of which waits for its answer before it \
sends again. Latency is from the first byte of the request to the last of the answer, so it is \
that of a receiver under full load: by Little's law, 64 divided by the rate.
- **Processed** is accepted receipts divided by the time from the first request until every one \
of them had its outcome in the store: duplicates recognised, conflicts and broken bodies in the \
dead letters, Begini's rows committed. It includes the time of sending. The end is noticed by \
`hookbox reconcile`, run again and again, which takes some time itself and makes the figure a \
little too low.
- The run counts only when its accounting balances: `done`, `duplicate` and `conflict` must be what the \
traffic was made of, or the bench fails.
- **Peak memory** is `VmHWM`, the most that the process ever had in memory, warm-up included.
- The floors are one connection each, without any code of hookbox, the best of four counts of two \
seconds: publishes of one message of \
600 bytes to a quorum queue, 64 unconfirmed at a time; rows of 600 bytes into a table with one \
index, one row or 64 rows a commit; commits of one row into SQLite with `synchronous=FULL`.
- A ratio above 1 is possible: hookbox shares a message, a confirm and a commit between the \
events of a batch, and publishes on several channels, where the floor of single events does not. \
A ratio below 1 against the batched rows is what an event costs beyond one insert: verifying, the \
claim, the receipt, the checked schema, the rows of the handler and the indexes of all of them.
- The quorum queue has one member here. With three, a confirm waits for a majority, so latency \
grows by a round trip and an fsync.

## Repeat it

```sh
cargo xtask bench               # writes this document
cargo xtask bench --json        # the same, and prints the bare figures
```

It starts servers of its own on free ports, and ends them. Leave the machine alone meanwhile: \
whatever else runs is in the figures.
";

fn machine(text: &mut String, figures: &Value) {
    let (machine, versions) = (&figures["machine"], &figures["versions"]);
    text.push_str("## Machine\n\n| | |\n|---|---|\n");
    for (name, value) in [
        ("Date", &machine["date"]),
        ("Cores", &machine["cores"]),
        ("Processor", &machine["processor"]),
        ("Memory, MiB", &machine["memory_mib"]),
        ("Kernel", &machine["kernel"]),
        ("File system", &machine["file_system"]),
        ("Compiler", &machine["rustc"]),
        ("Commit", &machine["commit"]),
        ("RabbitMQ", &versions["rabbitmq"]),
        ("PostgreSQL", &versions["postgresql"]),
        ("SQLite", &versions["sqlite"]),
    ] {
        let _ = writeln!(text, "| {name} | {} |", plain(value));
    }
    let other = &machine["other_work_percent"];
    let _ = writeln!(
        text,
        "| Other work on all cores before the start, % | {} |",
        whole(other)
    );
    if other.as_f64().is_some_and(|percent| percent > QUIET) {
        text.push_str(DISTURBED);
    }
}

/// The percentage of busy cores up to which a machine counts as idle. System daemons stay below it.
const QUIET: f64 = 5.0;

const DISTURBED: &str = "\n**The machine did other work when this began**: the figures are \
too low, and differ from run to run.\n";

fn floors(text: &mut String, floors: &Value) {
    text.push_str("\n## Floors: the servers alone\n\n| | a second |\n|---|---:|\n");
    for (name, key) in FLOORS {
        let _ = writeln!(text, "| {name} | {} |", whole(&floors[key]));
    }
}

const FLOORS: [(&str, &str); 4] = [
    ("RabbitMQ: confirmed publishes", "amqp_publishes"),
    ("PostgreSQL: rows, one a commit", "postgres_inserts"),
    ("PostgreSQL: rows, 64 a commit", "postgres_batched_inserts"),
    ("SQLite: commits", "sqlite_commits"),
];

fn pairs(text: &mut String, figures: &Value) {
    let _ = write!(
        text,
        "\n## hookbox: one ingest, two workers\n\n{} events of Begini, and beside them 5 % \
         duplicates and 0.5 % conflicts; 1 % of the events altered after signing, 1 % malformed; \
         handler `begini`.\n\n| |",
        figures["events"]
    );
    let pairs = all(figures);
    for pair in pairs {
        let _ = write!(text, " {} |", plain(&pair["name"]));
    }
    let _ = writeln!(text, "\n|---|{}", "---:|".repeat(pairs.len()));
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
    text.push_str("\n## Ratios to the floors\n\n| | ratio |\n|---|---:|\n");
    for (pair, figure, floor, name) in RATIOS {
        let of = all(figures).get(pair).map(|pair| &pair["figures"][figure]);
        let of = of.and_then(Value::as_f64);
        let ratio = match (of, figures["floors"][floor].as_f64()) {
            (Some(of), Some(floor)) if floor > 0.0 => format!("{:.2}", of / floor),
            (_, _) => "–".to_owned(),
        };
        let _ = writeln!(text, "| {name} | {ratio} |");
    }
    text.push('\n');
}

const RATIOS: [(usize, &str, &str, &str); 5] = [
    (
        0,
        "accepted_per_second",
        "amqp_publishes",
        "RabbitMQ: accepted to confirmed publishes",
    ),
    (
        0,
        "processed_per_second",
        "postgres_inserts",
        "PostgreSQL: processed to rows, one a commit",
    ),
    (
        0,
        "processed_per_second",
        "postgres_batched_inserts",
        "PostgreSQL: processed to rows, 64 a commit",
    ),
    (
        1,
        "accepted_per_second",
        "sqlite_commits",
        "SQLite: accepted to commits",
    ),
    (
        1,
        "processed_per_second",
        "sqlite_commits",
        "SQLite: processed to commits",
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
            "| RabbitMQ: accepted to confirmed publishes | 3.00 |",
            "| PostgreSQL: processed to rows, one a commit | – |",
            "| SQLite: processed to commits | 0.20 |",
            "| Kernel | – |",
            "| Other work on all cores before the start, % | 40 |",
            DISTURBED.trim(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
    }
}
