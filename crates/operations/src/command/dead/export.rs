//! `dead export`: writes dead letters with their bodies, one JSON object per line.
//!
//! Each line is an object with the fields `dead` (as in `dead list`), `history` (as in `events
//! show`, without the body) and `body_base64`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookbox_driver::{DeadFilter, DeadLetter, Ledger};
use serde::Serialize;

use super::group::regroup_for;
use super::{DeadLine, words};
use crate::command::history::History;
use crate::render::terminal;
use crate::{CommandError, Operator, Problem, Source};

/// How many ids of dead letters one query reads. The bodies are read one by one, so that only one
/// body is in memory.
const PAGE: u32 = 200;

/// The result of an export.
#[derive(Debug, Clone, Serialize)]
pub struct ExportReport {
    /// Where the dead letters come from (broker or store): always the store.
    pub source: Source,
    /// The filter that selected the dead letters, in words.
    pub filter: String,
    /// How many dead letters matched the filter at the start.
    pub matched: u64,
    /// How many dead letters were written, one per line.
    pub exported: u64,
    /// How many of the given ids were not exported, because they belong to no dead letter that
    /// matches the filter.
    pub not_found: u64,
    /// Whether the operator interrupted the export between two lines.
    pub interrupted: bool,
    /// What failed during the export. The lines that were written are complete.
    pub problems: Vec<Problem>,
}

#[derive(Serialize)]
struct Line<'a> {
    dead: DeadLine,
    history: History,
    body_base64: &'a str,
}

/// Exports dead letters to a new file that only its owner may read, or to `stdout`. A row is
/// written to the audit first. If ids are given and none of them matches, no file is created and no
/// row written.
pub async fn export(
    ledger: &dyn Ledger,
    filter: &DeadFilter,
    output: Option<&Path>,
    stdout: &mut (dyn Write + Send),
    by: &str,
    operator: &mut dyn Operator,
) -> Result<ExportReport, CommandError> {
    let mut filter = filter.clone();
    filter.ids.sort_unstable();
    filter.ids.dedup();
    regroup_for(ledger, &filter).await?;
    let matched = ledger
        .dead_count(&filter)
        .await
        .map_err(CommandError::store("count the dead letters"))?;
    let mut report = ExportReport {
        source: Source::Store,
        filter: words(&filter),
        matched,
        exported: 0,
        not_found: (filter.ids.len() as u64).saturating_sub(matched),
        interrupted: false,
        problems: Vec::new(),
    };
    if matched == 0 && !filter.ids.is_empty() {
        return Ok(report);
    }
    let to = output.map_or_else(
        || "the output".to_owned(),
        |path| path.display().to_string(),
    );
    let mut file = match output {
        Some(path) => Some(create(path).map_err(|source| CommandError::Output {
            to: to.clone(),
            advice: "the output must be a new file in a folder that you may write to; an existing \
                     file is not overwritten",
            source,
        })?),
        None => None,
    };
    let subject = format!("{matched} dead letters with bodies ({})", report.filter);
    let audited = ledger.audit(by, "dead.export", &subject).await;
    if let (Err(_), Some(path)) = (&audited, output) {
        // Nothing was written to the file, and the next export to it would be refused because it
        // exists. If it cannot be removed, that export says so.
        let _ = fs::remove_file(path);
    }
    audited.map_err(CommandError::store("record the export in the audit"))?;
    let writer: &mut (dyn Write + Send) = match &mut file {
        Some(file) => file,
        None => stdout,
    };
    let mut writer = io::BufWriter::new(writer);
    let written = lines(ledger, &filter, &mut writer, &mut report, operator).await;
    written
        .and_then(|()| writer.flush())
        .and_then(|()| drop_buffer(writer))
        .and_then(|()| file.as_ref().map_or(Ok(()), File::sync_all))
        .map_err(|source| CommandError::Output {
            to,
            advice: "the file is not complete; free some space, and export again",
            source,
        })?;
    Ok(report)
}

/// Writes what is left in the buffer and drops the buffer. The buffer borrows the file, so the file
/// can be synced only after the buffer is dropped.
fn drop_buffer(writer: io::BufWriter<&mut (dyn Write + Send)>) -> io::Result<()> {
    writer.into_inner().map(drop).map_err(Into::into)
}

async fn lines(
    ledger: &dyn Ledger,
    filter: &DeadFilter,
    writer: &mut (dyn Write + Send),
    report: &mut ExportReport,
    operator: &mut dyn Operator,
) -> io::Result<()> {
    let mut after = 0;
    loop {
        let rows = match ledger.dead_list(filter, after, PAGE).await {
            Ok(rows) => rows,
            Err(fault) => {
                report.problems.push(Problem::of(Source::Store, &fault));
                return Ok(());
            }
        };
        let Some(last) = rows.last() else {
            if !filter.ids.is_empty() && report.problems.is_empty() {
                // Some may have been changed since they were counted.
                report.not_found = (filter.ids.len() as u64).saturating_sub(report.exported);
            }
            return Ok(());
        };
        after = last.id;
        for row in rows {
            operator.progress(report.exported, report.matched);
            if operator.interrupted() {
                report.interrupted = true;
                return Ok(());
            }
            match ledger.dead_show(row.id).await {
                Ok(Some(dead)) => {
                    line(writer, &dead)?;
                    report.exported += 1;
                }
                // The dead letter was listed a moment ago and no longer exists, so an operator has
                // deleted its row. hookbox itself deletes no dead letters.
                Ok(None) => {}
                Err(fault) => report.problems.push(Problem::of(Source::Store, &fault)),
            }
        }
    }
}

fn line(writer: &mut (dyn Write + Send), dead: &DeadLetter) -> io::Result<()> {
    let body = STANDARD.encode(&dead.history.body);
    let line = Line {
        dead: DeadLine::of(&dead.row),
        history: History::of(&dead.history),
        body_base64: &body,
    };
    // The output may be a terminal, so control characters in the line are escaped.
    let line = terminal::json(&serde_json::to_string(&line)?);
    writer.write_all(line.as_bytes())?;
    writer.write_all(b"\n")
}

/// Creates a new file that only its owner may read, because bodies are personal data. The file has
/// these permissions from the moment it exists.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}
