//! Finds banned patterns, and says what to write instead.
//!
//! What clippy can find is banned in `.clippy.toml`. This file bans what clippy cannot find:
//! macros, comments, and patterns that are allowed only in some folders.

use crate::finding::Finding;
use crate::source::{Kind, Source};

/// One banned pattern.
struct Banned {
    pattern: &'static str,
    /// The kinds of source text in which the pattern is banned.
    kinds: &'static [Kind],
    /// Texts that exempt a file from the pattern if its path contains one of them.
    except: &'static [&'static str],
    instead: &'static str,
}

const CODE: &[Kind] = &[Kind::Code];
const ANYWHERE: &[Kind] = &[Kind::Code, Kind::Comment, Kind::Text];

/// Tests, and code that only tests use. A canary test (which checks that a known hazard of a
/// library still exists) does on purpose what the product must never do.
const TESTS: &[&str] = &[
    "/tests/",
    "/canaries.rs",
    "tests/bench/",
    "tests/cli/",
    "tests/conformance/",
    "tests/drivers/",
    "tests/journeys/",
    "tests/support/",
    "tests/testkit/",
    "/testing.rs",
];

const NO_PRINT: &str = "use `tracing`, or return the text: print macros panic if writing fails, \
                        so commands print by `command/print.rs`";
const PRINTERS: &[&str] = &[
    "crates/xtask/",
    "/examples/",
    "/build.rs",
    "tests/",
    "/testing.rs",
];

/// The crates that choose the clock and the random number generator for all other crates. The
/// examples are among them, because each example is a whole program.
const COMPOSERS: &[&str] = &[
    "/examples/",
    "crates/config/",
    "crates/driver/",
    "crates/hookbox/",
    "crates/traffic/",
];

const BANNED: &[Banned] = &[
    Banned {
        pattern: "SystemClock",
        kinds: CODE,
        except: COMPOSERS,
        instead: "take a `Clock` as an argument, so that tests control the time",
    },
    Banned {
        pattern: "SystemRng",
        kinds: CODE,
        except: COMPOSERS,
        instead: "take an `Rng` as an argument, so that tests control the random numbers",
    },
    Banned {
        pattern: "todo!(",
        kinds: CODE,
        except: &[],
        instead: "write the missing code, or return an error that says what is missing",
    },
    Banned {
        pattern: "unimplemented!(",
        kinds: CODE,
        except: &[],
        instead: "write the missing code, or return an error that says what is missing",
    },
    Banned {
        pattern: concat!("FIX", "ME"),
        kinds: ANYWHERE,
        except: &[],
        instead: "fix the fault, or open an issue and say here what holds until it is fixed",
    },
    Banned {
        pattern: "thread::sleep",
        kinds: CODE,
        except: &["tests/testkit/src/servers/process.rs"],
        instead: "do not guess a time: wait for the condition itself, with a deadline",
    },
    Banned {
        pattern: "#[ignore",
        kinds: CODE,
        except: &[],
        instead: "make an ignored test pass, or assert the wrong behaviour and say why it is wrong",
    },
    Banned {
        pattern: "#[should_panic",
        kinds: CODE,
        except: &[],
        instead: "do not panic: return an error, and assert in the test which error it is",
    },
    Banned {
        pattern: "tokio::spawn(",
        kinds: CODE,
        except: &[],
        instead: "spawn on a TaskTracker or JoinSet that is awaited",
    },
    Banned {
        pattern: "task::spawn(",
        kinds: CODE,
        except: &[],
        instead: "spawn on a TaskTracker or JoinSet that is awaited",
    },
    Banned {
        pattern: "println!(",
        kinds: CODE,
        except: PRINTERS,
        instead: NO_PRINT,
    },
    Banned {
        pattern: " print!(",
        kinds: CODE,
        except: PRINTERS,
        instead: NO_PRINT,
    },
    Banned {
        pattern: "static mut ",
        kinds: CODE,
        except: &[],
        instead: "pass the value as an argument: global variables are not allowed",
    },
    Banned {
        pattern: "wait_for_confirms(",
        kinds: CODE,
        except: TESTS,
        instead: "await every single confirm: `wait_for_confirms` never reports a nack (H3)",
    },
    Banned {
        pattern: "enable_auto_recover(",
        kinds: CODE,
        except: TESTS,
        instead: "drop the connection and make a new one (H4)",
    },
    Banned {
        pattern: "queue_delete(",
        kinds: CODE,
        except: TESTS,
        instead: "delete no queue: RabbitMQ then confirms messages that it never stored (H5)",
    },
    Banned {
        pattern: "queue_purge(",
        kinds: CODE,
        except: TESTS,
        instead: "purge no queue: hookbox has promised to the senders to keep its messages",
    },
    Banned {
        pattern: concat!("/wo", "rk/"),
        kinds: ANYWHERE,
        except: &[],
        instead: "write a path from the root of the repository: this path exists on one machine \
                  only",
    },
];

