//! Measures two deployments in turns, so that a disturbance of the machine affects both of them.

use anyhow::Result;

use crate::bench::Bench;

/// The rates of two deployments, one of each in every run.
pub(crate) struct Turns {
    pub plain: Vec<f64>,
    pub other: Vec<f64>,
    /// The rate of `other`, divided by the rate of `plain` in the same run.
    pub shares: Vec<f64>,
}

/// Measures both deployments in every run, one after the other. `plain` and `other` each measure
/// one run of their deployment, and return its rate.
pub(crate) fn measure(
    bench: &Bench<'_>,
    mut plain: impl FnMut() -> Result<f64>,
    mut other: impl FnMut() -> Result<f64>,
) -> Result<Turns> {
    let mut turns = Turns {
        plain: Vec::new(),
        other: Vec::new(),
        shares: Vec::new(),
    };
    for run in 1..=bench.runs {
        bench.say(&format!("run {run} of {}", bench.runs));
        // The deployment that is measured second may be faster or slower for that reason alone, so
        // the order changes with each run.
        let (of_plain, of_other) = if run.is_multiple_of(2) {
            let of_other = other()?;
            (plain()?, of_other)
        } else {
            (plain()?, other()?)
        };
        turns.plain.push(of_plain);
        turns.other.push(of_other);
        turns.shares.push(of_other / of_plain);
    }
    Ok(turns)
}
