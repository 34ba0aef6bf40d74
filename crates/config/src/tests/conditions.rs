//! Tests the conditions of routes: what they mean, and the message about each mistake.

use expect_test::{Expect, expect};

use super::*;

/// Returns the config with another route, which has this `where`. The `where` is in line 50 of the
/// config.
fn config(conditions: &str) -> String {
    format!("{GOOD}[[route]]\nname = \"some\"\ntopics = [\"#\"]\nwhere = {conditions}\n")
}

fn check_where(conditions: &str, expect: Expect) {
    check(&config(conditions), expect);
}

/// Checks how `check-config` shows the conditions of the second route.
fn check_meaning(text: &str, expect: Expect) {
    let config = Config::parse(Path::new("hookbox.toml"), text, &env, NOW);
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"));
    let conditions = config.routes[1].conditions.iter();
    let lines: Vec<String> = conditions.map(|it| format!("{it}\n")).collect();
    expect.assert_eq(&lines.concat());
}

#[test]
fn each_kind_of_condition_is_read() {
    check_meaning(
        &config(
            r#"[
            { pointer = "/event/type", equals = "score" },
            { pointer = "/a~1b/0", equals = true },
            { pointer = "/n", equals = 1 },
            { pointer = "/kind", in = ["a", "b", 2, false] },
            { pointer = "/uid", exists = true },
            { pointer = "/test", exists = false },
            { pointer = "/x", null = true },
            { pointer = "/y", null = false },
            { pointer = "/name", prefix = "a\"" },
            { pointer = "/amount", greater = 0 },
            { pointer = "/amount", less = 1000.50 },
        ]"#,
        ),
        expect![[r#"
            /event/type equals "score"
            /a~1b/0 equals true
            /n equals 1
            /kind is one of "a", "b", 2, false
            /uid exists
            /test does not exist
            /x is null
            /y exists and is not null
            /name begins with "a\""
            /amount is greater than 0
            /amount is less than 1000.50
        "#]],
    );
    check_meaning(
        &format!(
            "{GOOD}[[route]]\nname = \"some\"\ntopics = [\"#\"]\n[[route.where]]\npointer = \
             \"/n\"\nequals = 0.1000000000000000000001\n[[route.where]]\npointer = \"/n\"\nexists \
             = true\n"
        ),
        expect![[r#"
            /n equals 0.1000000000000000000001
            /n exists
        "#]],
    );
    check_meaning(&config("[]"), expect![""]);
}

/// Read as 64-bit floats, some of these numbers would lose digits.
#[test]
fn numbers_are_taken_as_they_are_written() {
    check_meaning(
        &config(
            r#"[{ pointer = "/n", in = [
            0x10, 1_000, +5, -0, 9223372036854775807,
            +1.10, 1_000.000_1, 9007199254740993.0, 0.30000000000000000001, 1E+2, 5e-324,
        ] }]"#,
        ),
        expect![[r#"
            /n is one of 16, 1000, 5, 0, 9223372036854775807, 1.10, 1000.0001, 9007199254740993.0, 0.30000000000000000001, 1E+2, 5e-324
        "#]],
    );
}

#[test]
fn a_condition_has_one_test() {
    check_where(
        r#"[{ pointer = "/n" }, { pointer = "/n", less = 2, greater = 1 }]"#,
        expect![[r#"
            hookbox.toml:50:10: route[1].where[0]: a condition needs exactly one of equals, in, exists, null, prefix, less and greater; to demand several things of a value, write several conditions
            hookbox.toml:50:30: route[1].where[1]: a condition needs exactly one of equals, in, exists, null, prefix, less and greater; to demand several things of a value, write several conditions
        "#]],
    );
    check_where(
        r#"[{ equals = 2 }, { pointer = "/n", equal = 1 }, { pointer = "/n", above = 1 }]"#,
        expect![[r#"
            hookbox.toml:50:10: route[1].where[0]: the key "pointer" is missing
            hookbox.toml:50:44: route[1].where[1].equal: there is no such key; did you mean "equals"?
            hookbox.toml:50:75: route[1].where[2].above: there is no such key
        "#]],
    );
}

#[test]
fn the_type_of_each_value_is_checked() {
    check_where(
        r#"[
            { pointer = 1, exists = true },
            { pointer = "n", exists = true },
            { pointer = "/n", equals = [1] },
            { pointer = "/n", equals = { a = 1 } },
            { pointer = "/n", in = 1 },
            { pointer = "/n", in = [1, [2]] },
            { pointer = "/n", exists = "yes" },
            { pointer = "/n", null = 0 },
            { pointer = "/n", prefix = 5 },
            { pointer = "/n", less = "5" },
            { pointer = "/n", greater = nan },
        ]"#,
        expect![[r#"
            hookbox.toml:51:15: route[1].where[0].pointer: the value is not of type "string"
            hookbox.toml:52:15: route[1].where[1].pointer: the value must begin with '/', as a JSON Pointer does
            hookbox.toml:53:31: route[1].where[2].equals: the value is not of types "boolean", "number", "string"
            hookbox.toml:54:31: route[1].where[3].equals: the value is not of types "boolean", "number", "string"
            hookbox.toml:55:31: route[1].where[4].in: the value is not of type "array"
            hookbox.toml:56:40: route[1].where[5].in[1]: the value is not of types "boolean", "number", "string"
            hookbox.toml:57:31: route[1].where[6].exists: the value is not of type "boolean"
            hookbox.toml:58:31: route[1].where[7].null: the value is not of type "boolean"
            hookbox.toml:59:31: route[1].where[8].prefix: the value is not of type "string"
            hookbox.toml:60:31: route[1].where[9].less: the value is not of type "number"
            hookbox.toml:61:31: route[1].where[10].greater: the value is not of type "number"
        "#]],
    );
    check_where(
        "5",
        expect![[r#"
        hookbox.toml:50:1: route[1].where: the value is not of type "array"
    "#]],
    );
    check_where(
        "{ pointer = \"/n\", equals = 1 }",
        expect![[r#"
        hookbox.toml:50:1: route[1].where: the value is not of type "array"
    "#]],
    );
}

#[test]
fn every_limit_says_why() {
    let many = |count: usize, one: &str| format!("[{}]", vec![one; count].join(", "));
    check_where(
        &many(17, r#"{ pointer = "/n", exists = true }"#),
        expect![[r#"
            hookbox.toml:50:1: route[1].where: a route has at most 16 conditions, because each is decided for every event of its sources; finer decisions belong in the handler
        "#]],
    );
    check_where(
        &format!(
            r#"[{{ pointer = "/n", in = {} }}, {{ pointer = "/n", in = [] }}]"#,
            many(101, "1")
        ),
        expect![[r#"
            hookbox.toml:50:28: route[1].where[0].in: the list has at most 100 values, because they are compared one after another
            hookbox.toml:50:358: route[1].where[1].in: the list needs at least one value, because a condition with an empty list never holds
        "#]],
    );
    let (long, deep) = ("x".repeat(512), "/a".repeat(128));
    check_where(
        &format!(
            r#"[{{ pointer = "/{long}", exists = true }}, {{ pointer = "{deep}", exists = true }}]"#
        ),
        expect![[r#"
            hookbox.toml:50:12: route[1].where[0].pointer: a pointer has at most 512 bytes, because its names are compared with the keys of every body
            hookbox.toml:50:558: route[1].where[1].pointer: a pointer has at most 127 names, because no body is nested deeper
        "#]],
    );
    check_where(
        r#"[{ pointer = "/a~2", exists = true }]"#,
        expect![[r#"
        hookbox.toml:50:12: route[1].where[0].pointer: "/a~2" is not a JSON Pointer: write '/' before each name, '~1' for '/' and '~0' for '~'
    "#]],
    );
    let long = "x".repeat(1025);
    let first = format!(r#"{{ pointer = "/n", in = ["a", "{long}"] }}"#);
    let second = format!(r#"{{ pointer = "/n", prefix = "{long}" }}"#);
    check_where(
        &format!("[{first}, {second}]"),
        expect![[r#"
            hookbox.toml:50:39: route[1].where[0].in[1]: the text has at most 1024 bytes, because it is compared with texts of every body
            hookbox.toml:50:1089: route[1].where[1].prefix: the text has at most 1024 bytes, because it is compared with texts of every body
        "#]],
    );
    let digits = "1".repeat(101);
    check_where(
        &format!(
            r#"[{{ pointer = "/n", less = 0.{digits} }}, {{ pointer = "/n", equals = 1e-1000 }}]"#
        ),
        expect![[r#"
            hookbox.toml:50:28: route[1].where[0].less: a number has at most 100 characters, and an exponent from -999 to 999, so that it can be compared exactly with any number of a body
            hookbox.toml:50:160: route[1].where[1].equals: a number has at most 100 characters, and an exponent from -999 to 999, so that it can be compared exactly with any number of a body
        "#]],
    );
}

#[test]
fn the_largest_conditions_are_accepted() {
    let text = "x".repeat(1024);
    let values = vec![format!("\"{text}\""); 100].join(", ");
    let pointer = format!("/{}", "x".repeat(511));
    let one = format!("{{ pointer = \"{pointer}\", in = [{values}] }}");
    let text = config(&format!("[{}]", vec![one; 16].join(", ")));
    let config = Config::parse(Path::new("hookbox.toml"), &text, &env, NOW);
    assert_eq!(
        config.expect("the config must load").routes[1]
            .conditions
            .len(),
        16
    );
}
