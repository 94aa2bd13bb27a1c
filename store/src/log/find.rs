//! Finding records by key.

use std::ops::RangeInclusive;

use protocol::message::{self, Record};

use super::read::ReadError;
use crate::index::keys::{self, Keys};
use crate::store::Store;

impl Store {
    /// Finds records of a topic by key, newest first, among those stored in a range of time. May wait for the
    /// device.
    pub fn find_by_key(
        &self,
        topic: &str,
        key: &str,
        times: RangeInclusive<i64>,
        max: usize,
    ) -> Result<Vec<Vec<u8>>, ReadError> {
        let hash = keys::hash(topic, key);
        let all: Vec<(u64, Keys)> = self.keys.read().iter().rev().map(|(b, k)| (*b, k.clone())).collect();
        let mut found = Vec::new();
        for (base, keys) in all {
            let mut positions = keys.find(hash).map_err(|source| ReadError::Io { at: base, source })?;
            positions.sort_unstable();
            positions.dedup();
            for relative in positions.iter().rev() {
                if found.len() >= max {
                    return Ok(found);
                }
                let physical = base + *relative as u64;
                if self.dropped.covers(topic, physical) {
                    continue;
                }
                let record = match self.read_record(physical) {
                    Ok(record) => record,
                    Err(ReadError::Outside { .. }) => continue,
                    Err(e) => return Err(e),
                };
                if let message::Decoded::Record(r) = message::decode(&record, record.len())
                    && r.topic == topic
                    && times.contains(&r.store_timestamp)
                    && has_key(&r, key)
                {
                    found.push(record);
                }
            }
        }
        Ok(found)
    }

    /// Returns the newest record that is in a queue: its physical offset and its bytes; `None` when no queue holds
    /// any. May wait for the device.
    pub fn last_record(&self) -> Result<Option<(u64, Vec<u8>)>, ReadError> {
        let mut newest = None;
        for queue in self.queues.sorted() {
            let last = queue.last_entry(true);
            let last = last.map_err(|source| ReadError::Io { at: self.written(), source })?;
            newest = newest.max(last.map(|e| e.physical));
        }
        newest.map(|at| self.read_record(at).map(|record| (at, record))).transpose()
    }
}

fn has_key(record: &Record<'_>, key: &str) -> bool {
    let reserved = protocol::properties::reserved(record.properties);
    keys::of_record(reserved.uniq_key, reserved.keys).any(|k| k == key)
}
