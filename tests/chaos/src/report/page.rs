//! `docs/FAULTS.md`: what is promised under which fault, and which test shows it. The page is made
//! from the catalogue alone. It holds no result of a run: results are in `target/chaos/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};

use crate::case::{Case, Proof};
use crate::catalog;
use crate::fault;
use crate::invariants::INVARIANTS;
use crate::matrix::Cell;
use crate::mutants;
use crate::pair::Pair;
use crate::repository::path;

/// The path of the page in the repository.
const PAGE: &str = "docs/FAULTS.md";

/// Writes docs/FAULTS.md from the catalogue.
///
/// # Errors
/// When a mutant cannot be read, or the page cannot be written.
pub fn write() -> Result<()> {
    fs::write(path(PAGE), document()?).with_context(|| format!("writing {PAGE}"))
}

/// Returns the text of docs/FAULTS.md.
fn document() -> Result<String> {
    let mut text = String::from(HEAD);
    cases(catalog::faults(), &mut text);
    text.push_str(CANARIES);
    cases(catalog::canaries(), &mut text);
    text.push_str(SOAK);
    soak(&mut text);
    text.push_str(CHECKED);
    invariants(&mut text);
    text.push_str(MATRIX);
    matrix(&mut text);
    text.push_str(MUTANTS);
    broken_on_purpose(&mut text)?;
    Ok(text)
}

fn cases(cases: impl Iterator<Item = &'static Case>, text: &mut String) {
    for case in cases {
        let mut proofs: Vec<String> = case.proofs.iter().map(Proof::label).collect();
        proofs.dedup();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            case.number,
            case.name,
            case.what,
            proofs.join("; "),
        );
    }
}

fn soak(text: &mut String) {
    for pair in Pair::ALL {
        let kinds: BTreeSet<String> = fault::all(pair).iter().map(|it| it.kind()).collect();
        let kinds: Vec<String> = kinds.into_iter().collect();
        let _ = writeln!(text, "| {pair} | {} |", kinds.join(", "));
    }
}

fn invariants(text: &mut String) {
    for invariant in INVARIANTS {
        let _ = writeln!(
            text,
            "| I{} | {} | {} |",
            invariant.number,
            invariant.what,
            invariant.checked()
        );
    }
}

fn matrix(text: &mut String) {
    let mut pairs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for cell in Cell::all().into_iter().filter(|cell| cell.time == 1) {
        pairs
            .entry(cell.point.name)
            .or_default()
            .push(cell.pair.as_str());
    }
    for (point, pairs) in pairs {
        let _ = writeln!(text, "| {point} | {} |", pairs.join(", "));
    }
}

fn broken_on_purpose(text: &mut String) -> Result<()> {
    for mutant in mutants::all()? {
        let catchers: Vec<String> = mutant.catchers.iter().map(|it| format!("`{it}`")).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            mutant.name,
            mutant.breaks,
            catchers.join(", ")
        );
    }
    Ok(())
}

const HEAD: &str = "\
# Faults

What hookbox promises under each fault, and which test shows it. `cargo xtask chaos --report` writes
this page from the catalogue in the source of the fault suite; do not edit it. The page holds no
results: `cargo xtask chaos` prints them and keeps them as JSON in the folder chaos under target.

`cargo xtask chaos --list` names the cases; `--case NAME` runs one, `--seed N` repeats the random
choices of a run, `--layer NAME` runs a layer, `--minutes M` soaks, and `--mutants` breaks the code
on purpose. After each run one checker compares what the client recorded on disk with the tables in
the store. The tables of the effects have no unique key, so that a double effect shows.

## The cases

A case holds when everything in its last column holds.

