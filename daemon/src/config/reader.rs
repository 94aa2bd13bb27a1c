//! Settings into typed values. Collects every mistake, so that a user corrects them in one round.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::sources::{ENV_PREFIX, env_name, means};

/// One setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting's key.
    pub key: String,
    /// What was given; `None` when it is missing.
    pub value: Option<String>,
    /// What would be allowed, in words.
    pub allowed: String,
    /// What the user can do.
    pub remedy: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.key)?,
            None => write!(f, "{} is missing", self.key)?,
        }
        write!(f, ": allowed is {}; {}", self.allowed, self.remedy)
    }
}

/// All settings that cannot be used, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Problem>);

impl Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "{only}"),
            all => {
                write!(f, "{} settings cannot be used:", all.len())?;
                all.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// A key that nobody asked for: a typing error, or an option of the Java broker that has no meaning here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// The key as given.
    pub key: String,
    /// A known key that is spelt almost the same.
    pub similar: Option<String>,
}

impl Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.similar {
            Some(similar) => write!(f, "unknown setting {}, did you mean {similar}?", self.key),
            None => write!(f, "unknown setting {}", self.key),
        }
    }
}

/// The unit in which a duration is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// 1/1000 s, the unit of most of RocketMQ's settings.
    Milliseconds,
    /// 1 s.
    Seconds,
    /// 3600 s.
    Hours,
}

impl Unit {
    fn duration(self, amount: u64) -> Duration {
        match self {
            Unit::Milliseconds => Duration::from_millis(amount),
            Unit::Seconds => Duration::from_secs(amount),
            Unit::Hours => Duration::from_secs(amount.saturating_mul(3600)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Unit::Milliseconds => "milliseconds",
            Unit::Seconds => "seconds",
            Unit::Hours => "hours",
        }
    }
}

/// Turns pairs into typed values. Each method takes a key and its default and returns a value that is
/// always usable; what was wrong is remembered, and [`Reader::finish`] says so. Of several pairs with one
/// key the last wins.
pub struct Reader<'a> {
    pairs: &'a [(String, String)],
    known: BTreeSet<&'static str>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// Starts reading what [`super::load`] or [`super::parse`] returned.
    pub fn new(pairs: &'a [(String, String)]) -> Self {
        Self { pairs, known: BTreeSet::new(), problems: Vec::new() }
    }

    /// Reads a text; an empty one counts as absent.
    pub fn text(&mut self, key: &'static str, default: &str) -> String {
        self.optional(key).unwrap_or_else(|| default.to_owned())
    }

    /// Reads a text that has no default.
    pub fn optional(&mut self, key: &'static str) -> Option<String> {
        self.given(key).map(|(_, value)| value.to_owned())
    }

    /// Reads a text that must be there; `allowed` says what it is.
    pub fn required(&mut self, key: &'static str, allowed: &str) -> String {
        match self.optional(key) {
            Some(value) => value,
            None => {
                self.refuse(key, allowed);
                String::new()
            }
        }
    }

