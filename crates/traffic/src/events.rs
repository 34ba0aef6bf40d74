//! Generates events of Begini's seven types, as described in `schemas/begini/`, and events with
//! defective bodies. The applicants are fictitious.

use std::fmt::Write as _;

use super::chance::{Chance, Purpose};

/// The deployment (`integration_id`) of all simulated events: a text of twenty digits, like
/// Begini's.
const INTEGRATION: &str = "90000000000000000001";

/// When the first simulated applicant started, in Unix seconds. The time is fixed, so that bodies
/// depend only on the seed and the number of the event.
const BEGINNING: u64 = 1_764_000_000;

/// The types of Begini's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    PsychometricScore,
    AndroidScore,
    IosScore,
    ApplicationComplete,
    ApplicationExpired,
    ApplicationIncomplete,
    ApplicationCancelled,
}

/// Selects one of the two bodies that can be generated for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// The body of the event's first request.
    First,
    /// A different body with the same identity.
    Conflicting,
}

/// The defect of a signed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The body ends too early, so it is not JSON.
    CutShort,
    /// The body has no `uid`.
    WithoutUid,
    /// The `uid` of the body is a number that is larger than a float can represent.
    NumericUid,
    /// The score in the body is a text.
    TextScore,
    /// The body is a score without the time at which it was made.
    WithoutTime,
}

/// A simulated event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    seed: u64,
    number: u32,
    pub(super) kind: Kind,
}

impl Kind {
    pub(super) const ALL: [Kind; 7] = [
        Kind::PsychometricScore,
        Kind::AndroidScore,
        Kind::IosScore,
        Kind::ApplicationComplete,
        Kind::ApplicationExpired,
        Kind::ApplicationIncomplete,
        Kind::ApplicationCancelled,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Kind::PsychometricScore => "psychometric_score.complete",
            Kind::AndroidScore => "android_score.complete",
            Kind::IosScore => "ios_score.complete",
            Kind::ApplicationComplete => "application.complete",
            Kind::ApplicationExpired => "application.expired",
            Kind::ApplicationIncomplete => "application.incomplete",
            Kind::ApplicationCancelled => "application.cancelled",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Returns an event type at random, in the proportions of a lender's typical day.
    fn chosen(chance: &mut Chance) -> Self {
        match chance.below(20) {
            0..=6 => Kind::PsychometricScore,
            7..=10 => Kind::AndroidScore,
            11..=12 => Kind::IosScore,
            13..=16 => Kind::ApplicationComplete,
            17 => Kind::ApplicationExpired,
            18 => Kind::ApplicationIncomplete,
            _ => Kind::ApplicationCancelled,
        }
    }
}

impl Flaw {
    pub(super) fn chosen(chance: &mut Chance) -> Self {
        let others = [
            Flaw::WithoutUid,
            Flaw::NumericUid,
            Flaw::TextScore,
            Flaw::WithoutTime,
        ];
        chance.one_of(Flaw::CutShort, &others)
    }
}

impl Event {
    /// Returns the event with this number. Its type is random unless `kind` is given.
    pub(super) fn new(seed: u64, number: u32, kind: Option<Kind>) -> Self {
        let mut chance = Chance::new(seed, number, Purpose::Body);
        let chosen = Kind::chosen(&mut chance);
        Self {
            seed,
            number,
            kind: kind.unwrap_or(chosen),
        }
    }

