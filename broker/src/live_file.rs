//! Live settings as they come from outside, by file or by request: a text with a revision, laid over the settings of the
//! start. What becomes of a text is decided here, from what was taken over last; who applies it is not known.
//!
//! A text has all live settings: what it does not name is as at the start. A broker never goes back to a lower revision,
//! also not after a restart, because the last text is kept in its store.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use daemon::config::{self, ConfigErrors, Reader, UnknownKey};

use crate::config::Config;
use crate::live::LiveSettings;
use crate::persist;

const REVISION: &str = "configRevision";
/// Stands for the pod's own address, which whoever writes the text does not know.
const POD_IP: &str = "{podIP}";

/// What a broker was started with, apart from live settings.
#[derive(Debug, Clone)]
pub struct Basis {
    /// All that was given, later ones win.
    pub given: Vec<(String, String)>,
    /// The same, read; role and live settings may not be the last word.
    pub config: Config,
}

impl Basis {
    /// Reads what a broker is started with whose role comes with its live settings: until then its id tells.
    ///
    /// # Errors
    /// Every setting that cannot be used; the process should not start.
    pub fn without_live(given: Vec<(String, String)>) -> Result<Basis, ConfigErrors> {
        let mut provisional = given.clone();
        // First, so that whatever was given wins.
        if Reader::new(&given).text("brokerId", "0") != "0" {
            provisional.insert(0, ("brokerRole".to_owned(), "SLAVE".to_owned()));
        }
        Ok(Basis { config: Config::from_properties(&provisional)?, given })
    }
}

/// Live settings that were taken over.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveFile {
    /// Which ones: more than those before. 0 when whoever writes them does not count.
    pub revision: u64,
    /// The text itself.
    pub text: String,
    /// All settings of the broker, these among them.
    pub config: Config,
}

/// What becomes of a text.
#[derive(Debug, PartialEq)]
pub enum Decision {
    /// It holds from now on.
    New(Box<LiveFile>),
    /// It is what holds already, or older.
    Ignored,
    /// It cannot be used; what holds stays.
    Refused(String),
}

/// Decides what becomes of a text. `own_store` is the id of the store that the broker runs with, if it does.
pub fn decide(basis: &Basis, last: Option<&LiveFile>, own_store: Option<&str>, text: &str) -> Decision {
    if last.is_some_and(|last| last.text == text) {
        return Decision::Ignored;
    }
    match parse(text) {
        Ok(parsed) if last.is_some_and(|last| parsed.revision < last.revision) => Decision::Ignored,
        parsed => match parsed.and_then(|parsed| read(basis, own_store, parsed, text)) {
            Ok(new) => Decision::New(Box::new(new)),
            Err(why) => Decision::Refused(why),
        },
    }
}

struct Parsed {
    revision: u64,
    pairs: Vec<(String, String)>,
}

fn parse(text: &str) -> Result<Parsed, String> {
    let mut pairs = config::parse(text).map_err(|e| format!("{e}; live settings are lines of key=value"))?;
    let mut revision = 0;
    for (_, value) in pairs.extract_if(.., |(key, _)| key == REVISION) {
        revision = value.parse().map_err(|_| {
            format!("{REVISION}={value}: allowed is a whole number that grows with every change")
        })?;
    }
    Ok(Parsed { revision, pairs })
}

fn read(basis: &Basis, own_store: Option<&str>, parsed: Parsed, text: &str) -> Result<LiveFile, String> {
    let Parsed { revision, mut pairs } = parsed;
    if let Some((key, value)) = pairs.iter().find(|(key, _)| is_of_the_start(basis, key)) {
        return Err(format!(
            "{key}={value}: cannot be changed while the broker runs; put it into the file of --config and restart"
        ));
    }
    for (_, value) in &mut pairs {
        if let Some(ip) = basis.config.pod_ip.filter(|_| value.contains(POD_IP)) {
            // A port follows it.
            *value = value.replace(POD_IP, &uri_host(ip));
        }
    }
    let all: Vec<_> = basis.given.iter().cloned().chain(pairs).collect();
    let config = Config::from_properties(&all).map_err(|e| in_words(&e))?;
    match (own_store, &config.live.expected_store_id) {
        (Some(own), Some(expected)) if own != expected => Err(format!(
            "expectedStoreId={expected}: this broker runs with store {own}; restart it to check again"
        )),
        _ => Ok(LiveFile { revision, text: text.to_owned(), config }),
    }
}

fn uri_host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

fn is_of_the_start(basis: &Basis, key: &str) -> bool {
    !LiveSettings::KEYS.contains(&key) && basis.config.to_properties().iter().any(|(known, _)| known == key)
}

/// Names each setting with what is allowed; where it is to be corrected, whoever sent it knows.
fn in_words(errors: &ConfigErrors) -> String {
    let problem = |p: &config::Problem| match &p.value {
        Some(value) => format!("{}={value}: allowed is {}", p.key, p.allowed),
        None => format!("{} is missing: allowed is {}", p.key, p.allowed),
    };
    errors.0.iter().map(problem).collect::<Vec<_>>().join("; ")
}

/// Returns the keys that nobody knows; a newer sender may have them.
pub fn unknown<'f>(basis: &'f Basis, file: &'f LiveFile) -> impl Iterator<Item = &'f UnknownKey> {
    file.config.unknown.iter().filter(|unknown| !basis.config.unknown.contains(unknown))
}