/// Types with interior mutability, which make a `static` a global variable.
const GLOBALS: [&str; 6] = [
    "Mutex", "RwLock", "OnceLock", "OnceCell", "LazyLock", "Atomic",
];

/// The only file that may have a global variable; the reason is in that file.
const GLOBAL_ALLOWED: &str = "crates/crash/src/lib.rs";

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let source = Source::new(text);
    let mut findings = Vec::new();
    for kind in [Kind::Code, Kind::Comment, Kind::Text] {
        for (number, line) in source.only(kind).lines().enumerate() {
            let here = |what: String| Finding::new(path, number + 1, what);
            let found = BANNED.iter().filter(|it| {
                it.kinds.contains(&kind)
                    && line.contains(it.pattern)
                    && !it.except.iter().any(|part| path.contains(part))
            });
            findings
                .extend(found.map(|it| here(format!("`{}`: {}", it.pattern.trim(), it.instead))));
            if kind == Kind::Code && path != GLOBAL_ALLOWED && is_global(line) {
                findings.push(here(
                    "a global variable: pass the value as an argument".to_owned(),
                ));
            }
        }
    }
    findings
}

fn is_global(line: &str) -> bool {
    let words = line.trim_start();
    let words = words
        .split_once(") ")
        .filter(|(it, _)| it.starts_with("pub("))
        .map_or(words, |it| it.1);
    let words = words.strip_prefix("pub ").unwrap_or(words);
    words.starts_with("static ") && GLOBALS.iter().any(|it| words.contains(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(path, text).into_iter().map(|it| it.line).collect()
    }

    #[test]
    fn planted_breaches_are_found() {
        let text = "\n    tokio::spawn(x);\n    todo!()\n    println!(\"\");\n#[ignore = \"no\"]\n\
                    pub(crate) static A: Mutex<u8> = x;\n";
        assert_eq!(lines("crates/worker/src/a.rs", text), [2, 3, 4, 5, 6]);
        let comment = concat!("// FIX", "ME\n\"", "/wo", "rk/x\"");
        assert_eq!(lines("crates/worker/src/a.rs", comment), [1, 2]);
    }

    #[test]
    fn the_clock_is_chosen_where_the_parts_are_composed() {
        let text = "let now = SystemClock.now();\nSystemRng.fill(&mut salt);\n";
        assert_eq!(lines("crates/worker/src/a.rs", text), [1, 2]);
        assert_eq!(lines("crates/hookbox/src/a.rs", text), [0; 0]);
    }

    #[test]
    fn talk_about_them_and_the_right_places_pass() {
        let text =
            "//! Not `tokio::spawn(`.\nlet a = \"todo!()\";\nfn a(b: &'static Mutex<u8>) {}\n";
        assert_eq!(lines("crates/worker/src/a.rs", text), [0; 0]);
        assert_eq!(lines("crates/hookbox/src/a.rs", "println!()"), [1]);
        assert_eq!(lines("crates/hookbox/src/a.rs", "eprintln!()"), [1]);
        assert_eq!(lines("crates/xtask/src/a.rs", "println!()"), [0; 0]);
        assert_eq!(
            lines("crates/driver-rabbitmq/tests/a.rs", "x.queue_delete()"),
            [0; 0]
        );
        assert_eq!(
            lines("crates/driver-rabbitmq/src/a.rs", "x.queue_delete()"),
            [1]
        );
    }
}
