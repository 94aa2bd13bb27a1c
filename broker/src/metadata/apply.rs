//! A slave's side: takes over what its master put into the log. How far it has come is noted as a consumer offset, so
//! that a restart goes on there; to take something over twice does no harm.

use std::io;
use std::sync::Arc;

use protocol::message;
use protocol::names::{METADATA_GROUP, METADATA_TOPIC};
use store::{Entry, Queue};
use tracing::warn;

use super::{Change, decode};
use crate::broker::{Broker, now_ms};
use crate::offsets;
use crate::slave::SlaveLink;

/// Records looked up at once.
const BLOCK: usize = 64;

/// Brings the tables up to the log after a restart. A slave goes on where it was, and starts on a full disk too, or
/// nobody would ever make space there: what cannot be written now is taken over before it follows its master again. A
/// master that was a slave before does that once, and from then on its own tables count.
///
/// # Errors
/// The disk failed; a master must not start with tables behind its log.
pub fn recover(broker: &Broker) -> io::Result<()> {
    let mark = broker.offsets.get(METADATA_GROUP, METADATA_TOPIC, 0);
    match (&broker.slave, mark) {
        (None, None) => return Ok(()),
        // What is in the log so far is this broker's own doing, or nothing.
        (Some(_), None) => note(broker, bounds(broker).1),
        (Some(link), Some(_)) => {
            if let Err(e) = take_over(broker, Some(link)).and_then(|()| broker.persist_offsets()) {
                warn!("changes of the tables are not taken over yet, trying on: {e}");
            }
            return Ok(());
        }
        (None, Some(_)) => {
            take_over(broker, None)?;
            broker.offsets.remove_key(&offsets::key(METADATA_TOPIC, METADATA_GROUP));
        }
    }
    broker.persist_offsets()
}

/// Takes over all records that have not been.
///
/// # Errors
/// The disk failed; what was taken over stays so, and the rest is tried again next time.
pub fn take_over_rest(broker: &Broker, link: &SlaveLink) -> io::Result<()> {
    take_over(broker, Some(link))
}

fn take_over(broker: &Broker, link: Option<&SlaveLink>) -> io::Result<()> {
    let Some(queue) = broker.store.queue(METADATA_TOPIC, 0) else {
        note(broker, 0);
        return Ok(());
    };
    let (min, max) = queue.bounds();
    let mark = broker.offsets.get(METADATA_GROUP, METADATA_TOPIC, 0).unwrap_or(0);
    // Behind the end after a power cut that took the log's last bytes: they come again.
    let mut next = (mark.max(0) as u64).clamp(min, max);
    let mut entries = Vec::with_capacity(BLOCK);
    while next < max {
        entries.clear();
        queue.entries(next, BLOCK, true, &mut entries)?;
        for entry in &entries {
            take_over_record(broker, link, entry)?;
            next = entry.queue_offset + 1;
            note(broker, next);
        }
        if entries.is_empty() {
            return gone(&queue, next);
        }
    }
    note(broker, next);
    Ok(())
}

/// Retention took what was to come next: the tables, which are asked for now and then, have it.
fn gone(queue: &Queue, next: u64) -> io::Result<()> {
    match queue.bounds().0 > next || queue.is_removed() {
        true => Ok(()),
        false => Err(io::Error::other(format!("no record at {next} of {METADATA_TOPIC}"))),
    }
}

fn bounds(broker: &Broker) -> (u64, u64) {
    broker.store.queue(METADATA_TOPIC, 0).map_or((0, 0), |queue| queue.bounds())
}

fn note(broker: &Broker, next: u64) {
    broker.offsets.set(METADATA_GROUP, METADATA_TOPIC, 0, next as i64);
}

fn take_over_record(broker: &Broker, link: Option<&SlaveLink>, entry: &Entry) -> io::Result<()> {
    if link.is_some_and(|link| link.applied.is_in_tables(entry.physical)) {
        return Ok(());
    }
    let bytes = match broker.store.read_record(entry.physical) {
        Ok(bytes) => bytes,
        Err(e) => {
            warn!("a change of the tables cannot be read; the tables are asked for now and then: {e}");
            return Ok(());
        }
    };
    let message::Decoded::Record(record) = message::decode(&bytes, bytes.len()) else { return Ok(()) };
    let decoded = decode(record.body);
    if let (Some(unknown), Some(link)) = (decoded.unknown, link)
        && link.applied.is_first_unknown()
    {
        warn!("the master tells of changes that this version does not know, a newer one would: {unknown}");
    }
    for change in decoded.changes {
        if let Some(link) = link {
            link.applied.count(&change);
        }
        apply(broker, change)?;
    }
    Ok(())
}

