//! `cargo xtask sample`: draws random texts from the source, so that a reader who does not know the
//! code can say which of them are clear.
//!
//! The texts are comments and documentation in Rust files, and the texts of logs, errors and help.
//! Each is drawn with the same chance, and printed with the context in which it is read: its file,
//! the declaration that it documents, and the paragraphs of the same comment above it. The seed
//! makes the sample repeatable: the same tree gives the same sample again.

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::repository;
use crate::source::{Kind, Source};

/// How many texts are drawn by default: enough to distinguish 90 % of clear texts from 80 %, and
/// few enough to read in half an hour.
const COUNT: usize = 80;

/// The fewest words of a text that is drawn. A shorter text says nothing that could be unclear.
const WORDS_MIN: usize = 4;

/// The beginnings of SQL statements: SQL in a string literal is code and is not drawn.
const CODE: [&str; 10] = [
    "select ", "insert ", "update ", "delete ", "create ", "alter ", "with ", "drop ", "grant ",
    "revoke ",
];

/// Marks of config, JSON and shell: a string literal with one of them is what a test sends or
/// expects, and is not drawn.
const DATA: [&str; 5] = [" = ", "= {", "() {", "}, ", "\": "];

/// One text with its place.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sampled {
    path: String,
    line: usize,
    /// The first line of the declaration that a `///` comment documents.
    item: Option<String>,
    /// The paragraphs above the text in the same comment.
    above: String,
    text: String,
}

/// Prints the numbered texts of the sample, with `--json` together with their places.
///
/// # Errors
/// When the arguments are not understood, or a file cannot be read.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let request = Request::parse(arguments)?;
    let mut texts = Vec::new();
    for folder in ["crates", "tests"] {
        for path in repository::files(folder, |path| path.ends_with(".rs"))? {
            let source = repository::read(&path).with_context(|| path.clone())?;
            texts.extend(texts_of(&path, &source));
        }
    }
    ensure!(
        request.count <= texts.len(),
        "--count {}: there are {} texts",
        request.count,
        texts.len()
    );
    for (number, one) in draw(texts, &request).iter().enumerate() {
        let number = number + 1;
        if request.json {
            let line = json!({
                "number": number, "file": one.path, "line": one.line, "item": one.item,
                "above": one.above, "text": one.text,
            });
            println!("{line}");
        } else {
            print!("{}", one.print(number));
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Sampled {
    fn print(&self, number: usize) -> String {
        let mut lines = format!("{number}. {}", self.path);
        if let Some(item) = &self.item {
            lines.push_str(&format!(", at `{item}`"));
        }
        if !self.above.is_empty() {
            lines.push_str(&format!("\n    above it: {}", self.above));
        }
        format!("{lines}\n    {}\n\n", self.text)
    }
}

/// The arguments of the command.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    seed: u64,
    count: usize,
    json: bool,
}

impl Request {
    fn parse(arguments: &[String]) -> Result<Request> {
        let mut request = Request {
            seed: 1,
            count: COUNT,
            json: false,
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                let value = words.next();
                value.with_context(|| format!("{word} needs a number after it"))
            };
            match word.as_str() {
                "--seed" => request.seed = value()?.parse().context("--seed")?,
                "--count" => request.count = value()?.parse().context("--count")?,
                "--json" => request.json = true,
                _ => bail!("cargo xtask sample does not know {word}"),
            }
        }
        Ok(request)
    }
}

/// Draws without replacement: the first steps of a Fisher-Yates shuffle.
fn draw(mut texts: Vec<Sampled>, request: &Request) -> Vec<Sampled> {
    let mut state = request.seed;
    for place in 0..request.count {
        let left = texts.len() - place;
        let drawn = place + usize::try_from(next(&mut state) % left as u64).unwrap_or(0);
        texts.swap(place, drawn);
    }
    texts.truncate(request.count);
    texts
}

/// Returns the next random number of SplitMix64, by Steele, Lea and Flood (OOPSLA 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn texts_of(path: &str, text: &str) -> Vec<Sampled> {
    let source = Source::new(text);
    let mut found = comments(path, &source.only(Kind::Comment));
    let code = source.only(Kind::Code);
    let code: Vec<&str> = code.lines().collect();
    let documents = |line: usize| {
        let marked = text.lines().nth(line - 1);
        marked.is_some_and(|marked| marked.trim_start().starts_with("///"))
    };
    for one in &mut found {
        if documents(one.line) {
            one.item = declaration(&code[one.line..]);
        }
    }
    found.extend(literals(path, &source.only(Kind::Text)));
    found.retain(|one| one.text.split_whitespace().count() >= WORDS_MIN);
    found
}

/// Returns the first line of code that is not an attribute.
fn declaration(code: &[&str]) -> Option<String> {
    let mut lines = code.iter().map(|line| line.trim());
    let found = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    found.map(|line| line.trim_end_matches(['{', ' ', ',']).to_owned())
}

