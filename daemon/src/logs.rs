//! Log lines on standard error, as text for people or JSON for collectors. Knows levels, not topics.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `time LEVEL module: message key=value`, in colour on a terminal.
    #[default]
    Text,
    /// One JSON object per line, the event's fields at its top level.
    Json,
}

/// The spellings that settings and flags use.
pub const LOG_FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level text cannot be read; the user should correct it.
    #[error(
        "log level `{level}`: {source}; allowed is error, warn, info, debug, trace or off, \
             and per crate as in `info,store=debug`"
    )]
    Level {
        /// What was given.
        level: String,
        /// What the parser says.
        source: ParseError,
    },
    /// Something in this process logs already; a mistake of the caller.
    #[error("start logging: {0}")]
    Twice(#[from] TryInitError),
}

/// Starts logging for the whole process: `level` is `info`, `debug` ..., also per crate as in
/// `info,store=debug`. Call it once, before the first log line.
///
/// # Errors
/// [`LogError::Level`] when `level` cannot be read, [`LogError::Twice`] on a second call.
pub fn init(format: LogFormat, level: &str) -> Result<(), LogError> {
    let filter = parse_level(level)?;
    // A log on a full disk loses lines; complaining about it on standard error would panic whoever logs.
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => {
            registry.with(lines.with_ansi(std::io::stderr().is_terminal())).try_init()?;
        }
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init()?,
    }
    Ok(())
}

// `Targets` instead of `EnvFilter`: no regular expressions, which cost an idle process a megabyte.
fn parse_level(level: &str) -> Result<Targets, LogError> {
    if let Ok(all) = level.trim().parse::<LevelFilter>() {
        return Ok(Targets::new().with_default(all));
    }
    level.parse().map_err(|source| LogError::Level { level: level.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_read_for_all_and_per_crate() {
        let filter = parse_level("info,store=debug").unwrap();
        assert!(filter.would_enable("store::log", &tracing::Level::DEBUG));
        assert!(filter.would_enable("broker", &tracing::Level::INFO));
        assert!(!filter.would_enable("broker", &tracing::Level::DEBUG));
        assert!(!parse_level("off").unwrap().would_enable("broker", &tracing::Level::ERROR));
    }

    #[test]
    fn a_wrong_level_is_answered_with_its_value_and_the_remedy() {
        let message = parse_level("store=loud").unwrap_err().to_string();
        assert!(message.starts_with("log level `store=loud`: "), "{message}");
        assert!(message.contains("allowed is error, warn, info, debug, trace or off"), "{message}");
    }
}