    /// Reads `true` or `false`.
    pub fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        self.parsed(key, default, "true or false", |text| text.to_ascii_lowercase().parse().ok())
    }

    /// Reads a number, whole or not, within bounds.
    pub fn number<T>(&mut self, key: &'static str, default: T, allowed: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display,
    {
        let words = format!("{} to {}", allowed.start(), allowed.end());
        self.parsed(key, default, &words, |text| text.parse().ok().filter(|value| allowed.contains(value)))
    }

    /// Reads an amount of bytes: `65536`, `64KiB`, `1GiB`.
    pub fn bytes(&mut self, key: &'static str, default: u64, allowed: RangeInclusive<u64>) -> u64 {
        let words = format!(
            "{} to {} bytes, also with KiB, MiB or GiB",
            bytes_in_words(*allowed.start()),
            bytes_in_words(*allowed.end())
        );
        self.parsed(key, default, &words, |text| parse_bytes(text).filter(|value| allowed.contains(value)))
    }

    /// Reads a duration that is given as a whole number of `unit`s, as are `default` and `allowed`.
    pub fn duration(
        &mut self,
        key: &'static str,
        unit: Unit,
        default: u64,
        allowed: RangeInclusive<u64>,
    ) -> Duration {
        let words = format!("{} to {} {}", allowed.start(), allowed.end(), unit.name());
        unit.duration(
            self.parsed(key, default, &words, |text| {
                text.parse().ok().filter(|value| allowed.contains(value))
            }),
        )
    }

    /// Reads one of several words, in any case.
    pub fn choice<T: Clone>(&mut self, key: &'static str, default: T, words: &[(&str, T)]) -> T {
        let allowed = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" or ");
        self.parsed(key, default, &allowed, |text| {
            words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| value.clone())
        })
    }

    /// Reads anything else; `parse` returns `None` for a value that is not `allowed`.
    pub fn parsed<T>(
        &mut self,
        key: &'static str,
        default: T,
        allowed: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        let Some((_, text)) = self.given(key) else {
            return default;
        };
        match parse(text) {
            Some(value) => value,
            None => {
                self.refuse(key, allowed);
                default
            }
        }
    }

    /// Remembers that what was given for `key` cannot be used, for instance because it clashes with
    /// another setting; `allowed` then names that one and its value.
    pub fn refuse(&mut self, key: &'static str, allowed: &str) {
        let (given_as, value) = match self.given(key) {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (key, None),
        };
        let remedy = if given_as.starts_with(ENV_PREFIX) {
            format!("correct the environment variable {given_as}")
        } else {
            format!("set it in the configuration file, by --set {key}=VALUE or by {}", env_name(key))
        };
        self.problems.push(Problem { key: key.to_owned(), value, allowed: allowed.to_owned(), remedy });
    }

    /// Ends reading and returns the keys that nobody asked for; whether those are worth a warning or a
    /// refusal is the server's choice. Environment variables are never among them: Kubernetes sets
    /// `GANTRY_..._SERVICE_HOST` for a service of that name.
    ///
    /// # Errors
    /// All settings that cannot be used; the process should not start.
    pub fn finish(self) -> Result<Vec<UnknownKey>, ConfigErrors> {
        if !self.problems.is_empty() {
            return Err(ConfigErrors(self.problems));
        }
        let unknown: BTreeSet<&str> = self
            .pairs
            .iter()
            .map(|(key, _)| key.as_str())
            .filter(|key| !key.starts_with(ENV_PREFIX) && !self.known.contains(key))
            .collect();
        let describe = |key: &str| UnknownKey {
            key: key.to_owned(),
            similar: self
                .known
                .iter()
                .find(|known| nearly_equal(known, key))
                .map(|known| (*known).to_owned()),
        };
        Ok(unknown.into_iter().map(describe).collect())
    }

    fn given(&mut self, key: &'static str) -> Option<(&'a str, &'a str)> {
        self.known.insert(key);
        let (name, value) = self.pairs.iter().rev().find(|(name, _)| means(name, key))?;
        (!value.is_empty()).then_some((name, value))
    }
}

const SUFFIXES: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];

fn parse_bytes(text: &str) -> Option<u64> {
    for (suffix, shift) in SUFFIXES {
        if let Some(amount) = text.strip_suffix(suffix) {
            return amount.trim().parse::<u64>().ok()?.checked_mul(1 << shift);
        }
    }
    text.parse().ok()
}

fn bytes_in_words(bytes: u64) -> String {
    let whole = SUFFIXES.iter().find(|(_, shift)| bytes != 0 && bytes.is_multiple_of(1 << shift));
    match whole {
        Some((suffix, shift)) => format!("{}{suffix}", bytes >> shift),
        None => bytes.to_string(),
    }
}