/// Returns the paragraphs of comments: consecutive lines with the same comment marker.
fn comments(path: &str, only: &str) -> Vec<Sampled> {
    let mut found: Vec<Sampled> = Vec::new();
    // The comment marker of the line above (such as `///`), and whether that line ended its
    // paragraph.
    let mut open: Option<&str> = None;
    let mut ended = true;
    let mut above = String::new();
    for (at, line) in only.lines().enumerate() {
        let line = line.trim();
        let marker = ["//!", "///", "//"]
            .into_iter()
            .find(|it| line.starts_with(it));
        let said = marker.map_or("", |marker| line[marker.len()..].trim());
        let continues = marker.is_some() && open == marker;
        if !continues {
            above.clear();
        }
        match found.last_mut() {
            Some(last) if continues && !ended && !said.is_empty() => {
                last.text.push(' ');
                last.text.push_str(said);
            }
            last if !said.is_empty() => {
                if let Some(last) = last.filter(|_| continues) {
                    above = [above.as_str(), &last.text].join(" ").trim().to_owned();
                }
                found.push(Sampled {
                    path: path.to_owned(),
                    line: at + 1,
                    above: above.clone(),
                    text: said.to_owned(),
                    ..Sampled::default()
                });
            }
            _ => {}
        }
        open = marker;
        ended = said.is_empty();
    }
    found
}

/// Returns the string literals that read as a sentence.
fn literals(path: &str, only: &str) -> Vec<Sampled> {
    let mut found = Vec::new();
    let mut rest = only;
    while let Some(start) = rest.find('"') {
        let Some(length) = quote_end(&rest[start + 1..]) else {
            break;
        };
        let inside = &rest[start + 1..start + 1 + length];
        let line = only[..only.len() - rest.len() + start]
            .matches('\n')
            .count()
            + 1;
        let text = inside.replace("\\\n", " ").replace("\\n", " ");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let lower = text.to_lowercase();
        if !CODE.iter().any(|word| lower.starts_with(word)) && reads_as_words(&text) {
            found.push(Sampled {
                path: path.to_owned(),
                line,
                text,
                ..Sampled::default()
            });
        }
        rest = &rest[start + 1 + length + 1..];
    }
    found
}

/// Returns the position of the closing quote.
fn quote_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return Some(at),
            _ => escaped = false,
        }
    }
    None
}

/// Returns whether most parts of the text are words. If not, it is probably data that a test sends
/// or expects, and no text for readers.
fn reads_as_words(text: &str) -> bool {
    if DATA.iter().any(|mark| text.contains(mark)) {
        return false;
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let plain = words.iter().filter(|word| {
        let word = word.trim_matches(|c: char| c.is_ascii_punctuation());
        word.chars().all(char::is_alphabetic)
    });
    plain.count() * 4 >= words.len() * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"//! What this file is for,
//! in two lines.
//!
//! Another paragraph of it here.

/// A function that does nothing.
///
/// It has no errors at all.
#[test]
fn f(
) {
    // Why it is done in this way.
    let sql = "select one, two from there where three";
    tracing::warn!("a message could \"not\" be settled \
                    and waits");
    g("x", "no");
}
"#;

    #[test]
    fn paragraphs_and_sentences_are_drawn_and_code_is_not() {
        let found = texts_of("a.rs", FILE);
        let texts: Vec<(usize, &str)> = found
            .iter()
            .map(|one| (one.line, one.text.as_str()))
            .collect();
        assert_eq!(
            texts,
            [
                (1, "What this file is for, in two lines."),
                (4, "Another paragraph of it here."),
                (6, "A function that does nothing."),
                (8, "It has no errors at all."),
                (12, "Why it is done in this way."),
                (14, "a message could \\\"not\\\" be settled and waits"),
            ]
        );
    }

    #[test]
    fn a_text_is_printed_with_what_stands_around_it() {
        let found = texts_of("a.rs", FILE);
        assert_eq!(
            found[3].print(4),
            "4. a.rs, at `fn f(`\n    above it: A function that does nothing.\n    It has no \
             errors at all.\n\n"
        );
        assert_eq!(
            found[4].print(5),
            "5. a.rs\n    Why it is done in this way.\n\n"
        );
    }

    #[test]
    fn pieces_of_config_and_shell_are_not_drawn() {
        for data in [
            "[ingest] tls = { certificate",
            "}, { id and more",
            "end() { case it in QUIT",
        ] {
            assert!(!reads_as_words(data), "{data}");
        }
        assert!(reads_as_words("the route is paused; see the log"));
    }

    #[test]
    fn the_seed_decides() {
        let draw = |seed| {
            let all = (0..100).map(|line| Sampled {
                line,
                ..Sampled::default()
            });
            let request = Request {
                seed,
                count: 10,
                json: false,
            };
            let drawn = super::draw(all.collect(), &request);
            drawn.iter().map(|one| one.line).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let mut once = draw(7);
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), 10);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let parse = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            Request::parse(&words)
        };
        assert!(parse(&["--seed"]).is_err());
        assert!(parse(&["--count", "many"]).is_err());
        assert!(parse(&["--all"]).is_err());
        let request = parse(&["--seed", "9", "--json"]).expect("understood");
        assert_eq!(
            (request.seed, request.count, request.json),
            (9, COUNT, true)
        );
    }
}
