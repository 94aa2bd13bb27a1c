//! A consumer that notes everything it read and goes on where it was after every crash of its broker.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::requests::Fields;

use crate::ledger::{messages, pull};
use crate::talk::Talk;

/// A consumer group of one, with its offsets kept by the broker.
#[derive(Debug)]
pub struct Consumer {
    group: &'static str,
    topic: &'static str,
    seen: Mutex<BTreeSet<u64>>,
    resumed: AtomicU64,
}

impl Consumer {
    /// A consumer that has read nothing yet.
    pub fn new(group: &'static str, topic: &'static str) -> Consumer {
        Consumer { group, topic, seen: Mutex::default(), resumed: AtomicU64::new(0) }
    }

    /// Returns how many different messages it has read.
    pub fn seen(&self) -> usize {
        self.seen.lock().unwrap_or_else(|e| e.into_inner()).len()
    }

    /// Returns how often it began at an offset that an earlier connection had committed.
    pub fn resumed(&self) -> u64 {
        self.resumed.load(Ordering::Relaxed)
    }

    /// Reads `queues` queues in turn until told to stop, through crashes.
    pub fn keep_reading(&self, addr: &str, queues: i32, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let Ok(mut talk) = Talk::connect(addr) else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            // A lost connection is what this is about.
            let _ = self.read(&mut talk, queues, stop);
        }
    }

    fn read(&self, talk: &mut Talk, queues: i32, stop: &AtomicBool) -> std::io::Result<()> {
        let mut next = Vec::new();
        for queue in 0..queues {
            let committed = committed(talk, self.group, self.topic, queue)?;
            self.resumed.fetch_add(u64::from(committed.is_some_and(|offset| offset > 0)), Ordering::Relaxed);
            next.push(committed.unwrap_or(0));
        }
        while !stop.load(Ordering::Relaxed) {
            for (queue, next) in next.iter_mut().enumerate() {
                let queue = queue as i32;
                let answer = pull(talk, self.group, self.topic, queue, *next, 20)?;
                if answer.code != ResponseCode::SUCCESS {
                    continue;
                }
                for (offset, id) in messages(&answer.body) {
                    assert_eq!(offset, *next, "queue {queue} skips a message");
                    self.seen.lock().unwrap_or_else(|e| e.into_inner()).insert(id);
                    *next += 1;
                }
                commit(talk, self.group, self.topic, queue, *next)?;
            }
        }
        Ok(())
    }
}

/// Asks for a group's offset in a queue; `None` when it has none.
pub fn committed(talk: &mut Talk, group: &str, topic: &str, queue: i32) -> std::io::Result<Option<i64>> {
    let queue = queue.to_string();
    let fields = Fields(&[("consumerGroup", group), ("topic", topic), ("queueId", &queue)]);
    let answer = talk.call(RequestCode::QUERY_CONSUMER_OFFSET, &fields, b"")?;
    Ok((answer.code == ResponseCode::SUCCESS).then(|| answer.number("offset")))
}

/// Sets a group's offset in a queue and waits until the broker has it.
pub fn commit(talk: &mut Talk, group: &str, topic: &str, queue: i32, offset: i64) -> std::io::Result<()> {
    let [queue, offset] = [queue.to_string(), offset.to_string()];
    let fields = [("consumerGroup", group), ("topic", topic), ("queueId", &queue), ("commitOffset", &offset)];
    let answer = talk.call(RequestCode::UPDATE_CONSUMER_OFFSET, &Fields(&fields), b"")?;
    assert_eq!(answer.code, ResponseCode::SUCCESS, "a commit is refused: {}", answer.remark);
    Ok(())
}

/// Sets a group's offset in a queue as official clients do: without waiting for an answer.
pub fn tell_offset(
    talk: &mut Talk,
    group: &str,
    topic: &str,
    queue: i32,
    offset: i64,
) -> std::io::Result<()> {
    let [queue, offset] = [queue.to_string(), offset.to_string()];
    let fields = [("consumerGroup", group), ("topic", topic), ("queueId", &queue), ("commitOffset", &offset)];
    talk.tell(RequestCode::UPDATE_CONSUMER_OFFSET, &Fields(&fields), b"")
}
