//! Why the settings of the handler `sql` cannot be used.

use std::path::PathBuf;

use hookbox_sql::{Place, SqlError};

/// Why the settings of the handler `sql` cannot be used. The text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSettings {
    /// The text of the statements is set twice, or not at all.
    #[error("statements: set either `file` or `text`")]
    NoText,
    /// The file of the statements cannot be read.
    #[error("statements.file: {} cannot be read", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// Why the file cannot be read.
        source: std::io::Error,
    },
    /// The text of the statements is too long.
    #[error("statements: the text of {origin} is longer than {max} bytes")]
    TooLong {
        /// Where the text of the statements is: a file, or a key of the config.
        origin: String,
        /// The length of the longest text that is allowed, in bytes.
        max: usize,
    },
    /// There are too many statements.
    #[error("statements: {origin} has {found} statements, and at most {max} are allowed")]
    TooMany {
        /// Where the text of the statements is: a file, or a key of the config.
        origin: String,
        /// The number of statements.
        found: usize,
        /// The highest number of statements that is allowed.
        max: usize,
    },
    /// The text of the statements cannot be used.
    #[error("{origin}, {wrong}")]
    Text {
        /// Where the text of the statements is: a file, or a key of the config.
        origin: String,
        /// What is wrong in the text, and where. It is not the source of this error, because the
        /// text of this error contains it already.
        wrong: SqlError,
    },
    /// A statement uses a parameter that does not exist.
    #[error(
        "{origin}, {place}: there is no parameter :{name}; set parameters.{name}, or use one of \
         {known}"
    )]
    UnknownParameter {
        /// Where the text of the statements is: a file, or a key of the config.
        origin: String,
        /// The place of the parameter in the text.
        place: Place,
        /// The name of the parameter.
        name: String,
        /// The names of the parameters that exist.
        known: String,
    },
    /// A statement that was written for one event is to run for a batch.
    #[error(
        "{origin}, {place}: with `batch = true` the statement runs once for all events of a batch, \
         and each parameter is {array} with a value for each event; read the values {read}, or \
         remove `batch`"
    )]
    ForOneEvent {
        /// Where the text of the statements is: a file, or a key of the config.
        origin: String,
        /// The place of the statement in the text.
        place: Place,
        /// In which form a statement gets the values of a parameter for a batch.
        array: &'static str,
        /// How a statement reads the values from that form.
        read: &'static str,
    },
    /// A parameter has a name that no statement can use.
    #[error(
        "parameters.{0:?}: a name consists of the letters a-z, digits and `_`, and begins with a \
         letter"
    )]
    ParameterName(String),
    /// A parameter has the name of one that comes from the event.
    #[error("parameters.{0}: every event has a parameter of this name; choose another name")]
    ReservedName(String),
    /// No statement uses a parameter that the settings define.
    #[error("parameters.{0}: no statement uses it")]
    UnusedParameter(String),
    /// A role is set, but SQLite has no roles.
    #[error(
        "role: SQLite has no roles, so a role would keep no statement from any table; remove this \
         key"
    )]
    RoleOnSqlite,
    /// The name of a role to which PostgreSQL cannot switch.
    #[error("role: {0:?} cannot be the name of a role")]
    RoleName(String),
    /// An entry of a list of error codes is not a code.
    #[error("errors.{list}: {code:?} is not {form}")]
    Code {
        /// The name of the list in the settings.
        list: &'static str,
        /// The entry of the list.
        code: String,
        /// The form that an entry must have to be a code.
        form: &'static str,
    },
    /// A list has a code whose consequence hookbox decides.
    #[error(
        "errors.{list}: {code} is a fault of the database or of the deployment, and not of an \
         event; hookbox decides what follows from it"
    )]
    DecidedCode {
        /// The name of the list in the settings.
        list: &'static str,
        /// The code, as it is in the list.
        code: String,
    },
    /// A code is in two lists.
    #[error("errors.{list}: {code} is in another list, too")]
    TwiceCode {
        /// The name of the list in the settings.
        list: &'static str,
        /// The code, as it is in the list.
        code: String,
    },
}
