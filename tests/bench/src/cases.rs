//! What the cases do, one file for each thing that is measured.

pub(crate) mod accepted;
pub(crate) mod backlog;
pub(crate) mod both;
pub(crate) mod cold_start;
pub(crate) mod conditions;
pub(crate) mod embedded;
pub(crate) mod failing;
pub(crate) mod forward;
pub(crate) mod latency;
pub(crate) mod newest;
pub(crate) mod processed;
pub(crate) mod publish;
pub(crate) mod replay;
pub(crate) mod turns;
pub(crate) mod user_sql;
pub(crate) mod workers;
