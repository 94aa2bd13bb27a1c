//! The subscription groups of this broker: what a consumer group may do and how it is retried.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use protocol::bodies::data_version::DataVersion;
use protocol::bodies::subscription_group::SubscriptionGroupConfig;
use protocol::names;

use crate::persist::{Journal, LoadError};

/// All groups.
pub struct Groups {
    table: RwLock<HashMap<String, Arc<SubscriptionGroupConfig>>>,
    version: Mutex<DataVersion>,
    journal: Mutex<Journal>,
}

impl Groups {
    /// Reads the table from a folder; the groups every broker knows are added.
    pub fn load(folder: &Path, now_ms: i64) -> Result<Groups, LoadError> {
        let (journal, stored) = Journal::open::<SubscriptionGroupConfig>(&folder.join("groups.jsonl"))?;
        let mut table: HashMap<_, _> = stored.into_iter().map(|(k, v)| (k, Arc::new(v))).collect();
        for name in names::SYSTEM_GROUPS {
            table.entry(name.to_owned()).or_insert_with(|| Arc::new(new_group(name)));
        }
        let version = DataVersion { counter: 0, state_version: 0, timestamp: now_ms };
        Ok(Groups { table: RwLock::new(table), version: Mutex::new(version), journal: Mutex::new(journal) })
    }

    /// Returns a group.
    pub fn get(&self, group: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        self.table.read().get(group).cloned()
    }

    /// Makes or changes a group. Durable on return. Says whether anything is different now.
    pub fn put(&self, group: SubscriptionGroupConfig, now_ms: i64) -> io::Result<bool> {
        let mut journal = self.journal.lock();
        if self.get(&group.group_name).is_some_and(|old| *old == group) {
            return Ok(false);
        }
        self.insert(&mut journal, group, now_ms).map(|_| true)
    }

    /// Makes or changes several groups with one write. Durable on return; none is changed on an error.
    pub fn put_all(&self, groups: Vec<SubscriptionGroupConfig>, now_ms: i64) -> io::Result<()> {
        if groups.is_empty() {
            return Ok(());
        }
        let mut journal = self.journal.lock();
        journal.append(groups.iter().map(|group| (group.group_name.as_str(), Some(group))))?;
        let named = groups.into_iter().map(|group| (group.group_name.clone(), Arc::new(group)));
        self.table.write().extend(named);
        self.changed(&mut journal, now_ms);
        Ok(())
    }

    fn insert(
        &self,
        journal: &mut Journal,
        group: SubscriptionGroupConfig,
        now_ms: i64,
    ) -> io::Result<Arc<SubscriptionGroupConfig>> {
        journal.append([(group.group_name.as_str(), Some(&group))].into_iter())?;
        let group = Arc::new(group);
        self.table.write().insert(group.group_name.clone(), group.clone());
        self.changed(journal, now_ms);
        Ok(group)
    }

    /// Makes a group with the defaults unless it exists; returns the one that exists then, and whether it was made.
    pub fn get_or_create(
        &self,
        group: &str,
        now_ms: i64,
    ) -> io::Result<(Arc<SubscriptionGroupConfig>, bool)> {
        let mut journal = self.journal.lock();
        match self.get(group) {
            Some(existing) => Ok((existing, false)),
            None => self.insert(&mut journal, new_group(group), now_ms).map(|made| (made, true)),
        }
    }

    /// Removes a group. Durable on return.
    pub fn remove(&self, group: &str, now_ms: i64) -> io::Result<bool> {
        let mut journal = self.journal.lock();
        if self.get(group).is_none() {
            return Ok(false);
        }
        journal.append::<SubscriptionGroupConfig>([(group, None)].into_iter())?;
        self.table.write().remove(group);
        self.changed(&mut journal, now_ms);
        Ok(true)
    }

    /// Takes over the version of the master whose groups these are.
    pub fn set_version(&self, version: DataVersion) {
        *self.version.lock() = version;
    }

    fn changed(&self, journal: &mut Journal, now_ms: i64) {
        let mut version = self.version.lock();
        *version = version.next(0, now_ms);
        drop(version);
        if journal.is_stale(self.len())
            && let Err(e) = journal.rewrite(&self.all().0)
        {
            tracing::warn!("rewrite of the group table: {e}");
        }
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.table.read().len()
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns all groups and the version they have.
    pub fn all(&self) -> (BTreeMap<String, SubscriptionGroupConfig>, DataVersion) {
        let version = *self.version.lock();
        (self.table.read().iter().map(|(k, v)| (k.clone(), (**v).clone())).collect(), version)
    }
}

/// A group with the defaults of P§3.5.
pub fn new_group(name: &str) -> SubscriptionGroupConfig {
    SubscriptionGroupConfig { group_name: name.to_owned(), ..SubscriptionGroupConfig::default() }
}

/// Says what is wrong with the name of a group.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.trim().is_empty() {
        return Err("the specified group is blank".to_owned());
    }
    if let Some(c) = names::illegal_character(name) {
        return Err(format!(
            "the specified group[{name}] contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$ (found {c:?})"
        ));
    }
    if name.len() > names::MAX_GROUP {
        return Err(format!("the specified group is longer than group max length {}", names::MAX_GROUP));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let groups = Groups::load(dir.path(), 1).unwrap();
        groups.put(SubscriptionGroupConfig { retry_max_times: 3, ..new_group("G") }, 2).unwrap();
        groups.get_or_create("H", 3).unwrap();
        assert!(groups.remove("H", 4).unwrap());
        groups.put_all(vec![new_group("I"), new_group("J")], 5).unwrap();
        drop(groups);
        let groups = Groups::load(dir.path(), 5).unwrap();
        assert_eq!(groups.get("G").unwrap().retry_max_times, 3);
        assert!(groups.get("H").is_none() && groups.get("J").is_some());
        assert!(groups.get("TOOLS_CONSUMER").is_some());
    }
}
