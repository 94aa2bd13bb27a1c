//! A master's side: puts changes into its log, in the order in which they are made, once a Gantry slave has joined since
//! the start. Nobody else would read them, and what was changed before is in the tables that a joining slave asks for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use protocol::message::NewRecord;
use protocol::names::METADATA_TOPIC;
use store::{AppendError, Batch, Store};

use super::{Change, encode};
use crate::broker::now_ms;
use crate::offsets::Offsets;

/// Writes changes into the log.
pub struct MetadataLog {
    store: Arc<Store>,
    host: SocketAddr,
    /// Changes only under the lock.
    on: AtomicBool,
    /// What the last change was and could not be written; nothing else is changed before it is. One lock for all
    /// tables: a change is made, durable and in the log before the next one begins.
    owed: Mutex<Vec<Change>>,
}

impl MetadataLog {
    /// Makes one that is off; `host` is the broker's address, part of every record.
    pub fn new(store: Arc<Store>, host: SocketAddr) -> MetadataLog {
        MetadataLog { store, host, on: AtomicBool::new(false), owed: Mutex::default() }
    }

    /// Switches it on until the process ends; every change from here on is in the log or was made before the return.
    /// Says whether it was off.
    pub fn switch_on(&self, offsets: &Offsets) -> bool {
        let _one = self.owed.lock();
        offsets.note_changes();
        !self.on.swap(true, Ordering::SeqCst)
    }