    /// Returns the body of the event.
    pub(super) fn body(&self, version: Version) -> Vec<u8> {
        self.write(version, &format!(r#""uid":"{}","#, self.uid()), None)
    }

    /// Returns the body of the event with a flaw. The bodies of two different events always differ,
    /// also with a flaw.
    pub(super) fn flawed(&self, flaw: Flaw) -> Vec<u8> {
        let named = format!(r#""uid":"{}","#, self.uid());
        match flaw {
            Flaw::CutShort => {
                let mut body = self.write(Version::First, &named, None);
                body.truncate(body.len() * 2 / 3);
                body
            }
            Flaw::WithoutUid => {
                let other = format!(r#""reference":"{}","#, self.uid());
                self.write(Version::First, &other, None)
            }
            Flaw::NumericUid => {
                let number = format!(r#""uid":9{:020}{:010},"#, self.seed, self.number);
                self.write(Version::First, &number, None)
            }
            Flaw::TextScore | Flaw::WithoutTime => self.write(Version::First, &named, Some(flaw)),
        }
    }

    /// Returns the id of the applicant. It depends only on the seed and the number of the event, so
    /// it is the same in every run.
    fn uid(&self) -> String {
        format!("SIM{:016X}-{:08X}", self.seed, self.number)
    }

    fn write(&self, version: Version, uid: &str, flaw: Option<Flaw>) -> Vec<u8> {
        let mut chance = Chance::new(self.seed, self.number, Purpose::Body);
        let started = BEGINNING + u64::from(self.number) + chance.below(60);
        let ended = started + 120 + chance.below(1_800);
        let mut body = String::with_capacity(768);
        let kind = self.kind.as_str();
        // Writing into a string cannot fail.
        let _ = write!(body, r#"{{{uid}"integration_id":"{INTEGRATION}","#);
        let _ = write!(body, r#""event":{{"type":"{kind}","details":{{"#);
        let _ = write!(body, r#""application_started_at":{started},"#);
        let other = u64::from(version == Version::Conflicting);
        match self.kind {
            Kind::PsychometricScore | Kind::AndroidScore | Kind::IosScore => {
                let score = 300 + chance.below(550) + other;
                self.write_score(&mut body, &mut chance, ended, score, flaw);
            }
            Kind::ApplicationComplete => {
                let ended = ended + other;
                let _ = write!(body, r#""application_completed_at":{ended}}}}}}}"#);
            }
            Kind::ApplicationExpired => {
                let ended = ended + 86_400 + other;
                let _ = write!(body, r#""application_ended_at":{ended}}}}}}}"#);
            }
            Kind::ApplicationIncomplete => {
                let ended = ended + other;
                let thirds = chance.one_of("0.333333333333333", &["0.666666666666667"]);
                let _ = write!(body, r#""application_ended_at":{ended},"#);
                let _ = write!(body, r#""percentage_complete":"{thirds}","#);
                body.push_str(r#""percentage_answered":"0.25"},"reasons":["SESSION_LEFT"]}}"#);
            }
            Kind::ApplicationCancelled => {
                let ended = ended + other;
                let reason = chance.one_of("CONSENT_WITHDRAWN", &["REQUESTED_BY_CLIENT"]);
                let _ = write!(
                    body,
                    r#""application_ended_at":{ended}}},"reasons":["{reason}"]}}}}"#
                );
            }
        }
        body.into_bytes()
    }

    fn write_score(
        &self,
        body: &mut String,
        chance: &mut Chance,
        ended: u64,
        score: u64,
        flaw: Option<Flaw>,
    ) {
        let _ = write!(body, r#""application_completed_at":{ended},"#);
        if flaw != Some(Flaw::WithoutTime) {
            let _ = write!(body, r#""scored_at":{},"#, ended + 5 + chance.below(30));
        }
        let quote = if flaw == Some(Flaw::TextScore) {
            "\""
        } else {
            ""
        };
        let band = band(score);
        let calculated = format!(r#""score":{quote}{score}{quote},"risk_band":"{band}""#);
        let granted = chance.one_of("CONTACTS", &["CALENDAR", "APPS"]);
        match self.kind {
            Kind::AndroidScore => {
                let _ = write!(
                    body,
                    r#""platform":"ANDROID","calculated":{{{calculated}}},"#
                );
                let _ = write!(body, r#""permissions_granted":["{granted}","DEVICE"],"#);
                body.push_str(r#""permissions_denied":["LOCATION"]}}}"#);
            }
            Kind::IosScore => {
                let _ = write!(body, r#""platform":"IOS","calculated":{{{calculated}}},"#);
                let _ = write!(body, r#""permissions_granted":["{granted}"],"#);
                body.push_str(r#""permissions_denied":[]}}}"#);
            }
            Kind::PsychometricScore
            | Kind::ApplicationComplete
            | Kind::ApplicationExpired
            | Kind::ApplicationIncomplete
            | Kind::ApplicationCancelled => {
                let traits = traits(chance);
                let _ = write!(body, r#""platform":"WEB","calculated":{{{calculated},"#);
                let _ = write!(body, r#""score_confidence":"HIGH","traits":[{traits}],"#);
                body.push_str(r#""flags":[]}}}}"#);
            }
        }
    }
}

fn traits(chance: &mut Chance) -> String {
    let keys = [
        "conscientiousness",
        "emotional_stability",
        "numeracy",
        "impulsivity",
    ];
    let one = |key| {
        let value = chance.below(101);
        format!(
            r#"{{"key":"{key}","value":{value},"risk_band":"{}"}}"#,
            band(value * 8)
        )
    };
    keys.map(one).join(",")
}

fn band(score: u64) -> &'static str {
    match score {
        0..=399 => "E",
        400..=499 => "D",
        500..=599 => "C",
        600..=699 => "B",
        _ => "A",
    }
}

#[cfg(test)]
mod tests;
