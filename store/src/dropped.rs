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
            Some(text) => serde_json::from_slice(&text)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", path.display())))?,
        };
        Ok(Dropped { path, topics: RwLock::new(topics) })
    }

    /// Says whether the record at an offset belongs to a deleted topic.
    pub fn covers(&self, topic: &str, physical: u64) -> bool {
        let topics = self.topics.read();
        !topics.is_empty() && topics.get(topic).is_some_and(|end| physical < *end)
    }

    /// Notes that a topic is deleted up to `end`; forgets what the log no longer holds. Durable on return.
    pub fn drop_topic(&self, disk: &dyn Disk, topic: &str, end: u64, log_begin: u64) -> io::Result<()> {
        let mut next = self.topics.read().clone();
        next.retain(|_, end| *end > log_begin);
        next.insert(topic.to_owned(), end);
        disk::replace(disk, &self.path, serde_json::to_string(&next)?.as_bytes())?;
        *self.topics.write() = next;
        Ok(())
    }
}
