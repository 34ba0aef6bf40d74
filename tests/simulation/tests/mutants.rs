//! Checks that each mutant still applies. A mutant is a patch in `mutants/` that breaks one rule of
//! an engine; the command that the patch names, or else the simulation, must fail on the broken
//! code. `cargo xtask chaos --mutants` builds and runs the mutants.

use std::path::Path;
use std::process::Command;

#[test]
fn every_mutant_describes_what_it_breaks_and_still_applies() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("mutants");
    let root = folder.ancestors().nth(3).unwrap();
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("# "),
            "the first line of {path:?} must say what the patch breaks"
        );
        let applies = Command::new("git")
            .args(["apply", "--check"])
            .arg(&path)
            .current_dir(root)
            .output()
            .unwrap();
        let why = String::from_utf8_lossy(&applies.stderr);
        assert!(
            applies.status.success(),
            "{path:?} does not apply any more; make the same mistake in the code as it is now, \
             and keep `git diff -U1` of it: {why}"
        );
        count += 1;
    }
    assert!(count >= 7, "there must be at least 7 mutants, not {count}");
}
