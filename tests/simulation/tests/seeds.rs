//! Runs a few hundred seeds of the simulation: no seed breaks an invariant, every fault strikes,
//! and a seed repeats exactly. The program of this crate runs thousands of seeds.

use hookbox_simulation::{Fault, Summary, run};

/// The first seed. The program starts with a random seed, but a test must be repeatable.
const FIRST: u64 = 1_000;

#[test]
fn no_seed_breaks_an_invariant_and_every_fault_happens() {
    let mut all = Summary::default();
    for seed in FIRST..FIRST + 300 {
        let ran = run(seed, false).unwrap();
        if let Some(failed) = &ran.failed {
            panic!("{failed}");
        }
        all.add(&ran.summary);
    }
    for fault in Fault::ALL {
        let struck = all.faults.get(fault).copied().unwrap_or(0);
        assert!(
            struck > 0,
            "the fault {} must strike at least once",
            fault.as_str()
        );
    }
    assert!(
        all.accepted > 1_000,
        "more than 1,000 requests must be accepted, not {}",
        all.accepted
    );
    assert!(
        all.effects > 1_000,
        "more than 1,000 effects must be committed, not {}",
        all.effects
    );
    assert!(
        all.calls > 300,
        "more than 300 external calls must begin, not {}",
        all.calls
    );
    assert!(
        all.missed_calls > 30,
        "more than 30 calls must not reach their target, not {}",
        all.missed_calls
    );
    assert!(all.openings > 0, "at least one breaker must have opened");
    assert!(
        all.other_bodies > 10,
        "more than 10 receipts must differ from their event's stored body, not {}",
        all.other_bodies
    );
    assert_eq!(
        all.innocents, 0,
        "no event may be quarantined that has killed no process"
    );
}

#[test]
fn a_seed_repeats_itself_exactly() {
    for seed in FIRST..FIRST + 40 {
        let (one, other) = (run(seed, true).unwrap(), run(seed, true).unwrap());
        let differs = one.trace.iter().zip(&other.trace).find(|(a, b)| a != b);
        assert_eq!(
            differs, None,
            "seed {seed}: two runs of the same seed must have the same trace"
        );
        assert_eq!(
            one.digest, other.digest,
            "seed {seed}: two runs must have the same digest"
        );
        assert!(
            one.trace.len() > 20,
            "seed {seed}: the trace has too few lines for a real run"
        );
    }
    let digest = |seed| run(seed, false).unwrap().digest;
    assert_ne!(digest(FIRST), digest(FIRST + 1));
}
