//! Log lines on standard error, as text for people or JSON for collectors. Knows levels, not topics.
//!
//! A process has one log, so its level is the process's too: [`set_level`] needs no handle.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
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

/// What a level may be, in words.
pub const LEVELS: &str = "error, warn, info, debug, trace or off, and per crate as in `info,store=debug`";

/// The filter of this process, once it logs.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level text cannot be read; the user should correct it.
    #[error("log level `{0}` cannot be read; allowed is {LEVELS}")]
    Level(String),
    /// Something in this process logs already; a mistake of the caller.
    #[error("start logging: {0}")]
    Twice(#[from] TryInitError),
    /// The level cannot be changed any more.
    #[error("change the log level: {0}")]
    Change(#[from] reload::Error),
}

/// Starts logging for the whole process: `level` is `info`, `debug` ..., also per crate as in
/// `info,store=debug`. Call it once, before the first log line.
///
/// # Errors
/// [`LogError::Level`] when `level` cannot be read, [`LogError::Twice`] on a second call.
pub fn init(format: LogFormat, level: &str) -> Result<(), LogError> {
    let (filter, handle) = reload::Layer::new(parse_level(level)?);
    // A log on a full disk loses lines; complaining about it on standard error would panic whoever logs.
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => {
            registry.with(lines.with_ansi(std::io::stderr().is_terminal())).try_init()?;
        }
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init()?,
    }
    // Only the first to get here has started the log.
    let _ = FILTER.set(handle);
    Ok(())
}

/// Changes what is logged from now on. Does nothing in a process whose log somebody else started.
///
/// # Errors
/// [`LogError::Level`] when `level` cannot be read; the level stays as it was.
pub fn set_level(level: &str) -> Result<(), LogError> {
    let filter = parse_level(level)?;
    FILTER.get().map_or(Ok(()), |handle| handle.reload(filter)).map_err(LogError::Change)
}

/// Says whether a text is a level.
pub fn is_level(text: &str) -> bool {
    parse_level(text).is_ok()
}

// `Targets` instead of `EnvFilter`: no regular expressions, which cost an idle process a megabyte.
fn parse_level(level: &str) -> Result<Targets, LogError> {
    let mut filter = Targets::new();
    for part in level.split(',').map(str::trim) {
        let (target, level_of_it) =
            part.split_once('=').map_or((None, part), |(t, l)| (Some(t.trim()), l.trim()));
        let wanted = level_of_it.parse::<LevelFilter>().map_err(|_| LogError::Level(level.to_owned()))?;
        filter = match target {
            Some(target) => filter.with_target(target, wanted),
            None => filter.with_default(wanted),
        };
    }
    Ok(filter)
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
    fn the_level_changes_while_the_process_logs() {
        init(LogFormat::Text, "warn").unwrap();
        let enabled = || (tracing::enabled!(tracing::Level::WARN), tracing::enabled!(tracing::Level::DEBUG));
        assert_eq!(enabled(), (true, false));
        set_level("debug").unwrap();
        assert_eq!(enabled(), (true, true));
        assert!(set_level("loud").is_err());
        assert_eq!(enabled(), (true, true));
        set_level("off").unwrap();
        assert_eq!(enabled(), (false, false));
    }

    #[test]
    fn a_wrong_level_is_answered_with_its_value_and_the_remedy() {
        // A word that is no level would silence everything but a crate of that name.
        for level in ["store=loud", "loud", "info,loud"] {
            let message = parse_level(level).unwrap_err().to_string();
            assert!(message.starts_with(&format!("log level `{level}` cannot be read; ")), "{message}");
            assert!(message.contains("allowed is error, warn, info, debug, trace or off"), "{message}");
        }
    }
}
