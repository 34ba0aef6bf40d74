//! Parses Begini's bodies exactly: decimals and unknown fields keep their text.

use std::collections::BTreeMap;

use hookbox_event::exact_integer;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// The members of a JSON object: each name with the text of its value.
type Members = BTreeMap<String, Box<RawValue>>;

/// A body in the form in which Begini sends it today.
#[derive(Deserialize)]
pub struct Payload {
    uid: String,
    integration_id: String,
    event: Members,
}

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
    /// An application that has ended.
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

impl Payload {
    /// Returns the typed rows of this body.
    pub fn row(&self) -> Result<Row, Unfit> {
        let mut event = Fields(
            self.event
                .iter()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        );
        let kind: String = event.required("type")?;
        let mut details = Fields(event.optional::<Members>("details")?.unwrap_or_default());
        match kind.as_str() {
            "psychometric_score.complete" => self.score("psychometric", event, details),
            "android_score.complete" => self.score("android", event, details),
            "ios_score.complete" => self.score("ios", event, details),
            "application.complete" => {
                let ended = details.integer("application_completed_at")?;
                self.application("complete", ended, event, details)
            }
            "application.expired" => {
                let ended = details.integer("application_expired_at")?;
                self.application("expired", ended, event, details)
            }
            "application.incomplete" => {
                let ended = details.integer("application_ended_at")?;
                self.application("incomplete", ended, event, details)
            }
            "application.cancelled" => {
                let ended = details.integer("application_cancelled_at")?;
                self.application("cancelled", ended, event, details)
            }
            _ => Ok(Row::Unknown),
        }
    }

    fn score(&self, kind: &'static str, event: Fields, details: Fields) -> Result<Row, Unfit> {
        let mut details = details;
        let mut calculated = Fields(details.required::<Members>("calculated")?);
        let traits: Vec<Members> = calculated.optional("traits")?.unwrap_or_default();
        Ok(Row::Score(Score {
            integration_id: plain("integration_id", &self.integration_id)?,
            uid: plain("uid", &self.uid)?,
            kind,
            platform: details.text("platform")?,
            score: calculated
                .integer("score")?
                .ok_or_else(|| missing("score"))?,
            risk_band: calculated.text("risk_band")?,
            score_confidence: calculated.text("score_confidence")?,
            application_started_at: details.integer("application_started_at")?,
            application_completed_at: details.integer("application_completed_at")?,
            scored_at: details.integer("scored_at")?,
            traits: traits
                .into_iter()
                .map(one_trait)
                .collect::<Result<_, _>>()?,
            other: event
                .with("details", &details)
                .with("calculated", &calculated)
                .json(),
        }))
    }

    fn application(
        &self,
        status: &'static str,
        ended_at: Option<i64>,
        mut event: Fields,
        mut details: Fields,
    ) -> Result<Row, Unfit> {
        let percentages = details
            .0
            .extract_if(.., |name, _| name.starts_with("percent"));
        let percentages = Fields(percentages.collect()).json();
        let reasons = event
            .0
            .remove("reasons")
            .map(|reasons| reasons.get().to_owned());
        Ok(Row::Application(Application {
            integration_id: plain("integration_id", &self.integration_id)?,
            uid: plain("uid", &self.uid)?,
            status,
            started_at: details.integer("application_started_at")?,
            ended_at,
            percentages,
            reasons,
            other: event.with("details", &details).json(),
        }))
    }
}

fn one_trait(members: Members) -> Result<Trait, Unfit> {
    let mut fields = Fields(members);
    let key: String = fields.required("key")?;
    let value = fields.text("value")?;
    Ok(Trait {
        key: plain("key", &key)?,
        value: value.ok_or_else(|| missing("value"))?,
        risk_band: fields.text("risk_band")?,
        other: fields.json(),
    })
}

fn missing(field: &str) -> Unfit {
    Unfit {
        field: field.to_owned(),
        problem: "is missing",
    }
}

/// The members of a JSON object that have not been assigned to a column yet.
struct Fields(Members);

impl Fields {
    fn optional<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Unfit> {
        let Some(raw) = self.0.remove(name) else {
            return Ok(None);
        };
        serde_json::from_str(raw.get()).map_err(|_| Unfit {
            field: name.to_owned(),
            problem: "is of another type",
        })
    }

    fn required<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Unfit> {
        self.optional(name)?.ok_or_else(|| missing(name))
    }

    /// Removes a member and returns it as an integer. The value counts and not the spelling: the
    /// JSON Schema accepts `712.0` for the integer 712, so this parser must accept it as well.
    fn integer(&mut self, name: &str) -> Result<Option<i64>, Unfit> {
        let Some(raw) = self.0.remove(name) else {
            return Ok(None);
        };
        if raw.get() == "null" {
            return Ok(None);
        }
        let is_number = raw
            .get()
            .starts_with(|c: char| c == '-' || c.is_ascii_digit());
        let problem = if is_number {
            "is no whole number of 64 bits"
        } else {
            "is of another type"
        };
        let unfit = || Unfit {
            field: name.to_owned(),
            problem,
        };
        exact_integer(raw.get()).map(Some).ok_or_else(unfit)
    }

    /// Removes a member and returns it as text. A string becomes its value, and anything else stays
    /// unchanged, so `12.50` stays `12.50`.
    fn text(&mut self, name: &str) -> Result<Option<String>, Unfit> {
        let Some(raw) = self.0.remove(name) else {
            return Ok(None);
        };
        if raw.get() == "null" {
            return Ok(None);
        }
        let text = serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned());
        plain(name, &text).map(Some)
    }

    /// Adds the remaining members of an inner object under `name`, if there are any.
    fn with(mut self, name: &str, inner: &Fields) -> Fields {
        if !inner.0.is_empty()
            && let Ok(raw) = RawValue::from_string(inner.json())
        {
            self.0.insert(name.to_owned(), raw);
        }
        self
    }

    fn json(&self) -> String {
        // Serialising cannot fail: the names are strings, and the values are JSON already.
        serde_json::to_string(&self.0).unwrap_or_else(|_| "{}".to_owned())
    }
}

/// Returns a text that both databases can store: PostgreSQL's type `text` has no NUL character.
fn plain(field: &str, text: &str) -> Result<String, Unfit> {
    if text.contains('\0') {
        return Err(Unfit {
            field: field.to_owned(),
            problem: "contains a NUL character",
        });
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
