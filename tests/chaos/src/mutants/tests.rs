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

#[test]
fn every_package_that_a_patch_changes_exists() {
    for mutant in all().unwrap() {
        let patch = fs::read_to_string(&mutant.patch).unwrap();
        let packages = packages(&patch);
        assert!(
            !packages.is_empty(),
            "the mutant {} must change a package",
            mutant.name
        );
        for package in packages {
            let folder = package.strip_prefix("hookbox-").unwrap_or(&package);
            let manifest = path(&format!("crates/{folder}/Cargo.toml"));
            let manifest = fs::read_to_string(manifest).unwrap();
            assert!(
                manifest.contains(&format!("name = \"{package}\"")),
                "the package in crates/{folder} must be named {package}"
            );
        }
    }
}
