//! The statements of a handler, ready for the database, with the parameters that they take.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use hookbox_sql::{Dialect, Place, Positional, Script, Statement, is_parameter_name};
use hookbox_worker::{HandlerError, Json, Payload};

use super::batch;
use super::codes::Codes;
use super::invalid::InvalidSettings;
use super::parameter::{Kind, OF_EVENT, Source};
use super::settings::{Settings, Statements};
use super::values::{OwnParameter, Values};

/// The longest text of the statements, in bytes. A longer file hardly contains statements for one
/// event.
const TEXT_MAX: usize = 256 * 1024;

/// The highest number of statements. Each statement is a round trip to the database. Each also
/// stays prepared on every connection: sqlx keeps 100 prepared statements there, and hookbox needs
/// some of these itself.
const STATEMENTS_MAX: usize = 32;

/// The statements of a handler, ready for the database.
#[derive(Debug)]
pub(super) struct Program {
    pub statements: Vec<Compiled>,
    pub own: Vec<OwnParameter>,
    /// Whether the statements run once for all events of a batch, with arrays.
    pub is_batch: bool,
    /// Whether the statements may run again for an event that is done, when an operator replays it.
    pub is_repeatable: bool,
    /// The role under which the statements run.
    pub role: Option<String>,
    pub codes: Codes,
    /// Where the text of the statements is, for errors: the file, or the key of the config.
    pub origin: String,
    dialect: Dialect,
}

/// One statement, with the parameters that it takes in the order of their numbers.
#[derive(Debug)]
pub(super) struct Compiled {
    pub statement: Positional,
    pub slots: Vec<Slot>,
}

/// One parameter of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub source: Source,
    pub kind: Kind,
}

impl Program {
    pub fn new(
        settings: &Settings,
        folder: &Path,
        dialect: Dialect,
    ) -> Result<Self, InvalidSettings> {
        let (origin, text) = text(&settings.statements, folder)?;
        let own = own_parameters(settings)?;
        let script = Script::read(&text, dialect).map_err(|wrong| InvalidSettings::Text {
            origin: origin.clone(),
            wrong,
        })?;
        let found = script.statements.len();
        if found > STATEMENTS_MAX {
            let max = STATEMENTS_MAX;
            return Err(InvalidSettings::TooMany { origin, found, max });
        }
        let mut used = BTreeSet::new();
        for (name, place) in script.statements.iter().flat_map(Statement::parameters) {
            if slot(&own, name).is_none() {
                return Err(unknown(&origin, name, place, &own));
            }
            used.insert(name);
        }
        if let Some(unused) = own.iter().find(|it| !used.contains(it.name.as_str())) {
            return Err(InvalidSettings::UnusedParameter(unused.name.clone()));
        }
        let is_batch = settings.batch;
        let mut all = script.statements.iter();
        let single = all.find(|it| is_batch && batch::is_for_one_event(it, dialect));
        if let Some(statement) = single {
            return Err(for_one_event(&origin, statement.place(), dialect));
        }
        let compiled = script.statements.iter();
        let compiled = compiled.map(|statement| compile(statement, &own, is_batch, dialect));
        Ok(Self {
            statements: compiled.collect(),
            is_batch,
            is_repeatable: settings.repeatable,
            role: role(settings, dialect)?,
            codes: Codes::new(&settings.errors, dialect)?,
            origin,
            own,
            dialect,
        })
    }

    /// Makes the payload of an event: the values of the handler's own parameters.
    pub fn payload(&self, body: &Bytes, read: Option<Json>) -> Result<Values, HandlerError> {
        let body = Json::of(body, read)?;
        Values::read(&self.own, &body, self.dialect).map_err(HandlerError::permanent)
    }
}

