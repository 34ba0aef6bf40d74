//! Parses Begini's bodies exactly: decimals and unknown fields keep their text.

use std::collections::BTreeMap;

use hookbox_event::exact_integer;
use hookbox_worker::{Json, JsonValue};

/// Why typed rows cannot be made from a body. The error names the field and never its value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the field {field:?} {problem}")]
pub struct Unfit {
    field: String,
    problem: &'static str,
}

/// The typed row that is made from an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Row {
    /// A score and its traits.
    Score(Score),
    /// An application at Begini, made by an applicant, that was completed or has expired.
    Application(Application),
    /// No row, because the event type is unknown.
    Unknown,
}

/// One row of `begini_scores`.
#[derive(Debug, PartialEq, Eq)]
pub struct Score {
    pub integration_id: String,
    pub uid: String,
    pub kind: &'static str,
    pub platform: Option<String>,
    pub score: i64,
    pub risk_band: Option<String>,
    pub score_confidence: Option<String>,
    pub application_started_at: Option<i64>,
    pub application_completed_at: Option<i64>,
    pub scored_at: Option<i64>,
    pub other: String,
    pub traits: Vec<Trait>,
}

/// One row of `begini_score_traits`.
#[derive(Debug, PartialEq, Eq)]
pub struct Trait {
    pub key: String,
    pub value: String,
    pub risk_band: Option<String>,
    pub other: String,
}

/// One row of `begini_applications`.
#[derive(Debug, PartialEq, Eq)]
pub struct Application {
    pub integration_id: String,
    pub uid: String,
    pub status: &'static str,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub percentages: String,
    pub reasons: Option<String>,
    pub other: String,
}

/// The fields that every body has.
struct Integration {
    integration_id: String,
    uid: String,
}

/// Returns the typed rows of a body.
pub fn row(body: &Json) -> Result<Row, Unfit> {
    let mut fields = Fields::of("the body", body.root())?;
    // Of two members with the same name only the last one is read, and the first may name another
    // person. So a body is rejected in which one of these members occurs twice.
    let repeated = body.root().repeated_names();
    for field in ["uid", "integration_id", "event"] {
        if repeated.iter().any(|name| name == field) {
            return Err(unfit(field, "occurs twice"));
        }
    }
    let of = Integration {
        uid: fields.string("uid")?,
        integration_id: fields.string("integration_id")?,
    };
    let mut event = fields
        .object("event")?
        .ok_or_else(|| unfit("event", MISSING))?;
    let kind = event.string("type")?;
    let mut details = event.object("details")?.unwrap_or_default();
    match kind.as_str() {
        "psychometric_score.complete" => score("psychometric", of, event, details),
        "android_score.complete" => score("android", of, event, details),
        "ios_score.complete" => score("ios", of, event, details),
        "application.complete" => {
            let ended = details.integer("application_completed_at")?;
            application("complete", ended, of, event, details)
        }
        "application.expired" => {
            let ended = details.integer("application_expired_at")?;
            application("expired", ended, of, event, details)
        }
        "application.incomplete" => {
            let ended = details.integer("application_ended_at")?;
            application("incomplete", ended, of, event, details)
        }
        "application.cancelled" => {
            let ended = details.integer("application_cancelled_at")?;
            application("cancelled", ended, of, event, details)
        }
        _ => Ok(Row::Unknown),
    }
}

fn score(
    kind: &'static str,
    of: Integration,
    event: Fields<'_>,
    mut details: Fields<'_>,
) -> Result<Row, Unfit> {
    let calculated = details.object("calculated")?;
    let mut calculated = calculated.ok_or_else(|| unfit("calculated", MISSING))?;
    let traits = calculated.take("traits").map(traits).transpose()?;
    Ok(Row::Score(Score {
        integration_id: plain("integration_id", &of.integration_id)?,
        uid: plain("uid", &of.uid)?,
        kind,
        platform: details.text("platform")?,
        score: calculated
            .integer("score")?
            .ok_or_else(|| unfit("score", MISSING))?,
        risk_band: calculated.text("risk_band")?,
        score_confidence: calculated.text("score_confidence")?,
        application_started_at: details.integer("application_started_at")?,
        application_completed_at: details.integer("application_completed_at")?,
        scored_at: details.integer("scored_at")?,
        traits: traits.unwrap_or_default(),
        other: event
            .with("details", &details)
            .with("calculated", &calculated)
            .json(),
    }))
}

fn application(
    status: &'static str,
    ended_at: Option<i64>,
    of: Integration,
    mut event: Fields<'_>,
    mut details: Fields<'_>,
) -> Result<Row, Unfit> {
    let percentages = details
        .0
        .extract_if(.., |name, _| name.starts_with("percent"));
    let percentages = Fields(percentages.collect()).json();
    let reasons = event.0.remove("reasons");
    let reasons = reasons.map(|reasons| reasons.raw().to_owned());
    Ok(Row::Application(Application {
        integration_id: plain("integration_id", &of.integration_id)?,
        uid: plain("uid", &of.uid)?,
        status,
        started_at: details.integer("application_started_at")?,
        ended_at,
        percentages,
        reasons,
        other: event.with("details", &details).json(),
    }))
}