    /// Says whether it is on.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::SeqCst)
    }

    /// Makes changes, which `make` names as it goes, and puts them into the log. May wait for the disk.
    ///
    /// # Errors
    /// Those of `make`, and those of the log; then the changes may have been made here, and slaves hear of them later.
    /// Nothing is made when the log takes nothing.
    pub fn change<T>(&self, make: impl FnOnce(&mut Vec<Change>) -> io::Result<T>) -> io::Result<T> {
        let mut owed = self.owed.lock();
        let on = self.is_on();
        if on {
            self.settle(&mut owed)?;
        }
        let mut changes = Vec::new();
        let made = make(&mut changes);
        if !on || changes.is_empty() {
            return made;
        }
        *owed = changes;
        let told = self.settle(&mut owed);
        made.and_then(|made| told.map(|()| made))
    }

    /// Puts the offsets that have changed since the last time into the log. What it does not take is tried again next
    /// time.
    pub fn tell_offsets(&self, offsets: &Offsets) -> io::Result<()> {
        let mut owed = self.owed.lock();
        if !self.is_on() {
            return Ok(());
        }
        self.settle(&mut owed)?;
        let changed = offsets.take_changed();
        let changes =
            changed.iter().map(|(key, queues)| Change::Offsets { key: key.clone(), queues: queues.clone() });
        self.append(changes.collect())
            .inspect_err(|_| offsets.give_back_changed(changed.into_iter().map(|(key, _)| key)))
    }

    /// Writes what is owed.
    fn settle(&self, owed: &mut Vec<Change>) -> io::Result<()> {
        if self.store.is_full() {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "disk full: slaves cannot be told of changes",
            ));
        }
        if owed.is_empty() {
            return Ok(());
        }
        self.append(owed.clone())?;
        owed.clear();
        Ok(())
    }

    fn append(&self, changes: Vec<Change>) -> io::Result<()> {
        let mut batch = Batch::default();
        for body in encode(changes)? {
            let queue = self.store.queue_or_create(METADATA_TOPIC, 0);
            let queue = queue.ok_or_else(|| io::Error::other("no queue for changes"))?;
            let record = NewRecord {
                topic: METADATA_TOPIC,
                queue_id: 0,
                flag: 0,
                sys_flag: 0,
                born_timestamp: now_ms(),
                born_host: self.host,
                store_host: self.host,
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body: &body,
                properties: "",
                more_properties: "",
            };
            batch.push(queue, &record, 0, std::iter::empty());
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.store.append(&mut batch, now_ms()).map(|_| ()).map_err(|e| match e {
            AppendError::Full(_) => io::Error::new(io::ErrorKind::StorageFull, e.to_string()),
            e => io::Error::other(e.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Decoded, decode};
    use super::*;
    use protocol::message;
    use store::StoreConfig;
    use store::disk::faulty::{Fault, FaultyDisk};
    use store::disk::memory::MemoryDisk;

    fn log() -> (FaultyDisk, MetadataLog) {
        let disk = FaultyDisk::new(Arc::new(MemoryDisk::new(1 << 30)));
        let config = StoreConfig { segment_bytes: 1 << 20, ..StoreConfig::new("/store") };
        let store = Store::open(config, Arc::new(disk.clone())).unwrap();
        (disk, MetadataLog::new(store, "127.0.0.1:1".parse().unwrap()))
    }

    fn told(log: &MetadataLog) -> Vec<Change> {
        let Some(queue) = log.store.queue(METADATA_TOPIC, 0) else { return Vec::new() };
        let mut entries = Vec::new();
        while queue.next() > entries.len() as u64 {
            queue.entries(entries.len() as u64, 100, true, &mut entries).unwrap();
        }
        let changes = |entry: &store::Entry| {
            let bytes = log.store.read_record(entry.physical).unwrap();
            let message::Decoded::Record(record) = message::decode(&bytes, bytes.len()) else { panic!() };
            let Decoded { changes, unknown: None } = decode(record.body) else { panic!() };
            changes
        };
        entries.iter().flat_map(changes).collect()
    }

    fn deletion(end: u64) -> Change {
        Change::DeleteTopic { topic: "T".to_owned(), end }
    }

    fn offset(key: &str, offset: i64) -> Change {
        Change::Offsets { key: key.to_owned(), queues: Some([(0, offset)].into()) }
    }

    #[test]
    fn nothing_is_written_before_a_slave_has_come_nor_when_nothing_changes() {
        let (_, log) = log();
        let dir = tempfile::tempdir().unwrap();
        let offsets = Offsets::load(dir.path(), 1).unwrap();
        let make = |n: u64| {
            move |changes: &mut Vec<Change>| {
                changes.push(deletion(n));
                Ok(n)
            }
        };
        assert_eq!(log.change(make(1)).unwrap(), 1);
        offsets.set("G", "T", 0, 5);
        log.tell_offsets(&offsets).unwrap();
        assert_eq!(told(&log), []);
        assert!(log.switch_on(&offsets) && !log.switch_on(&offsets));
        log.change(make(2)).unwrap();
        log.change(|_| Ok(())).unwrap();
        log.tell_offsets(&offsets).unwrap();
        offsets.set("G", "U", 0, 6);
        log.tell_offsets(&offsets).unwrap();
        log.tell_offsets(&offsets).unwrap();
        assert_eq!(told(&log), [deletion(2), offset("U@G", 6)]);
        let failed = log.change(|changes| {
            changes.push(deletion(3));
            io::Result::<()>::Err(io::ErrorKind::NotFound.into())
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(told(&log).last(), Some(&deletion(3)), "half a change is told too");
    }

    #[test]
    fn changes_are_told_in_the_order_in_which_they_are_made() {
        let (_, log) = log();
        let dir = tempfile::tempdir().unwrap();
        log.switch_on(&Offsets::load(dir.path(), 1).unwrap());
        let next = std::sync::atomic::AtomicU64::new(0);
        let make = |changes: &mut Vec<Change>| {
            changes.push(deletion(next.fetch_add(1, Ordering::SeqCst)));
            Ok(())
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|_| log.change(make).unwrap()));
            }
        });
        assert_eq!(told(&log), (0..2000).map(deletion).collect::<Vec<_>>());
    }

    #[test]
    fn on_a_full_disk_nothing_is_changed_and_what_was_is_told_first_later() {
        let (disk, log) = log();
        let dir = tempfile::tempdir().unwrap();
        let offsets = Offsets::load(dir.path(), 1).unwrap();
        log.switch_on(&offsets);
        disk.begin(Fault::NoSpace);
        let e = log
            .change(|changes| {
                changes.push(deletion(1));
                Ok(())
            })
            .unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::StorageFull, "{e}");
        let e = log
            .change::<()>(|_| panic!("nothing is changed while slaves wait for the last change"))
            .unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::StorageFull, "{e}");
        offsets.set("G", "T", 0, 5);
        assert!(log.tell_offsets(&offsets).is_err());
        disk.heal();
        log.change(|changes| {
            changes.push(deletion(2));
            Ok(())
        })
        .unwrap();
        log.tell_offsets(&offsets).unwrap();
        assert_eq!(told(&log), [deletion(1), deletion(2), offset("T@G", 5)]);
    }
}