| shown by | what runs |
|---|---|
| real faults | `cargo xtask chaos --layer faults`: real servers and processes, under load |
| crash points | `cargo xtask chaos --layer crashes`: the process ends itself at a named point |
| a package and names | tests whose names contain one of these; every `cargo xtask test` runs them |
| simulation | `cargo xtask chaos --layer simulation`: hookbox on simulated servers, many seeds |
| cluster | `cargo xtask chaos --layer cluster`: three RabbitMQ nodes in network namespaces |
| `cargo xtask skew` | an older hookbox beside this one, on the same servers |
| soak | `cargo xtask chaos --layer soak`: random faults, for as long as requested |

| no. | name | promise | shown by |
|---|---|---|---|
";

const CANARIES: &str = "
## The canaries

Each canary asserts that a hazard of [HAZARDS.md](HAZARDS.md) still exists in a library or a server.
The number of a canary is that of its hazard plus 100. When a canary fails, hookbox may no longer
need what protects it from that hazard. HAZARDS.md says why H6 and H7 have no canary.

| no. | name | hazard that must still exist | shown by |
|---|---|---|---|
";

const SOAK: &str = "
## The soak: case 84

Faults are drawn from the seed and inflicted under load, some of them two at a time. After each
round all faults are healed, all queues drain, and the checker runs: every receipt that was answered
200 has its outcome, every accepted event has exactly one effect or the dead letter that it must
have, and the accept reports match the outcomes. Each event also goes through the handlers `sql` and
`forward`, and on RabbitMQ through `publish`.

| pair | faults |
|---|---|
";

const CHECKED: &str = "
## The invariants

A file of the fault suite checks its invariants after every real fault, crash, partition and round
of a soak. A file of the simulation checks them after every seed. An invariant that cannot be
observed from outside is shown by the tests that it names.

| no. | what always holds | checked by |
|---|---|---|
";

const MATRIX: &str = "
## The crash-point matrix

At each point the process ends itself: once when it reaches the point for the first time, and once
at the second time, on each pair of broker and store that has the point. Then the checker runs.

| point | pairs |
|---|---|
";

const MUTANTS: &str = "
## Broken on purpose

Each line names a change to the code that breaks a promise, and the commands that then test the
broken code. At least one of them must fail. First, every command must pass on the same code without
the change.
`cargo xtask chaos --mutants` tries them all.

| mutant | breaks | caught by |
|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::{PAGE, document};
    use crate::catalog::sources;
    use crate::repository::path;

    fn page() -> String {
        std::fs::read_to_string(path(PAGE)).unwrap()
    }

    /// Returns the names of the tests in one line of a table. In a line of a case they follow the
    /// name of a package; in a line of an invariant they are in the last column.
    fn tests(line: &str) -> Vec<&str> {
        let proofs = line.split(" | ").last().unwrap_or_default();
        let proofs = proofs.trim_end_matches(" |").split("; ");
        let of_packages = proofs.clone().filter(|it| it.starts_with("`hookbox"));
        let of_packages = of_packages.filter_map(|it| it.split_once("`: "));
        let mut names: Vec<&str> = of_packages.flat_map(|(_, it)| it.split(", ")).collect();
        if line.starts_with("| I") {
            let checks = proofs.flat_map(|it| it.split(", "));
            let checks = checks.map(|it| it.trim_matches('`'));
            names.extend(checks.filter(|it| !it.ends_with(".rs")));
        }
        names
    }

    #[test]
    fn the_page_is_what_the_catalogue_says() {
        assert!(
            page() == document().unwrap(),
            "{PAGE} differs from the catalogue; `cargo xtask chaos --report` rewrites it"
        );
    }

    #[test]
    fn every_test_that_the_page_names_exists() {
        let (page, sources) = (page(), sources());
        let named: Vec<&str> = page.lines().flat_map(tests).collect();
        assert!(
            named.len() > 150,
            "the page must name more than 150 tests, not only {}",
            named.len()
        );
        let missing = named
            .into_iter()
            .filter(|name| !sources.contains(&format!("fn {name}")));
        assert_eq!(missing.collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
