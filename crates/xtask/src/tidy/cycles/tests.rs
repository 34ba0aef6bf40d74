//! Tests crates with and without cycles of files.

use super::*;

/// The files of a crate, each with its text.
struct Files(&'static [(&'static str, &'static str)]);

impl Tree for Files {
    fn exists(&self, path: &str) -> bool {
        self.0
            .iter()
            .any(|(file, _)| format!("a/src/{file}") == path)
    }

    fn read(&self, path: &str) -> String {
        let mut files = self.0.iter();
        let found = files.find(|(file, _)| format!("a/src/{file}") == path);
        found.map_or_else(String::new, |(_, text)| (*text).to_owned())
    }
}

fn found(files: &'static [(&'static str, &'static str)]) -> Vec<String> {
    let findings = check("a/src/lib.rs", &Files(files));
    let what = |it: &Finding| {
        let steps = it.what.trim_start_matches("a cycle of files: ");
        let steps = steps.split(';').next().unwrap_or_default();
        format!("{}:{}: {steps}", it.path, it.line)
    };
    findings.iter().map(what).collect()
}

#[test]
fn files_that_need_each_other_are_a_cycle() {
    let both = |lib: &'static str, child: &'static str| {
        let files = vec![("lib.rs", lib), ("b.rs", child)];
        found(Box::leak(files.into_boxed_slice()))
    };
    let child = "use super::A;\npub struct B(A);";
    let one = "a/src/b.rs:1: b.rs:1 needs lib.rs (`super::A`), lib.rs:";
    for (lib, end) in [
        ("mod b;\nuse b::B;\nstruct A(B);", "2 needs b.rs (`b::B`)"),
        ("mod b;\nstruct A(b::B);", "2 needs b.rs (`b::B`)"),
        (
            "mod b;\nstruct A(self::b::B);",
            "2 needs b.rs (`self::b::B`)",
        ),
        (
            "mod b;\nstruct A(crate::b::B);",
            "2 needs b.rs (`crate::b::B`)",
        ),
        (
            "mod b;\npub use b::B;\nstruct A(B);",
            "2 needs b.rs (`b::B`)",
        ),
        (
            "mod b;\nstruct A;\nfn a() {\n    b::made()\n}",
            "4 needs b.rs (`b::made`)",
        ),
        (
            "mod b;\nstruct A;\nuse b as c;\ntype C = c::B;",
            "4 needs b.rs (`c::B`)",
        ),
        (
            "mod b;\nstruct A;\nuse b::*;\nfn a() -> B::C {}",
            "4 needs b.rs (`B::C`)",
        ),
        (
            "mod b;\nstruct A;\nmod c { type D = super::b::B; }",
            "3 needs b.rs (`super::b::B`)",
        ),
    ] {
        assert_eq!(both(lib, child), [format!("{one}{end}")], "{lib}");
    }
}

#[test]
fn a_cycle_of_three_is_named_once_and_in_order() {
    let files = &[
        ("lib.rs", "mod b; mod c; mod d;\npub use d::D;"),
        (
            "b.rs",
            "use crate::c::{self, Other, C as It};\npub struct B(It);",
        ),
        ("c.rs", "pub struct C(crate::D);\npub struct Other;"),
        ("d.rs", "\npub struct D(super::b::B);"),
    ];
    let steps = "b.rs:1 needs c.rs (`crate::c::Other`), c.rs:1 needs d.rs (`crate::D`), \
                 d.rs:2 needs b.rs (`super::b::B`)";
    assert_eq!(found(files), [format!("a/src/b.rs:1: {steps}")]);
}

#[test]
fn two_cycles_through_one_file_are_both_named() {
    let files = &[
        (
            "lib.rs",
            "mod b; mod c;\nfn a() { b::b(); c::c(); }\nstruct A;",
        ),
        ("b.rs", "fn b(_: super::A) {}"),
        ("c.rs", "fn c(_: super::A) {}"),
    ];
    assert_eq!(found(files).len(), 2);
}

#[test]
fn what_goes_one_way_is_no_cycle() {
    const NONE: [String; 0] = [];
    // Re-exports are followed to the file that declares the item.
    assert_eq!(
        found(&[
            (
                "lib.rs",
                "mod b; mod c;\npub use b::B;\npub(crate) use c::C;"
            ),
            ("b.rs", "use crate::C;\npub struct B(C);"),
            ("c.rs", "mod d;\npub use d::D;\npub struct C;"),
            ("c/d.rs", "use super::C; pub struct D(C);"),
        ]),
        NONE
    );
    // Names in tests, comments and literals, and items of other crates make no file need another
    // one.
    assert_eq!(
        found(&[
            (
                "lib.rs",
                "mod b;\nuse b::B;\nstruct A(B);\n#[cfg(test)]\nmod tests;\n"
            ),
            ("tests.rs", "use super::*;"),
            (
                "b.rs",
                "use std::b::A;\n// super::A\npub struct B(A);\nconst C: &str = \"super::A\";\n\
                 #[cfg(test)]\n#[allow(x)]\nmod tests { use crate::A; }\n\
                 #[cfg(test)]\nuse crate::A;\n"
            ),
        ]),
        NONE
    );
    // A file does not need a module that it only imports and of which it names no item. Here the
    // function `e` has the same name as its module, and the call names the function.
    assert_eq!(
        found(&[
            (
                "lib.rs",
                "mod b; mod c; mod e;\npub use e::e;\nfn f() { e() }"
            ),
            ("b.rs", "use crate::c;\npub fn b() { c::d() }"),
            ("c.rs", "use crate::b;\npub fn d() { crate::e() }"),
            ("e.rs", "pub fn e() {}"),
        ]),
        NONE
    );
}

#[test]
fn imports_in_a_circle_and_unfinished_files_end() {
    for text in [
        "mod b; use b::A; pub use self::A;",
        "mod b; use A as B; use B as A; fn a() -> A::B {}",
        "use {",
        "use a::{b, ",
        "mod b {",
        "pub(",
        "#[cfg(test)]",
        "#[cfg(test)] mod b {",
        "}",
        "a::",
        "macro_rules!",
    ] {
        let files = vec![("lib.rs", text), ("b.rs", "pub use super::A;")];
        let _ = found(Box::leak(files.into_boxed_slice()));
    }
}
