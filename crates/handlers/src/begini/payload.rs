//! What Begini's bodies say, read exactly: decimals and unknown fields keep their text.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// The members of an object, each by its text.
type Members = BTreeMap<String, Box<RawValue>>;

/// A body as Begini sends it now.
#[derive(Deserialize)]
pub struct Payload {
    uid: String,
    integration_id: String,
    event: Members,
}

/// Why a body has no typed rows. It names the field, never its value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the field {field:?} {problem}")]
pub struct Unfit {
    field: String,
    problem: &'static str,
}

/// What an event is, in typed rows.
#[derive(Debug, PartialEq, Eq)]
pub enum Row {
    /// A score and its traits.
    Score(Score),
    /// An application that ended.
    Application(Application),
    /// A type that is not known yet.
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
    /// The typed rows of this body.
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
                let ended = details.optional("application_completed_at")?;
                self.application("complete", ended, event, details)
            }
            "application.expired" => {
                let ended = details.optional("application_expired_at")?;
                self.application("expired", ended, event, details)
            }
            "application.incomplete" => {
                let ended = details.optional("application_ended_at")?;
                self.application("incomplete", ended, event, details)
            }
            "application.cancelled" => {
                let ended = details.optional("application_cancelled_at")?;
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
            score: calculated.required("score")?,
            risk_band: calculated.text("risk_band")?,
            score_confidence: calculated.text("score_confidence")?,
            application_started_at: details.optional("application_started_at")?,
            application_completed_at: details.optional("application_completed_at")?,
            scored_at: details.optional("scored_at")?,
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
            started_at: details.optional("application_started_at")?,
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
        value: value.ok_or_else(|| Unfit {
            field: "value".into(),
            problem: "is missing",
        })?,
        risk_band: fields.text("risk_band")?,
        other: fields.json(),
    })
}

/// The members of an object that were not taken yet.
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
        self.optional(name)?.ok_or_else(|| Unfit {
            field: name.to_owned(),
            problem: "is missing",
        })
    }

    /// A string by its value, anything else by its text: `12.50` stays `12.50`.
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

    /// The same with what is left of an inner object, if anything is left of it.
    fn with(mut self, name: &str, inner: &Fields) -> Fields {
        if !inner.0.is_empty()
            && let Ok(raw) = RawValue::from_string(inner.json())
        {
            self.0.insert(name.to_owned(), raw);
        }
        self
    }

    fn json(&self) -> String {
        // Names are strings and values are JSON already: there is nothing that could fail.
        serde_json::to_string(&self.0).unwrap_or_else(|_| "{}".to_owned())
    }
}

/// A text that both databases can keep: PostgreSQL's `text` has no NUL.
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
mod tests {
    use super::*;

    fn row(body: &str) -> Result<Row, Unfit> {
        serde_json::from_str::<Payload>(body)
            .expect("a payload")
            .row()
    }

    #[test]
    fn a_score_is_read_exactly() {
        let body = r#"{"uid":"u-12345","integration_id":"12345678901234567890","event":{
            "type":"psychometric_score.complete","new":1e400,"details":{"scored_at":1764000000,
            "platform":"WEB","more":0.10,"calculated":{"score":712,"risk_band":"B",
            "score_confidence":"0.333333333333333","flags":["x"],
            "traits":[{"key":"a","value":7,"risk_band":null,"z":1.50},
                      {"key":"b","value":"0.90"}]}}}}"#;
        let Ok(Row::Score(score)) = row(body) else {
            panic!("a score")
        };
        assert_eq!(score.score, 712);
        assert_eq!(score.score_confidence.as_deref(), Some("0.333333333333333"));
        assert_eq!(
            score.other,
            r#"{"calculated":{"flags":["x"]},"details":{"more":0.10},"new":1e400}"#
        );
        let values: Vec<&str> = score.traits.iter().map(|t| t.value.as_str()).collect();
        assert_eq!(values, ["7", "0.90"]);
        assert_eq!(score.traits[0].other, r#"{"z":1.50}"#);
        assert_eq!(score.application_started_at, None);
    }

    #[test]
    fn an_application_keeps_reasons_and_percentages() {
        let body = r#"{"uid":"u-12345","integration_id":"1","event":{
            "type":"application.incomplete","reasons":["LEFT"],"details":{
            "application_started_at":1,"percentage_complete":"0.333333333333333"}}}"#;
        let Ok(Row::Application(application)) = row(body) else {
            panic!("an application")
        };
        assert_eq!(application.status, "incomplete");
        assert_eq!(
            application.percentages,
            r#"{"percentage_complete":"0.333333333333333"}"#
        );
        assert_eq!(application.reasons.as_deref(), Some(r#"["LEFT"]"#));
        assert_eq!(application.other, "{}");
    }

    #[test]
    fn what_does_not_fit_is_told_by_its_field() {
        let event =
            |event: &str| format!(r#"{{"uid":"u-12345","integration_id":"1","event":{event}}}"#);
        let unfit = |field: &str, problem| Unfit {
            field: field.into(),
            problem,
        };
        assert_eq!(
            row(&event(r#"{"type":"a.new.type","details":7e9}"#)).err(),
            Some(unfit("details", "is of another type"))
        );
        assert_eq!(row(&event(r#"{"type":"a.new.type"}"#)), Ok(Row::Unknown));
        assert_eq!(row(&event("{}")), Err(unfit("type", "is missing")));
        let no_score = r#"{"type":"ios_score.complete","details":{"calculated":{}}}"#;
        assert_eq!(row(&event(no_score)), Err(unfit("score", "is missing")));
        let float = r#"{"type":"ios_score.complete","details":{"calculated":{"score":1.5}}}"#;
        assert_eq!(
            row(&event(float)),
            Err(unfit("score", "is of another type"))
        );
        let nul = r#"{"type":"ios_score.complete","details":{"calculated":{"score":1,
            "risk_band":"\u0000"}}}"#;
        assert_eq!(
            row(&event(nul)),
            Err(unfit("risk_band", "contains a NUL character"))
        );
    }
}
