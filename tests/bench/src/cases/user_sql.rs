//! What it costs when a user's statements write the rows: how many events a second the handler
//! `sql` commits from a full queue, divided by the rate of `begini`, which writes the same rows
//! into tables of the same form. The statements run once for each batch, as the document on
//! handlers advises. The two handlers are measured in turns, and only one of them has workers at a
//! time.

use anyhow::{Result, ensure};

use super::processed::Drain;
use super::turns;
use crate::bench::Bench;
use crate::deployment::{Config, Storage};
use crate::figure::{Figure, Goal, Unit};
use crate::floors::Floor;
use crate::load::Kind;

/// The statements for one database.
struct Statements {
    storage: Storage,
    /// Lines for the section `[route.handler]` of hookbox's config.
    settings: &'static str,
    /// The SQL text that creates the tables into which the statements write.
    tables: &'static str,
    /// The tables, each with the number of rows that the statements write into it for an event.
    rows: [(&'static str, u64); 2],
    /// How many workers run the statements. One transaction at a time writes to a SQLite file, so a
    /// second worker would only wait for the first.
    workers: usize,
    floors: &'static [Floor],
}

const POSTGRES: Statements = Statements {
    storage: Storage::Servers,
    settings: include_str!("user_sql/postgres.toml"),
    tables: include_str!("user_sql/postgres.sql"),
    rows: [("scoring.scores", 1), ("scoring.traits", 4)],
    workers: 2,
    floors: &[Floor::JobTable],
};

const SQLITE: Statements = Statements {
    storage: Storage::TwoFiles,
    settings: include_str!("user_sql/sqlite.toml"),
    tables: include_str!("user_sql/sqlite.sql"),
    rows: [("scoring_scores", 1), ("scoring_traits", 4)],
    workers: 1,
    floors: &[Floor::SqliteCommits],
};

pub(crate) fn on_postgres(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    measure(bench, &POSTGRES)
}

pub(crate) fn on_sqlite(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    measure(bench, &SQLITE)
}

fn measure(bench: &Bench<'_>, statements: &Statements) -> Result<Vec<Figure>> {
    let config = Config::of(statements.storage, "begini");
    let mut begini = Drain::new(bench, config, Kind::Good)?;
    let mut sql = Drain::new(
        bench,
        Config {
            handler: "sql",
            settings: statements.settings,
            ..config
        },
        Kind::Good,
    )?;
    let store = sql.deployment.store.clone();
    bench.runtime.block_on(store.execute(statements.tables))?;
    let events = bench.amount(60_000, 640);
    let warm_up = bench.amount(4_000, 64);
    let workers = statements.workers;
    begini.commits(warm_up, workers)?;
    sql.commits(warm_up, workers)?;
    let turns = turns::measure(
        bench,
        || begini.run(events, workers),
        || sql.run(events, workers),
    )?;
    begini.check(&[])?;
    sql.check(&[])?;
    for (table, each) in statements.rows {
        let found = bench.runtime.block_on(store.rows(table))?;
        let wanted = sql.sent() * each;
        ensure!(
            found == wanted,
            "the table {table} has {found} rows, not {wanted}"
        );
    }
    let share = Figure::new("share of the rate of `begini`", Unit::Ratio, turns.shares);
    Ok(vec![
        Figure::new("processed, `begini`", Unit::PerSecond, turns.plain).floors(statements.floors),
        Figure::new("processed, `sql`", Unit::PerSecond, turns.other).floors(statements.floors),
        share.goal(Goal::AtLeast(0.7)),
    ])
}