fn apply(broker: &Broker, change: Change) -> io::Result<()> {
    match change {
        Change::PutTopic(topic) if broker.topics.system_names().contains(&topic.topic_name) => {}
        Change::PutTopic(topic) => {
            broker.topics.put(topic, now_ms())?;
            broker.changed.notify_one();
        }
        Change::DeleteTopic { topic, end } => drop_topic(broker, &topic, Some(end))?,
        Change::PutGroup(group) => _ = broker.groups.put(group, now_ms())?,
        Change::DeleteGroup { group, clean_offset } => {
            broker.groups.remove(&group, now_ms())?;
            if clean_offset {
                forget_taken(broker, |_, g| g == group)?;
                broker.offsets.remove_group(&group);
            }
        }
        Change::Offsets { key, queues: Some(queues) } => put_offsets(broker, &key, &queues),
        Change::Offsets { key, queues: None } => remove_offsets(broker, &key),
    }
    Ok(())
}

/// Removes a topic as its master did. Its messages before `end` go, or, when the master does not say where they end,
/// all that are here.
pub fn drop_topic(broker: &Broker, topic: &str, end: Option<u64>) -> io::Result<()> {
    let queues = broker.queues_of(topic);
    let drop_all = || match end {
        Some(end) => drop_messages(broker, topic, end),
        None if queues.is_empty() => Ok(()),
        None => broker.store.delete_topic(topic),
    };
    if broker.topics.get(topic).is_some() {
        broker.topics.remove(topic, now_ms(), drop_all)?;
    } else {
        drop_all()?;
    }
    wake_removed(broker, &queues);
    broker.offsets.remove_topic(topic);
    broker.changed.notify_one();
    Ok(())
}

/// Gives up the messages of a deleted topic that are before `end`, whatever has become of its name since.
pub fn drop_messages(broker: &Broker, topic: &str, end: u64) -> io::Result<()> {
    let queues = broker.queues_of(topic);
    if broker.store.drop_topic_at(topic, end)? {
        wake_removed(broker, &queues);
        forget_taken(broker, |t, _| t == topic)?;
        broker.offsets.remove_topic(topic);
    }
    Ok(())
}

fn wake_removed(broker: &Broker, queues: &[Arc<Queue>]) {
    queues.iter().filter(|queue| queue.is_removed()).for_each(|queue| broker.waiting.wake_all(queue));
}

/// Takes over a master's offsets, without those that a client has moved further here.
pub fn put_offsets(broker: &Broker, key: &str, queues: &offsets::Queues) {
    match &broker.slave {
        Some(link) => link.taken.take_over(key, queues, |newer| broker.offsets.put(key, newer)),
        None => broker.offsets.put(key, queues.clone()),
    }
}

/// Forgets offsets as the master did, unless a client has committed here since.
pub fn remove_offsets(broker: &Broker, key: &str) {
    match &broker.slave {
        Some(link) => link.taken.take_over_none(key, || broker.offsets.remove_key(key)),
        None => broker.offsets.remove_key(key),
    }
}

/// Forgets offsets that the master was to get from here: a topic or group made anew of that name begins anew.
fn forget_taken(broker: &Broker, is_gone: impl Fn(&str, &str) -> bool) -> io::Result<()> {
    broker.slave.as_ref().map_or(Ok(()), |link| link.taken.remove(is_gone))
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::disk::memory::MemoryDisk;

    use crate::test_slave;

    #[test]
    fn a_slave_starts_though_its_disk_does_not_take_what_its_log_tells() {
        let dir = tempfile::tempdir().unwrap();
        let disk = MemoryDisk::new(1 << 30);
        let broker = test_slave::open(dir.path(), &disk);
        recover(&broker).unwrap();
        broker.metadata.switch_on(&broker.offsets);
        let tell = |changes: &mut Vec<Change>| {
            changes.push(Change::PutGroup(crate::groups::new_group("G")));
            Ok(())
        };
        broker.metadata.change(tell).unwrap();
        broker.store.close();
        drop(broker);
        // A file that is empty and whose writes fail when they are to be durable.
        let groups = dir.path().join("config/groups.jsonl");
        std::fs::remove_file(&groups).unwrap();
        std::os::unix::fs::symlink("/dev/null", &groups).unwrap();
        let broker = test_slave::open(dir.path(), &disk);
        recover(&broker).unwrap();
        assert!(take_over_rest(&broker, broker.slave.as_ref().unwrap()).is_err(), "it does not follow");
        broker.store.close();
        drop(broker);
        std::fs::remove_file(&groups).unwrap();
        let broker = test_slave::open(dir.path(), &disk);
        recover(&broker).unwrap();
        assert!(broker.groups.get("G").is_some(), "nothing was passed over");
    }
}
