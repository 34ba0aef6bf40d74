//! The arguments for the log, which every command has.

use clap::{Args, ValueEnum};
use hookbox_config::{LogConfig, log_filter};

/// Logging options, which override the config.
#[derive(Debug, Clone, Default, Args)]
pub struct LogArgs {
    /// The filter for the log of services, such as "info" or "hookbox_worker=debug,info" [default:
    /// $HOOKBOX_LOG, else the config's]
    #[arg(long = "log", global = true, value_name = "FILTER", value_parser = log_filter)]
    pub filter: Option<String>,

    /// Log format [default: the config's, else text]
    #[arg(long = "log-format", global = true, value_name = "FORMAT")]
    pub format: Option<LogFormat>,
}

/// The values of `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    // Lines for people. (A doc comment here would lengthen the help of every command.)
    Text,
    // One JSON object per line.
    Json,
}

impl LogArgs {
    /// Returns the log settings of the config, overridden by those of the command line.
    pub fn over(&self, config: &LogConfig) -> LogConfig {
        LogConfig {
            json: self
                .format
                .map_or(config.json, |format| format == LogFormat::Json),
            filter: self.filter.clone().or_else(|| config.filter.clone()),
        }
    }
}
