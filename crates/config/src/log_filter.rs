//! Checks the text of a log filter.

use tracing_subscriber::EnvFilter;

/// The log filter if no other one is set.
pub const DEFAULT: &str = "info";

/// Checks a log filter, such as `info` or `hookbox_worker=debug,info`.
pub fn log_filter(text: &str) -> Result<String, String> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "{text:?} is not a log filter such as \"info\" or \"hookbox_worker=debug,info\" \
             ({error})"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::log_filter;

    #[test]
    fn an_invalid_filter_is_refused() {
        assert!(log_filter("hookbox_worker=debug,info").is_ok());
        let error = log_filter("hookbox=loud").unwrap_err();
        assert!(error.contains("hookbox=loud"));
    }
}