// Whether two keys differ by at most two letters, so that one may be a slip of the other.
fn nearly_equal(a: &str, b: &str) -> bool {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()] <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
        given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn values_are_typed_and_absent_ones_take_the_default() {
        let given = pairs(&[
            ("listenPort", "10911"),
            ("autoCreateTopicEnable", "TRUE"),
            ("flushDiskType", "sync_flush"),
            ("maxMessageSize", "4MiB"),
            ("fileReservedTime", "48"),
            ("empty", ""),
        ]);
        let mut reader = Reader::new(&given);
        assert_eq!(reader.number("listenPort", 1_u16, 1..=65535), 10911);
        assert!(reader.boolean("autoCreateTopicEnable", false));
        assert_eq!(reader.choice("flushDiskType", 'a', &[("ASYNC_FLUSH", 'a'), ("SYNC_FLUSH", 's')]), 's');
        assert_eq!(reader.bytes("maxMessageSize", 1, 1..=u64::MAX), 4 << 20);
        assert_eq!(
            reader.duration("fileReservedTime", Unit::Hours, 72, 1..=100),
            Duration::from_secs(172_800)
        );
        assert_eq!(reader.text("empty", "default"), "default");
        assert_eq!(reader.number("diskMaxUsedSpaceRatio", 75.5, 1.0..=99.0), 75.5);
        assert_eq!(reader.optional("brokerIP1"), None);
        assert_eq!(reader.finish(), Ok(vec![]));
    }

    #[test]
    fn the_last_of_several_wins_and_the_environment_counts() {
        let given = pairs(&[("listenPort", "1"), ("GANTRY_LISTEN_PORT", "2")]);
        assert_eq!(Reader::new(&given).number("listenPort", 0, 0..=9), 2);
        let given = pairs(&[("GANTRY_LISTEN_PORT", "2"), ("listenPort", "3")]);
        assert_eq!(Reader::new(&given).number("listenPort", 0, 0..=9), 3);
    }

    #[test]
    fn all_mistakes_are_reported_at_once_with_value_range_and_remedy() {
        let given = pairs(&[
            ("listenPort", "70000"),
            ("flushDiskType", "SOMETIMES"),
            ("GANTRY_MAX_MESSAGE_SIZE", "1 TiB"),
        ]);
        let mut reader = Reader::new(&given);
        assert_eq!(reader.number("listenPort", 10911_u16, 1..=65535), 10911);
        reader.choice("flushDiskType", (), &[("ASYNC_FLUSH", ()), ("SYNC_FLUSH", ())]);
        reader.bytes("maxMessageSize", 4 << 20, 1024..=64 << 20);
        reader.required("namesrvAddr", "host:port, several joined by ;");
        let text = reader.finish().unwrap_err().to_string();
        assert_eq!(
            text,
            "4 settings cannot be used:\n  \
             listenPort=70000: allowed is 1 to 65535; \
             set it in the configuration file, by --set listenPort=VALUE or by GANTRY_LISTEN_PORT\n  \
             flushDiskType=SOMETIMES: allowed is ASYNC_FLUSH or SYNC_FLUSH; \
             set it in the configuration file, by --set flushDiskType=VALUE or by GANTRY_FLUSH_DISK_TYPE\n  \
             maxMessageSize=1 TiB: allowed is 1KiB to 64MiB bytes, also with KiB, MiB or GiB; \
             correct the environment variable GANTRY_MAX_MESSAGE_SIZE\n  \
             namesrvAddr is missing: allowed is host:port, several joined by ;; \
             set it in the configuration file, by --set namesrvAddr=VALUE or by GANTRY_NAMESRV_ADDR"
        );
    }

    #[test]
    fn unknown_keys_are_reported_with_the_one_that_was_meant() {
        let given = pairs(&[("lisenPort", "1"), ("sendThreadPool", "2"), ("GANTRY_SERVICE_HOST", "x")]);
        let mut reader = Reader::new(&given);
        reader.number("listenPort", 1, 1..=2);
        let words: Vec<String> = reader.finish().unwrap().iter().map(UnknownKey::to_string).collect();
        assert_eq!(
            words,
            ["unknown setting lisenPort, did you mean listenPort?", "unknown setting sendThreadPool"]
        );
    }
}
