//! The name server's only durable state: text by namespace and key, one small JSON file. Changed by copy, edit,
//! persist, swap; what readers see is always what the file holds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fs, io};

use parking_lot::{Mutex, RwLock};
use protocol::bodies::kv_table::KvTable;
use protocol::json::{JsonBody, JsonError};
use serde::{Deserialize, Serialize};

use crate::persist::{self, ReplaceError};

/// The namespace whose entries are `topic` -> `brokerName:queueNum;...`, handed to brokers and, on demand, to clients.
pub const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

/// The largest file that is written. It is rewritten in full at every change, so it should stay small.
pub const MAX_FILE: usize = 8 * 1024 * 1024;

/// Why the file cannot be used; the process should not start, or it would overwrite what somebody put there.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Unreadable.
    #[error("read kvConfigPath {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Not this file's format.
    #[error("read kvConfigPath {}: {source}; repair the file or move it away", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: JsonError,
    },
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// All entries together would be too large.
    #[error("kv config would take {0} bytes, allowed is {MAX_FILE}; delete entries that are not needed")]
    TooLarge(usize),
    /// The disk refused.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
}

/// The file: `{"configTable":{namespace:{key:value}}}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Tables {
    config_table: BTreeMap<String, BTreeMap<String, String>>,
}

impl JsonBody for Tables {}

/// The table and its file.
#[derive(Debug)]
pub struct KvConfig {
    path: PathBuf,
    tables: RwLock<Arc<Tables>>,
    /// Held from copy to swap, so that changes follow one another.
    changing: Mutex<()>,
}

impl KvConfig {
    /// Reads the table; a missing file is an empty one.
    ///
    /// # Errors
    /// [`LoadError`]; the process should not start.
    pub fn load(path: PathBuf) -> Result<Self, LoadError> {
        let tables = match fs::read(&path) {
            Ok(text) => {
                Tables::decode(&text).map_err(|source| LoadError::Format { path: path.clone(), source })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Tables::default(),
            Err(source) => return Err(LoadError::Read { path, source }),
        };
        Ok(Self { path, tables: RwLock::new(Arc::new(tables)), changing: Mutex::new(()) })
    }

    /// Returns one entry.
    #[must_use]
    pub fn get(&self, namespace: &str, key: &str) -> Option<String> {
        self.tables.read().config_table.get(namespace)?.get(key).cloned()
    }

    /// Returns all entries of a namespace, `None` if there never was one.
    #[must_use]
    pub fn namespace(&self, namespace: &str) -> Option<KvTable> {
        let table = self.tables.read().config_table.get(namespace)?.clone();
        Some(KvTable { table })
    }

    /// Sets an entry. Durable on return. Blocks on the disk.
    ///
    /// # Errors
    /// [`ChangeError`]; the table is as before.
    pub fn put(&self, namespace: &str, key: &str, value: &str) -> Result<(), ChangeError> {
        self.change(|tables| {
            let table = tables.config_table.entry(namespace.to_owned()).or_default();
            table.insert(key.to_owned(), value.to_owned());
        })
    }

    /// Removes an entry, if it is there. Durable on return. Blocks on the disk.
    ///
    /// # Errors
    /// [`ChangeError`]; the table is as before.
    pub fn delete(&self, namespace: &str, key: &str) -> Result<(), ChangeError> {
        self.change(|tables| {
            // The namespace stays, empty: asked for as a whole it is found, as in the reference implementation.
            if let Some(table) = tables.config_table.get_mut(namespace) {
                table.remove(key);
            }
        })
    }

    fn change(&self, edit: impl FnOnce(&mut Tables)) -> Result<(), ChangeError> {
        persist::blocking(|| {
            let _changing = self.changing.lock();
            let before = self.tables.read().clone();
            let mut tables = Tables::clone(&before);
            edit(&mut tables);
            if tables == *before {
                return Ok(());
            }
            let text = tables.encode();
            if text.len() > MAX_FILE {
                return Err(ChangeError::TooLarge(text.len()));
            }
            persist::replace(&self.path, &text)?;
            *self.tables.write() = Arc::new(tables);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, &str)]) -> Option<KvTable> {
        let table = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Some(KvTable { table })
    }

    #[test]
    fn entries_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("namesrv/kvConfig.json");
        let kv = KvConfig::load(path.clone()).unwrap();
        kv.put(ORDER_TOPIC_CONFIG, "T1", "a:4;b:4").unwrap();
        kv.put("other", "k", "é").unwrap();
        kv.put("other", "gone", "x").unwrap();
        kv.delete("other", "gone").unwrap();

        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, r#"{"configTable":{"ORDER_TOPIC_CONFIG":{"T1":"a:4;b:4"},"other":{"k":"é"}}}"#);
        let kv = KvConfig::load(path).unwrap();
        assert_eq!(kv.get(ORDER_TOPIC_CONFIG, "T1").as_deref(), Some("a:4;b:4"));
        assert_eq!(kv.namespace("other"), table(&[("k", "é")]));
    }

    #[test]
    fn unknown_entries_are_none_and_an_emptied_namespace_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let kv = KvConfig::load(folder.path().join("kv.json")).unwrap();
        assert_eq!((kv.get("n", "k"), kv.namespace("n")), (None, None));
        kv.put("n", "k", "v").unwrap();
        kv.delete("n", "k").unwrap();
        kv.delete("m", "k").unwrap();
        assert_eq!((kv.get("n", "k"), kv.namespace("n"), kv.namespace("m")), (None, table(&[]), None));
    }

    #[test]
    fn a_change_the_disk_refuses_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kv.json");
        let kv = KvConfig::load(path.clone()).unwrap();
        kv.put("n", "k", "old").unwrap();
        fs::create_dir(folder.path().join("kv.json.tmp")).unwrap();
        assert!(matches!(kv.put("n", "k", "new"), Err(ChangeError::Replace(_))));
        assert!(matches!(kv.delete("n", "k"), Err(ChangeError::Replace(_))));
        assert_eq!(kv.get("n", "k").as_deref(), Some("old"));
        assert_eq!(KvConfig::load(path).unwrap().get("n", "k").as_deref(), Some("old"));
    }

    #[test]
    fn the_file_has_a_largest_size() {
        let folder = tempfile::tempdir().unwrap();
        let kv = KvConfig::load(folder.path().join("kv.json")).unwrap();
        assert!(matches!(kv.put("n", "k", &"v".repeat(MAX_FILE)), Err(ChangeError::TooLarge(_))));
        assert_eq!(kv.get("n", "k"), None);
    }

    #[test]
    fn a_file_that_is_something_else_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kv.json");
        fs::write(&path, "no json").unwrap();
        let error = KvConfig::load(path.clone()).unwrap_err().to_string();
        assert!(error.contains(&format!("{}", path.display())) && error.contains("move it away"), "{error}");
    }
}
