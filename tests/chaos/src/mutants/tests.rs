//! Tests that every mutant applies to the code, and says what it breaks.

use super::*;

#[test]
fn every_patch_applies() {
    let mutants = all().unwrap();
    assert!(mutants.len() >= 10, "there must be at least ten mutants");
    for mutant in mutants {
        assert!(!mutant.breaks.is_empty(), "{}", mutant.name);
        let patch = mutant.patch.display().to_string();
        git(&path("."), &["apply", "--check", &patch]).unwrap();
    }
}
