//! Every mutant applies to the code, and names what it breaks and what must catch it.

use super::*;

#[test]
fn every_patch_applies() {
    let mutants = all().unwrap();
    assert!(mutants.len() >= 10, "ten ways at least");
    for mutant in mutants {
        assert!(!mutant.breaks.is_empty(), "{}", mutant.name);
        let patch = mutant.patch.display().to_string();
        git(&path("."), &["apply", "--check", &patch]).unwrap();
    }
}
