//! graphile-worker, an established job queue on PostgreSQL, with the same two inserts as the floor
//! "job table". It is measured when node, npm and npm's registry are available.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use hookbox_testkit::servers::account::Account;
use hookbox_testkit::servers::folder::{Ending, Folder};
use hookbox_testkit::servers::ports;

use crate::repository;
use crate::store::Store;

/// The version that is measured, so that figures of different days can be compared.
const PACKAGE: &str = "graphile-worker@0.18.0";

/// The number of jobs in one measurement, which take some seconds.
const JOBS: &str = "20000";

const SCRIPT: &str = include_str!("graphile_worker.mjs");

/// Installs the package into the build folder, unless it is there. The installation runs no scripts
/// of the packages.
pub(super) fn install() -> Result<PathBuf> {
    let folder = repository::target().join("bench/graphile-worker");
    if !folder.join("node_modules/graphile-worker").is_dir() {
        std::fs::create_dir_all(&folder)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund"])
            .arg("--prefix")
            .arg(&folder)
            .args([PACKAGE, "pg"])
            .stdin(Stdio::null());
        let output = npm.output().context("running npm")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "npm cannot install graphile-worker: {error}"
        );
    }
    std::fs::write(folder.join("two_inserts.mjs"), SCRIPT)?;
    Ok(folder)
}

/// Runs the jobs in a database of their own, and returns the rate.
pub(super) async fn measure(installed: &Path, url: &str) -> Result<f64> {
    let database = format!("peer_{}", &ports::random_name()?[..12]);
    let admin = Store::Postgres(url.to_owned());
    admin
        .execute(&format!("create database {database}"))
        .await?;
    let (server, _) = url
        .rsplit_once('/')
        .context("the URL must name a database")?;
    let rate = run(installed, &format!("{server}/{database}"));
    let drop = format!("drop database {database} with (force)");
    admin.execute(&drop).await?;
    rate
}

fn run(installed: &Path, url: &str) -> Result<f64> {
    // The keeper of the folder, a process that watches the bench, ends `node` if the bench ends.
    let folder = Folder::new("peer", Account::Ourselves)?;
    let mut node = folder.watched(Path::new("node"), Ending::Kill);
    node.arg(installed.join("two_inserts.mjs"))
        .arg(JOBS)
        .env("DATABASE_URL", url)
        .stdin(Stdio::null());
    let output = node.output().context("running node")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("node failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    text.trim().parse().context("reading the rate")
}
