//! Deleted topics: records below a physical offset belong to nobody, though the log still holds them. Without this,
//! a scan would bring an old topic's messages back into a new one of the same name. `dropped.json`, replaced as a
//! whole: `{"topic": offset}`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::RwLock;

use crate::disk::{self, Disk};

pub(crate) struct Dropped {
    path: PathBuf,
    topics: RwLock<BTreeMap<String, u64>>,
}

impl Dropped {
    pub fn load(disk: &dyn Disk, dir: &Path) -> io::Result<Dropped> {
        let path = dir.join("dropped.json");
        let topics = match disk::read_all(disk, &path)? {
            None => BTreeMap::new(),
            Some(text) => serde_json::from_slice(&text).map_err(|e| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", path.display()))
            })?,
        };
        Ok(Dropped { path, topics: RwLock::new(topics) })
    }

    /// Says whether the record at an offset belongs to a deleted topic.
    pub fn covers(&self, topic: &str, physical: u64) -> bool {
        let topics = self.topics.read();
        !topics.is_empty() && topics.get(topic).is_some_and(|end| physical < *end)
    }

    /// Returns up to where a topic is deleted.
    pub fn end_of(&self, topic: &str) -> Option<u64> {
        self.topics.read().get(topic).copied()
    }

    /// Returns all deleted topics and up to where they are.
    pub fn all(&self) -> BTreeMap<String, u64> {
        self.topics.read().clone()
    }

    /// Notes that a topic is deleted up to `end`; forgets what the log no longer holds. Durable once the folder is
    /// synced.
    pub fn drop_topic(&self, disk: &dyn Disk, topic: &str, end: u64, log_begin: u64) -> io::Result<()> {
        let mut next = self.topics.read().clone();
        // What ends where the log begins is still in the newest index file of a removed segment.
        next.retain(|_, end| *end >= log_begin);
        next.insert(topic.to_owned(), end);
        self.put(disk, next)
    }

    /// The log ends here: what comes next is not covered, wherever a deletion stood that power loss has outlived.
    pub fn end_at(&self, disk: &dyn Disk, log_end: u64) -> io::Result<()> {
        let mut next = self.topics.read().clone();
        if next.values().all(|end| *end <= log_end) {
            return Ok(());
        }
        next.values_mut().for_each(|end| *end = log_end.min(*end));
        self.put(disk, next)?;
        self.sync(disk)
    }

    /// Forgets what was deleted of a log that is given up. What lies beyond its end is of the log to come.
    pub fn forget_up_to(&self, disk: &dyn Disk, log_end: u64) -> io::Result<()> {
        let mut next = self.topics.read().clone();
        let before = next.len();
        next.retain(|_, end| *end > log_end);
        if next.len() == before {
            return Ok(());
        }
        self.put(disk, next)?;
        self.sync(disk)
    }

    fn sync(&self, disk: &dyn Disk) -> io::Result<()> {
        disk.sync_dir(self.path.parent().unwrap_or(Path::new(".")))
    }

    fn put(&self, disk: &dyn Disk, next: BTreeMap<String, u64>) -> io::Result<()> {
        disk::put_in_place(disk, &self.path, serde_json::to_string(&next)?.as_bytes())?;
        *self.topics.write() = next;
        Ok(())
    }
}
