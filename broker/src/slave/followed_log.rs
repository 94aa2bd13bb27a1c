//! A slave's log as the stream from its master fills it: appended like any other, and where a change of the tables is
//! among the records, it is taken over before the record behind it can be seen.

use std::io;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use protocol::message::{self, Decoded};
use protocol::names::METADATA_TOPIC;
use replication::FollowedLog;
use store::{AppendError, AppendLogError};
use tokio::sync::watch;

use super::SlaveLink;
use crate::broker::{Broker, blocking};
use crate::live::FlushMode;
use crate::metadata::apply;

/// What a master is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sends all of its log to a slave that reports 0.
    Gantry,
    /// Sends its last file only to a slave that reports 0.
    Java,
}

/// The log of a slave that follows.
pub(super) struct SlaveLog<'a> {
    pub broker: &'a Broker,
    pub link: &'a SlaveLink,
    pub master: Kind,
}

impl FollowedLog for SlaveLog<'_> {
    fn end(&self) -> u64 {
        self.broker.store.written()
    }

    fn asks_for_everything(&self) -> bool {
        let store = &self.broker.store;
        match self.master {
            Kind::Gantry => store.is_empty_log(),
            // It has no record that could have been fetched before.
            Kind::Java => store.written() == 0,
        }
    }

    fn start_at(&self, begin: u64) -> io::Result<()> {
        match self.master {
            Kind::Gantry => give_up_log(self.broker, self.link, begin),
            // Its first file was asked for, this is a later one; joining anew asks for what there is now.
            Kind::Java => Err(io::Error::other(format!("the master sends its log from {begin} on only"))),
        }
    }

    fn append(&self, at: u64, bytes: &[u8]) -> Result<u64, AppendLogError> {
        let (mut at, mut rest) = (at, bytes);
        while let Some(len) = through_next_change(rest) {
            at = self.append_part(at, &rest[..len])?;
            rest = &rest[len..];
            blocking(|| apply::take_over_rest(self.broker, self.link)).map_err(|e| {
                let source = io::Error::other(format!("take over a change of the master's tables: {e}"));
                AppendError::Io { at, source }
            })?;
        }
        if rest.is_empty() { Ok(at) } else { self.append_part(at, rest) }
    }

    fn flushed_acks(&self) -> bool {
        self.broker.live.load().flush == FlushMode::Sync
    }

    fn flushed(&self) -> watch::Receiver<u64> {
        self.broker.store.flushed()
    }

    fn request_flush(&self, end: u64) {
        self.broker.store.request_flush(end);
    }
}

impl SlaveLog<'_> {
    fn append_part(&self, at: u64, bytes: &[u8]) -> Result<u64, AppendLogError> {
        let waiting = &self.broker.waiting;
        self.broker.store.append_log(at, bytes, &mut |queue, tags_code| waiting.wake(queue, tags_code))
    }
}

/// Gives up a slave's log; it is empty and begins at `begin` then. Whoever waits for its messages hears so.
pub(super) fn give_up_log(broker: &Broker, link: &SlaveLink, begin: u64) -> io::Result<()> {
    let topics = broker.store.topics();
    let queues: Vec<_> = topics.iter().flat_map(|(topic, _)| broker.queues_of(topic)).collect();
    blocking(|| broker.store.start_over(begin))?;
    queues.iter().for_each(|queue| broker.waiting.wake_all(queue));
    blocking(|| apply::take_over_rest(broker, link))
}

/// Returns the length of whole records up to the end of the first that tells a change of the tables; `None` when none
/// does.
fn through_next_change(records: &[u8]) -> Option<usize> {
    static TOPIC: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(METADATA_TOPIC));
    // Nearly always there is none, and one look at the bytes says so.
    TOPIC.find(records)?;
    let mut len = 0;
    loop {
        let rest = records.get(len..)?;
        match message::decode(rest, rest.len()) {
            Decoded::Record(record) => {
                len += record.total_size;
                if record.topic == METADATA_TOPIC {
                    return Some(len);
                }
            }
            Decoded::Blank(size) => len += size,
            Decoded::NeedMore(_) | Decoded::Malformed(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::message::{MAGIC_BLANK, NewRecord};

    fn record(topic: &str, body: &str) -> Vec<u8> {
        let record = NewRecord {
            topic,
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 1,
            born_host: "127.0.0.1:1".parse().unwrap(),
            store_host: "127.0.0.1:2".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: body.as_bytes(),
            properties: "",
            more_properties: "",
        };
        let mut out = Vec::new();
        record.encode(&mut out);
        out
    }

    #[test]
    fn the_next_change_is_found_behind_messages_that_only_speak_of_it() {
        let mut blank = vec![0; 50];
        blank[..4].copy_from_slice(&50u32.to_be_bytes());
        blank[4..8].copy_from_slice(&MAGIC_BLANK.to_be_bytes());
        let plain = record("T", "hello");
        let speaks = record("T", METADATA_TOPIC);
        let change = record(METADATA_TOPIC, "{}");
        for (parts, want) in [
            (vec![&plain], None),
            (vec![&speaks, &plain], None),
            (vec![&change], Some(1)),
            (vec![&speaks, &blank, &change, &plain], Some(3)),
            (vec![&plain, &change, &change], Some(2)),
            (vec![], None),
        ] {
            let all: Vec<u8> = parts.iter().flat_map(|p| p.iter().copied()).collect();
            let want = want.map(|n| parts[..n].iter().map(|p| p.len()).sum());
            assert_eq!(through_next_change(&all), want, "{} parts", parts.len());
        }
    }
}