/// Returns the text that was kept, if any was.
///
/// # Errors
/// The disk failed.
pub fn find(store_dir: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path(store_dir)) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Keeps a text beside the messages. Durable on return; after an error it is this one or the one before.
///
/// # Errors
/// The disk failed.
pub fn keep(store_dir: &Path, text: &str) -> io::Result<()> {
    persist::replace(&path(store_dir), text.as_bytes())
}

fn path(store_dir: &Path) -> PathBuf {
    store_dir.join("live.properties")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basis(text: &str) -> Basis {
        Basis::without_live(config::parse(text).unwrap()).unwrap()
    }

    fn taken(basis: &Basis, text: &str) -> LiveFile {
        match decide(basis, None, None, text) {
            Decision::New(file) => *file,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_text_is_new_ignored_or_refused() {
        let basis = basis("brokerId=0\nlistenPort=12000");
        let last = taken(&basis, "slaveTimeout=5\nconfigRevision=7");
        for (text, want) in [
            ("slaveTimeout=5\nconfigRevision=7", "ignored"),
            ("slaveTimeout=9\nconfigRevision=6", "ignored"),
            ("slaveTimeout=9", "ignored"),
            ("slaveTimeout=9\nconfigRevision=8", "new 8 9"),
            ("slaveTimeout=9\nconfigRevision=7", "new 7 9"),
            ("configRevision=8", "new 8 2000"),
            ("configRevision=8\nfromTheFuture=1", "new 8 2000"),
            (
                "slaveTimeout=0\nconfigRevision=8",
                "refused slaveTimeout=0: allowed is 1 to 60000 milliseconds",
            ),
            ("slaveTimeout=0\nconfigRevision=6", "ignored"),
            (
                "slaveTimeout",
                "refused line 1: no `=` between key and value; live settings are lines of key=value",
            ),
            (
                "configRevision=x",
                "refused configRevision=x: allowed is a whole number that grows with every change",
            ),
            (
                "configRevision=8\nlistenPort=13000",
                "refused listenPort=13000: cannot be changed while the broker runs; put it into the file of --config and restart",
            ),
            (
                "configRevision=8\nbrokerRole=SLAVE",
                "refused brokerId=0: allowed is 1 or more with brokerRole=SLAVE; 0 is the master's",
            ),
            (
                "configRevision=8\nexpectedStoreId=b",
                "refused expectedStoreId=b: this broker runs with store a; restart it to check again",
            ),
            ("configRevision=8\nexpectedStoreId=a", "new 8 2000"),
            (
                "configRevision=8\nlisteners=internal={podIP}:10911",
                "refused listeners=internal={podIP}:10911: allowed is name=host:port, at most 8",
            ),
        ] {
            let got = match decide(&basis, Some(&last), Some("a"), text) {
                Decision::Ignored => "ignored".to_owned(),
                Decision::Refused(why) => format!("refused {why}"),
                Decision::New(file) => {
                    format!("new {} {}", file.revision, file.config.live.slave_timeout.as_millis())
                }
            };
            assert!(got.starts_with(want), "{text}: {got}");
        }
    }

    #[test]
    fn the_pods_own_address_is_filled_in() {
        let file = taken(&basis("podIP=10.1.2.3"), "listeners=internal={podIP}:10911,external=mq:1");
        assert_eq!(file.config.live.listeners.to_string(), "external=mq:1,internal=10.1.2.3:10911");
        let file = taken(&basis("podIP=fd00::5"), "listeners=internal={podIP}:10911");
        assert_eq!(file.config.live.listeners.to_string(), "internal=[fd00::5]:10911");
    }

    #[test]
    fn what_a_text_does_not_name_is_as_at_the_start() {
        let basis = basis("slaveTimeout=3\ninSyncReplicas=2");
        let file = taken(&basis, "slaveTimeout=5");
        let live = file.config.live;
        assert_eq!((live.slave_timeout.as_millis(), live.in_sync_replicas), (5, 2));
    }

    #[test]
    fn a_member_with_an_id_of_a_slave_is_one_until_it_is_told() {
        let basis = basis("brokerId=2\nhaMasterAddress=m:1");
        assert!(basis.config.live.is_slave());
        assert!(taken(&basis, "brokerRole=SLAVE").config.live.is_slave());
        let Decision::Refused(why) = decide(&basis, None, None, "brokerRole=ASYNC_MASTER") else { panic!() };
        assert_eq!(why, "brokerId=2: allowed is 0 unless brokerRole=SLAVE");
    }

    #[test]
    fn keys_of_a_newer_sender_are_told() {
        let basis = basis("old=1");
        let file = taken(&basis, "slaveTimeou=5");
        let told: Vec<String> = unknown(&basis, &file).map(ToString::to_string).collect();
        assert_eq!(told, ["unknown setting slaveTimeou, did you mean slaveTimeout?"]);
    }

    #[test]
    fn what_was_kept_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(find(dir.path()).unwrap(), None);
        keep(dir.path(), "configRevision=1\n").unwrap();
        keep(dir.path(), "configRevision=2\n").unwrap();
        assert_eq!(find(dir.path()).unwrap().as_deref(), Some("configRevision=2\n"));
    }
}
