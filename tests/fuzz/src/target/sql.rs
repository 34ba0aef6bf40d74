//! The target `sql`: splits the SQL text of a user.
//!
//! The first byte of an input chooses the database whose rules apply.

use hookbox_sql::{Dialect, Kind, Script, pieces};

use super::{Target, class};

pub struct Scripts;

impl Target for Scripts {
    fn words(&self) -> Vec<&'static [u8]> {
        let words = "select |insert |with |--|/*|*/|'|''|\\'|E'|\"|$$|$a$|$1|?|:uid|::text|:=|;|[|]|\
                     `|@a|\n|\r|\u{feff}|é|\0";
        words.split('|').map(str::as_bytes).collect()
    }

    fn attempt(&mut self, input: &[u8]) -> Result<u64, String> {
        let (dialect, text) = match input.split_first() {
            Some((first, rest)) if first.is_multiple_of(2) => (Dialect::Postgres, rest),
            Some((_, rest)) => (Dialect::Sqlite, rest),
            None => return Ok(0),
        };
        let text = String::from_utf8_lossy(text);
        let split = match pieces(&text, dialect) {
            Ok(split) => split,
            Err(error) => {
                is_within(&text, error.place.line)?;
                return Ok(class(error.mistake));
            }
        };
        let joined: String = split.iter().map(|piece| piece.text).collect();
        if joined != text {
            return Err("the joined pieces are not the SQL text".to_owned());
        }
        if split.iter().any(|piece| piece.text.is_empty()) {
            return Err("a piece of the SQL text is empty".to_owned());
        }
        let semicolons = split.iter().filter(|it| it.kind == Kind::Semicolon).count();
        let script = match Script::read(&text, dialect) {
            Ok(script) => script,
            Err(error) => {
                is_within(&text, error.place.line)?;
                return Ok(class((error.mistake, semicolons.min(3))));
            }
        };
        if script.statements.len() > semicolons + 1 {
            return Err("the text has more statements than its semicolons separate".to_owned());
        }
        let mut names = 0;
        for statement in &script.statements {
            let positional = statement.positional(|_, _| "(0)".to_owned());
            names += positional.parameters.len();
            if positional.parameters.len() > statement.parameters().count() {
                return Err(
                    "a rewritten statement has more numbered parameters than it had named ones"
                        .to_owned(),
                );
            }
            for character in 0..=positional.sql.chars().count() + 1 {
                is_within(&text, positional.place_of(character).line)?;
            }
            let again = pieces(&positional.sql, dialect)
                .map_err(|error| format!("the rewritten statement cannot be split: {error}"))?;
            let is_left = |kind| matches!(kind, Kind::Parameter | Kind::Semicolon);
            if again.iter().any(|piece| is_left(piece.kind)) {
                return Err(
                    "the rewritten statement still has a semicolon or a named parameter".to_owned(),
                );
            }
            let numbers = 2 * statement.parameters().count();
            if again.len() != statement.pieces().count() + numbers {
                return Err(
                    "the rewritten statement has another number of pieces than expected".to_owned(),
                );
            }
        }
        let kinds = split.iter().map(|piece| piece.kind);
        let last: Vec<Kind> = kinds.rev().take(3).collect();
        Ok(class((script.statements.len().min(4), names.min(4), last)))
    }
}

fn is_within(text: &str, line: usize) -> Result<(), String> {
    let lines = text.matches('\n').count() + 1;
    if line == 0 || line > lines {
        return Err(format!(
            "a reported place is in line {line}, which the text does not have"
        ));
    }
    Ok(())
}
