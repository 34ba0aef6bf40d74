//! Checks that all routes whose calls go to the same target have the same rate. A store records for
//! each target only up to which moment earlier calls have used the rate, so it can keep one rate.

use std::collections::HashMap;

use hookbox_driver::{Rate, TargetName};
use hookbox_event::RouteName;
use hookbox_worker::RegisteredEffect;

/// Two routes have different rates for the same target.
#[derive(Debug, thiserror::Error)]
#[error(
    "the routes {first} and {second} have the same target, {target}, and different rates; give \
     all routes with this target the same `rate`"
)]
pub struct DifferentRates {
    first: RouteName,
    second: RouteName,
    target: TargetName,
}

/// The rate of each target, with the first route that has this target.
#[derive(Default)]
pub struct TargetRates<'r>(HashMap<TargetName, (&'r RouteName, Option<Rate>)>);

impl<'r> TargetRates<'r> {
    /// Adds the effect of a route. Returns an error if an earlier route has another rate for the
    /// target of this effect.
    pub fn add(
        &mut self,
        route: &'r RouteName,
        effect: &RegisteredEffect,
    ) -> Result<(), DifferentRates> {
        let (target, rate) = (effect.target(), effect.limits().rate);
        let (first, known) = *self.0.entry(target.clone()).or_insert((route, rate));
        if known == rate {
            return Ok(());
        }
        Err(DifferentRates {
            first: first.clone(),
            second: route.clone(),
            target: target.clone(),
        })
    }
}
