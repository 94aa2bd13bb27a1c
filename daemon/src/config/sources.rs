//! Where settings come from and which wins: file, then environment, then flags. Knows no key.

use std::path::{Path, PathBuf};

use super::properties::{self, SyntaxError};

/// What the name of an environment variable that holds a setting starts with.
pub const ENV_PREFIX: &str = "GANTRY_";

/// Why settings could not be collected.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is missing or unreadable.
    #[error("read configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not in `.properties` form.
    #[error("read configuration {}: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line and problem.
        source: SyntaxError,
    },
    /// A flag is not of the form `key=value`.
    #[error("--set {0}: allowed is key=value, as in --set listenPort=9876")]
    Flag(String),
}

/// Collects settings in the order in which a [`super::Reader`] lets later ones win: those of `file`,
/// then every variable of `env` that starts with [`ENV_PREFIX`] (under its own name), then `sets`.
/// Pass `std::env::vars()` as `env`.
///
/// # Errors
/// A file that cannot be read or parsed, a flag without `=`; the process should not start.
pub fn load(
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
    sets: &[String],
) -> Result<Vec<(String, String)>, LoadError> {
    let mut pairs = match file {
        Some(path) => read_file(path)?,
        None => Vec::new(),
    };
    let mut variables: Vec<_> = env.into_iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect();
    variables.sort();
    pairs.extend(variables);
    for flag in sets {
        match flag.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                pairs.push((key.trim().to_owned(), value.trim().to_owned()));
            }
            _ => return Err(LoadError::Flag(flag.clone())),
        }
    }
    Ok(pairs)
}

/// Returns the environment variable of a key: `listenPort` is `GANTRY_LISTEN_PORT`.
pub fn env_name(key: &str) -> String {
    let mut name = ENV_PREFIX.to_owned();
    let mut after_small = false;
    for c in key.chars() {
        if c.is_ascii_uppercase() && after_small {
            name.push('_');
        }
        after_small = c.is_ascii_lowercase();
        name.push(if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    }
    name
}

/// Returns whether the name under which a setting was given means this key. Environment variables match
/// without regard to case and underscores, so that `GANTRY_listenPort` works too.
pub(super) fn means(given: &str, key: &str) -> bool {
    given == key || given.strip_prefix(ENV_PREFIX).is_some_and(|name| folded(name).eq(folded(key)))
}

fn folded(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_lowercase())
}

fn read_file(path: &Path) -> Result<Vec<(String, String)>, LoadError> {
    let at = || path.to_owned();
    let text = std::fs::read_to_string(path).map_err(|source| LoadError::Read { path: at(), source })?;
    properties::parse(&text).map_err(|source| LoadError::Syntax { path: at(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_come_after_the_environment_and_that_after_the_file() {
        let file = std::env::temp_dir().join(format!("gantry-sources-{}.properties", std::process::id()));
        std::fs::write(&file, "listenPort=1\n").unwrap();
        let env = [("GANTRY_LISTEN_PORT", "2"), ("PATH", "/bin")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let pairs = load(Some(&file), env, &["listenPort = 3".to_owned()]);
        std::fs::remove_file(&file).unwrap();
        let expected = [("listenPort", "1"), ("GANTRY_LISTEN_PORT", "2"), ("listenPort", "3")];
        assert_eq!(pairs.unwrap(), expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn a_missing_file_and_a_bad_flag_are_named() {
        let missing = load(Some(Path::new("/nowhere/broker.properties")), [], &[]).unwrap_err();
        assert!(missing.to_string().starts_with("read configuration /nowhere/broker.properties: "));
        let flag = load(None, [], &["listenPort".to_owned()]).unwrap_err();
        assert_eq!(flag.to_string(), "--set listenPort: allowed is key=value, as in --set listenPort=9876");
    }

    #[test]
    fn a_key_has_one_environment_variable_in_any_spelling() {
        assert_eq!(env_name("listenPort"), "GANTRY_LISTEN_PORT");
        assert_eq!(env_name("brokerIP1"), "GANTRY_BROKER_IP1");
        for given in ["listenPort", "GANTRY_LISTEN_PORT", "GANTRY_listenPort", "GANTRY_LISTENPORT"] {
            assert!(means(given, "listenPort"), "{given}");
        }
        for given in ["listenport", "GANTRY_LISTEN", "LISTEN_PORT"] {
            assert!(!means(given, "listenPort"), "{given}");
        }
    }
}
