//! Measures the floors. A floor is the number of operations a second that a server or SQLite does
//! on this machine in the same run, without code of hookbox. Each floor is measured as often as
//! every other figure, and its median counts.

mod commits;
mod graphile_worker;
mod job_table;
mod meter;
mod publishes;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

use self::meter::Length;
use crate::floors::{Floor, Floors};
use crate::servers::Servers;

/// Measures these floors `runs` times in turn, so that a disturbance affects one run of each. With
/// `is_quick` each measurement takes a tenth of a second, and the rates mean nothing. If
/// graphile-worker cannot be measured, the reason is added to `absent`, and the other floors are
/// still measured.
pub(crate) fn measure(
    wanted: &[Floor],
    runs: usize,
    is_quick: bool,
    servers: Option<&Servers>,
    runtime: &Runtime,
    absent: &mut Vec<String>,
) -> Result<Floors> {
    let length = Length::new(is_quick);
    let mut floors = Floors::default();
    let mut peer = None;
    if wanted.contains(&Floor::GraphileWorker) {
        match graphile_worker::install() {
            Ok(folder) => peer = Some(folder),
            Err(error) => absent.push(format!("graphile-worker was not measured: {error:#}")),
        }
    }
    for run in 1..=runs {
        for floor in wanted.iter().copied() {
            eprintln!("floor: {}, run {run} of {runs}", floor.name());
            let urls = || servers.context("this floor needs PostgreSQL and RabbitMQ");
            let rate = match floor {
                Floor::Publishes => runtime.block_on(publishes::measure(&urls()?.amqp, length)),
                Floor::JobTable => runtime.block_on(job_table::measure(&urls()?.postgres, length)),
                Floor::GraphileWorker => match &peer {
                    Some(folder) => {
                        let rate = graphile_worker::measure(folder, &urls()?.postgres);
                        runtime.block_on(rate)
                    }
                    None => continue,
                },
                Floor::SqliteCommits => runtime.block_on(commits::measure(length)),
            };
            let rate = match rate.with_context(|| format!("measuring {}", floor.name())) {
                Ok(rate) => rate,
                Err(error) if floor == Floor::GraphileWorker => {
                    absent.push(format!("{error:#}"));
                    peer = None;
                    continue;
                }
                Err(error) => return Err(error),
            };
            floors.0.entry(floor).or_default().push(rate);
        }
    }
    Ok(floors)
}