/// Returns the text of the statements, and where it is.
fn text(statements: &Statements, folder: &Path) -> Result<(String, String), InvalidSettings> {
    let (origin, text) = match (&statements.file, &statements.text) {
        (None, Some(text)) => ("statements.text".to_owned(), text.clone()),
        (Some(file), None) => {
            let path = folder.join(file);
            let text = read(&path).map_err(|source| InvalidSettings::File { path, source })?;
            (file.display().to_string(), text)
        }
        (None, None) | (Some(_), Some(_)) => return Err(InvalidSettings::NoText),
    };
    if text.len() > TEXT_MAX {
        let max = TEXT_MAX;
        return Err(InvalidSettings::TooLong { origin, max });
    }
    Ok((origin, text))
}

/// Reads a file, but not more of it than is needed to see that it is too long.
fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(TEXT_MAX).unwrap_or(u64::MAX);
    std::fs::File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_string(&mut text)?;
    Ok(text)
}

fn own_parameters(settings: &Settings) -> Result<Vec<OwnParameter>, InvalidSettings> {
    let parameters = settings.parameters.iter();
    let own = parameters.map(|(name, parameter)| {
        let name = name.clone();
        if !is_parameter_name(&name) {
            return Err(InvalidSettings::ParameterName(name));
        }
        if OF_EVENT.iter().any(|(known, ..)| *known == name) {
            return Err(InvalidSettings::ReservedName(name));
        }
        Ok(OwnParameter {
            name,
            pointer: parameter.pointer.clone(),
            kind: parameter.kind,
            is_required: parameter.required,
        })
    });
    own.collect()
}

/// Returns the parameter with this name; `None` if there is none.
fn slot(own: &[OwnParameter], name: &str) -> Option<Slot> {
    let of_event = OF_EVENT.into_iter().find(|(known, ..)| *known == name);
    if let Some((_, source, kind)) = of_event {
        return Some(Slot { source, kind });
    }
    let at = own.iter().position(|it| it.name == name)?;
    let kind = own.get(at)?.kind;
    let source = Source::Own(at);
    Some(Slot { source, kind })
}

fn unknown(origin: &str, name: &str, place: Place, own: &[OwnParameter]) -> InvalidSettings {
    let own = own.iter().map(|it| it.name.as_str());
    let known = OF_EVENT.iter().map(|(name, ..)| *name).chain(own);
    InvalidSettings::UnknownParameter {
        origin: origin.to_owned(),
        place,
        name: name.to_owned(),
        known: known
            .map(|it| format!(":{it}"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn for_one_event(origin: &str, place: Place, dialect: Dialect) -> InvalidSettings {
    let (array, read) = match dialect {
        Dialect::Postgres => ("an array", "from unnest(:NAME)"),
        Dialect::Sqlite => (
            "the text of a JSON array",
            "from json_each(:NAME), and those of others with :OTHER ->> key",
        ),
    };
    InvalidSettings::ForOneEvent {
        origin: origin.to_owned(),
        place,
        array,
        read,
    }
}

fn compile(
    statement: &Statement<'_>,
    own: &[OwnParameter],
    is_batch: bool,
    dialect: Dialect,
) -> Compiled {
    let statement = statement.positional(|number, name| {
        let kind = slot(own, name).map_or(Kind::Text, |slot| slot.kind);
        kind.written(number, is_batch, dialect)
    });
    let names = statement.parameters.iter();
    let slots = names.filter_map(|name| slot(own, name)).collect();
    Compiled { statement, slots }
}

fn role(settings: &Settings, dialect: Dialect) -> Result<Option<String>, InvalidSettings> {
    let Some(role) = &settings.role else {
        return Ok(None);
    };
    match dialect {
        Dialect::Sqlite => Err(InvalidSettings::RoleOnSqlite),
        // PostgreSQL takes the name `none`, even in quotes, to mean no role, so it would not switch
        // to a role of that name.
        Dialect::Postgres if role.is_empty() || role == "none" || role.contains('\0') => {
            Err(InvalidSettings::RoleName(role.clone()))
        }
        Dialect::Postgres => Ok(Some(role.clone())),
    }
}
