//! Tests that fuzzing finds a planted defect, and that no committed input fails.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::target::TARGETS;

/// A target that panics on an input which is three mutations away from the input that `seeds`
/// returns. Each of the three mutations changes the result of the target, so that the fuzzer can
/// find them one by one.
struct Planted;

impl Target for Planted {
    fn seeds(&self) -> Vec<Vec<u8>> {
        vec![b"hookbox".to_vec()]
    }

    fn words(&self) -> Vec<&'static [u8]> {
        vec![b"dead", b"letter"]
    }

    fn attempt(&mut self, input: &[u8]) -> Result<u64, String> {
        let has = |word: &[u8]| input.windows(word.len()).any(|it| it == word);
        let class = u64::from(has(b"dead")) + 2 * u64::from(has(b"letter"));
        assert!(class < 3 || !input.starts_with(b"d"), "planted");
        Ok(class)
    }
}

#[test]
fn a_planted_panic_is_found_and_shrunk() {
    let planted = Named {
        name: "envelope",
        what: "a bug",
        ci_divisor: 1,
        make: || Box::new(Planted),
    };
    let engine = Engine {
        target: &planted,
        seed: 7,
        threads: 1,
        runs: 200_000,
    };
    let failure = engine.run().unwrap().failure.unwrap();
    assert!(failure.why.contains("planted"), "{}", failure.why);
    let input = std::fs::read(&failure.file).unwrap();
    assert_eq!(input.len(), "deadletter".len(), "{input:?}");
    assert!(engine.one(&input).failure.is_some());
    std::fs::remove_file(failure.file).unwrap();
}

#[test]
fn every_committed_input_holds() {
    for named in TARGETS {
        let mut target = (named.make)();
        let corpus = corpus::read(named.name).unwrap();
        assert!(
            !corpus.is_empty(),
            "the target {} must have a corpus",
            named.name
        );
        for (number, input) in corpus.iter().chain(&target.seeds()).enumerate() {
            let tried = attempt(&mut *target, input);
            assert!(tried.is_ok(), "{} {number}: {tried:?}", named.name);
        }
    }
}

#[test]
fn what_does_not_end_is_named_and_what_runs_is_not() {
    let now = Instant::now();
    let trying = |input: &[u8], for_so_long| Mutex::new(Some((now - for_so_long, input.to_vec())));
    let all = [
        Mutex::new(None),
        trying(b"long", ENDLESS),
        trying(b"endless", ENDLESS + INPUT_MAX),
    ];
    assert_eq!(endless(&all[..2], now), None);
    assert_eq!(endless(&all, now).as_deref(), Some(&b"endless"[..]));
}
