//! Reads from the tokens of a module what it declares, imports and names.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Kind, Source};

/// The keywords before the name of an item.
const DECLARES: [&str; 9] = [
    "struct", "enum", "union", "trait", "type", "fn", "const", "static", "macro",
];

/// One module: a whole file, or a `mod name { … }` inside a file.
#[derive(Default)]
pub(super) struct Module {
    /// The file that contains the module.
    pub(super) file: String,
    /// The child modules that have their own file.
    pub(super) files: BTreeSet<String>,
    /// The child modules that are written inside this one.
    pub(super) inline: BTreeMap<String, Module>,
    /// The items that the module declares.
    pub(super) items: BTreeSet<String>,
    /// The names that the module imports.
    pub(super) uses: Vec<Use>,
    /// The modules whose names are all imported with `*`.
    pub(super) globs: Vec<Vec<String>>,
    paths: Vec<(Vec<String>, usize)>,
    words: BTreeSet<String>,
}

/// One name that a `use` imports.
pub(super) struct Use {
    /// The name under which the item is imported.
    pub(super) name: String,
    /// The path that the name stands for.
    pub(super) path: Vec<String>,
    line: usize,
    is_re_export: bool,
}

impl Module {
    /// Reads the module of a file.
    pub(super) fn read(file: &str, text: &str) -> Module {
        let code = Source::new(text).only(Kind::Code);
        let tokens = tokens(&code);
        Reader {
            tokens: &tokens,
            at: 0,
        }
        .module(file)
    }

    /// Returns every path that the code of the module names, with its line.
    pub(super) fn named(&self) -> Vec<(Vec<String>, usize)> {
        let is_needed = |it: &&Use| !it.is_re_export || self.words.contains(&it.name);
        let uses = self.uses.iter().filter(is_needed);
        let uses = uses.map(|it| (it.path.clone(), it.line));
        uses.chain(self.paths.iter().cloned()).collect()
    }
}

/// A token: a word, `::`, or any other single character.
struct Token<'a> {
    text: &'a str,
    line: usize,
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    for (number, mut rest) in code.lines().enumerate() {
        while let Some(first) = rest.chars().next() {
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (text, after) = rest.split_at(length);
            if !first.is_whitespace() {
                let line = number + 1;
                found.push(Token { text, line });
            }
            rest = after;
        }
    }
    found
}

struct Reader<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
}

impl Reader<'_> {
    fn text(&self, after: usize) -> &str {
        self.tokens.get(self.at + after).map_or("", |it| it.text)
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).map_or(0, |it| it.line)
    }

    fn begins_with(&self, words: &[&str]) -> bool {
        (0..).zip(words).all(|(at, word)| self.text(at) == *word)
    }

    /// Reads to the end of the file, or to the brace that closes the module.
    fn module(&mut self, file: &str) -> Module {
        let mut module = Module {
            file: file.to_owned(),
            ..Module::default()
        };
        let mut depth = 0_usize;
        let mut is_public = false;
        while self.at < self.tokens.len() {
            let is_after_public = is_public;
            is_public = false;
            if self.begins_with(&["#", "[", "cfg", "(", "test", ")", "]"]) {
                self.at += 7;
                self.skip_item();
            } else if self.text(0) == "pub" {
                is_public = true;
                self.at += 1;
                self.skip_group("(", ")");
            } else if self.text(0) == "use" {
                self.at += 1;
                self.tree(&mut module, &[], is_after_public);
            } else if self.text(0) == "mod" && self.text(2) == ";" {
                module.files.insert(self.text(1).to_owned());
                self.at += 3;
            } else if self.text(0) == "mod" && self.text(2) == "{" {
                let name = self.text(1).to_owned();
                self.at += 3;
                let inside = self.module(file);
                module.inline.insert(name, inside);
            } else {
                match self.text(0) {
                    "{" => depth += 1,
                    "}" if depth == 0 => {
                        self.at += 1;
                        break;
                    }
                    "}" => depth -= 1,
                    word if depth == 0 && DECLARES.contains(&word) => {
                        module.items.insert(self.text(1).to_owned());
                    }
                    "macro_rules" => {
                        module.items.insert(self.text(2).to_owned());
                    }
                    _ => {}
                }
                self.path(&mut module);
            }
        }
        module
    }

    /// Skips further attributes and the item that follows them.
    fn skip_item(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.tokens.len() {
            let text = self.text(0);
            let ends = depth == 0 && text == ";" || depth == 1 && text == "}";
            match text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
            if ends {
                return;
            }
        }
    }

    fn skip_group(&mut self, open: &str, close: &str) {
        if self.text(0) == open {
            while self.at < self.tokens.len() && self.text(0) != close {
                self.at += 1;
            }
            self.at += 1;
        }
    }

    /// Reads the tree of a `use`, or a part of it.
    fn tree(&mut self, module: &mut Module, before: &[String], is_re_export: bool) {
        let mut path = before.to_vec();
        let mut name = None;
        let line = self.line();
        while self.at < self.tokens.len() {
            let text = self.text(0).to_owned();
            match text.as_str() {
                "," | ";" | "}" => break,
                "::" => {}
                "*" => {
                    module.globs.push(path.clone());
                    path.clear();
                }
                "as" => {
                    name = Some(self.text(1).to_owned());
                    self.at += 1;
                }
                "{" => {
                    self.at += 1;
                    while self.at < self.tokens.len() && self.text(0) != "}" {
                        self.tree(module, &path, is_re_export);
                        self.at += usize::from(self.text(0) == ",");
                    }
                    path.clear();
                }
                "self" if !path.is_empty() => {}
                _ => path.push(text),
            }
            self.at += 1;
        }
        if let Some(last) = path.last() {
            module.uses.push(Use {
                name: name.unwrap_or_else(|| last.clone()),
                path,
                line,
                is_re_export,
            });
        }
    }

    /// Reads one token, or a whole path if one begins here.
    fn path(&mut self, module: &mut Module) {
        let line = self.line();
        let mut path = Vec::new();
        if !self.text(0).starts_with(is_word) {
            // A word after this `::` is part of a path that begins with a type: `<T>::name`.
            self.at += if self.text(0) == "::" { 2 } else { 1 };
            return;
        }
        loop {
            path.push(self.text(0).to_owned());
            self.at += 1;
            if self.text(0) != "::" || !self.text(1).starts_with(is_word) {
                break;
            }
            self.at += 1;
        }
        match path.as_slice() {
            [word] => module.words.insert(word.clone()),
            [first, ..] => {
                let is_new = module.words.insert(first.clone());
                module.paths.push((path, line));
                is_new
            }
            [] => false,
        };
    }
}