fn traits(value: JsonValue<'_>) -> Result<Vec<Trait>, Unfit> {
    let elements = value.elements();
    let elements = elements.ok_or_else(|| unfit("traits", OTHER_TYPE))?;
    elements
        .map(|element| one_trait(Fields::of("traits", element)?))
        .collect()
}

fn one_trait(mut fields: Fields<'_>) -> Result<Trait, Unfit> {
    let key = fields.string("key")?;
    let value = fields.text("value")?;
    Ok(Trait {
        key: plain("key", &key)?,
        value: value.ok_or_else(|| unfit("value", MISSING))?,
        risk_band: fields.text("risk_band")?,
        other: fields.json(),
    })
}

const MISSING: &str = "is missing";
const OTHER_TYPE: &str = "is of another type";

fn unfit(field: &str, problem: &'static str) -> Unfit {
    Unfit {
        field: field.to_owned(),
        problem,
    }
}

/// The members of a JSON object that have not been assigned to a column yet.
#[derive(Default)]
struct Fields<'a>(BTreeMap<&'a str, Field<'a>>);

/// A member of a JSON object.
enum Field<'a> {
    /// The member as it stands in the body.
    Found(JsonValue<'a>),
    /// The JSON text of an object with those members of the body that have no column of their own.
    Made(String),
}

impl Field<'_> {
    fn raw(&self) -> &str {
        match self {
            Field::Found(value) => value.raw(),
            Field::Made(text) => text,
        }
    }
}

impl<'a> Fields<'a> {
    fn of(field: &str, value: JsonValue<'a>) -> Result<Self, Unfit> {
        let members = value.members();
        let members = members.ok_or_else(|| unfit(field, OTHER_TYPE))?;
        Ok(Self(
            members
                .map(|(name, value)| (name, Field::Found(value)))
                .collect(),
        ))
    }

    /// Removes a member and returns it. Returns `None` if there is no such member, or if this file
    /// has made it, so that it was not in the body.
    fn take(&mut self, name: &str) -> Option<JsonValue<'a>> {
        match self.0.remove(name) {
            Some(Field::Found(value)) => Some(value),
            Some(Field::Made(_)) | None => None,
        }
    }

    /// Removes a member that must be an object, and returns the members of that object.
    fn object(&mut self, name: &str) -> Result<Option<Fields<'a>>, Unfit> {
        self.take(name)
            .map(|value| Fields::of(name, value))
            .transpose()
    }

    /// Removes a member that must exist and must be a string.
    fn string(&mut self, name: &str) -> Result<String, Unfit> {
        let value = self.take(name).ok_or_else(|| unfit(name, MISSING))?;
        let text = value.as_str().ok_or_else(|| unfit(name, OTHER_TYPE))?;
        Ok(text.to_owned())
    }

    /// Removes a member and returns it as an integer. The value counts and not the spelling: the
    /// JSON Schema accepts `712.0` for the integer 712, so this parser must accept it as well.
    fn integer(&mut self, name: &str) -> Result<Option<i64>, Unfit> {
        let Some(value) = self.take(name).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let problem = if value.is_number() {
            "is not a whole number of 64 bits"
        } else {
            OTHER_TYPE
        };
        let integer = exact_integer(value.raw());
        integer.map(Some).ok_or_else(|| unfit(name, problem))
    }

    /// Removes a member and returns it as text. A string becomes its value, and anything else stays
    /// unchanged, so `12.50` stays `12.50`.
    fn text(&mut self, name: &str) -> Result<Option<String>, Unfit> {
        let Some(value) = self.take(name).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        plain(name, value.as_str().unwrap_or(value.raw())).map(Some)
    }

    /// Adds the remaining members of an inner object under `name`, if there are any.
    fn with(mut self, name: &'a str, inner: &Fields<'_>) -> Fields<'a> {
        if !inner.0.is_empty() {
            self.0.insert(name, Field::Made(inner.json()));
        }
        self
    }

    fn json(&self) -> String {
        let mut text = String::from("{");
        for (name, value) in &self.0 {
            if text.len() > 1 {
                text.push(',');
            }
            // Serialising a string cannot fail.
            text.push_str(&serde_json::to_string(name).unwrap_or_default());
            text.push(':');
            text.push_str(value.raw());
        }
        text.push('}');
        text
    }
}

/// Returns the text if both databases can store it. PostgreSQL's type `text` cannot store a NUL
/// character, so a text with one is refused.
fn plain(field: &str, text: &str) -> Result<String, Unfit> {
    if text.contains('\0') {
        return Err(unfit(field, "contains a NUL character"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
