//! `dead groups`: counts dead letters by route, reason and cause.

use hookbox_driver::{DeadFilter, DeadGroup, Ledger, cause};
use serde::Serialize;

use crate::{CommandError, Source};

/// How many dead letters one transaction assigns to their groups. Such a transaction takes a
/// fraction of a second.
const REGROUPED: u32 = 1_000;

/// How many characters of a group's cause are shown at most.
const CAUSE_CHARS_MAX: usize = 200;

/// Dead letters by cause, the largest group first.
#[derive(Debug, Clone, Serialize)]
pub struct GroupsReport {
    /// Where the groups come from (broker or store): always the store.
    pub source: Source,
    /// The groups.
    pub groups: Vec<Group>,
}

/// Dead letters of one route with the same reason and the same cause.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// The id of the group, as `--group` takes it.
    pub group: String,
    /// How many dead letters the group has.
    pub count: u64,
    /// The route that gave up on the events.
    pub route: String,
    /// The topic of the events; null when they have several topics.
    pub topic: Option<String>,
    /// How many topics the events have.
    pub topics: u64,
    /// The name of the reason why the events became dead letters, as `--reason` takes it.
    pub reason: &'static str,
    /// The cause: the first line of the error, in which the parts that differ from event to event
    /// are replaced by placeholders.
    pub detail: String,
    /// The id of the newest dead letter in the group, as `dead show` takes it.
    pub newest: i64,
    /// When the first event of the group became a dead letter.
    pub first_at: String,
    /// When the last event of the group became a dead letter.
    pub last_at: String,
}

impl Group {
    fn of(group: &DeadGroup) -> Self {
        let cause = cause(&group.detail);
        let line = cause.lines().next().unwrap_or_default();
        Self {
            group: group.id.to_string(),
            count: group.count,
            route: group.route.to_string(),
            topic: (group.topics == 1).then(|| group.topic.to_string()),
            topics: group.topics,
            reason: group.reason.as_str(),
            detail: line.chars().take(CAUSE_CHARS_MAX).collect(),
            newest: group.newest,
            first_at: group.first_at.to_string(),
            last_at: group.last_at.to_string(),
        }
    }
}

/// Returns the dead letters grouped by cause. First assigns groups to dead letters that have no
/// group yet.
pub async fn groups(
    ledger: &dyn Ledger,
    filter: &DeadFilter,
) -> Result<GroupsReport, CommandError> {
    regroup(ledger, |_| ()).await?;
    let groups = ledger
        .dead_groups(filter)
        .await
        .map_err(CommandError::store("group the dead letters"))?;
    Ok(GroupsReport {
        source: Source::Store,
        groups: groups.iter().map(Group::of).collect(),
    })
}

/// Assigns groups to the dead letters that an older hookbox without groups wrote, one transaction
/// at a time, and reports the progress. Returns how many dead letters it grouped.
pub async fn regroup(
    ledger: &dyn Ledger,
    mut progress: impl FnMut(u64) + Send,
) -> Result<u64, CommandError> {
    let mut grouped = 0;
    loop {
        let some = ledger
            .dead_regroup(REGROUPED)
            .await
            .map_err(CommandError::store(
                "group the dead letters that an older version wrote",
            ))?;
        grouped += some;
        if some > 0 {
            progress(grouped);
        }
        if some < u64::from(REGROUPED) {
            return Ok(grouped);
        }
    }
}

/// Assigns missing groups if the filter names a group, because the filter would not find dead
/// letters without a group.
pub(super) async fn regroup_for(
    ledger: &dyn Ledger,
    filter: &DeadFilter,
) -> Result<(), CommandError> {
    if filter.group.is_some() {
        regroup(ledger, |_| ()).await?;
    }
    Ok(())
}
