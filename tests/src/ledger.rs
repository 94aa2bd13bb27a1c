//! Every send with what became of it, and the judge: what was acknowledged must be readable at exactly the place it
//! was acknowledged with, queues have no holes, nothing appears that nobody sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::header::FieldValue;
use protocol::message::{self, Decoded};
use protocol::requests::{Fields, SendMessage};

use crate::talk::{Answer, Talk};

/// A place in a topic: queue and offset in it.
pub type Place = (i32, i64);

/// What was sent to one topic of one broker.
#[derive(Debug, Default)]
pub struct Ledger {
    next: AtomicU64,
    acknowledged: Mutex<BTreeMap<Place, u64>>,
    /// Refused with a definite code.
    refused: Mutex<BTreeMap<u64, Answer>>,
}

/// What the judge found; `verdict` is the list of broken promises.
#[derive(Debug, Default)]
pub struct Report {
    /// Messages acknowledged.
    pub acknowledged: usize,
    /// Messages stored.
    pub stored: usize,
    /// Broken promises, in words; empty when all is well.
    pub broken: Vec<String>,
}

impl Ledger {
    /// Returns how many messages are acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap_or_else(|e| e.into_inner()).len()
    }

    /// Returns the answers of refused sends, and forgets them.
    pub fn take_refused(&self) -> Vec<Answer> {
        std::mem::take(&mut *self.refused.lock().unwrap_or_else(|e| e.into_inner())).into_values().collect()
    }

    /// Sends one message and notes its fate.
    ///
    /// # Errors
    /// The connection broke: the fate of the message is unknown, and the caller connects anew.
    ///
    /// # Panics
    /// When two messages are acknowledged at one place.
    pub fn send(&self, talk: &mut Talk, topic: &str, queue: i32, size: usize) -> std::io::Result<bool> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let answer = send(talk, topic, queue, &body(id, size))?;
        if answer.code != ResponseCode::SUCCESS {
            self.refused.lock().unwrap_or_else(|e| e.into_inner()).insert(id, answer);
            return Ok(false);
        }
        let place = (answer.number("queueId") as i32, answer.number("queueOffset"));
        let other = self.acknowledged.lock().unwrap_or_else(|e| e.into_inner()).insert(place, id);
        assert_eq!(other, None, "two messages were acknowledged at {place:?}, the later is {id}");
        Ok(true)
    }

    /// Sends until told to stop, through crashes: connects anew as long as it takes.
    pub fn keep_sending(&self, addr: &str, topic: &str, queue: i32, size: usize, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let Ok(mut talk) = Talk::connect(addr) else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            while !stop.load(Ordering::Relaxed) && self.send(&mut talk, topic, queue, size).is_ok() {}
        }
    }

    /// Reads everything back and judges it.
    ///
    /// # Panics
    /// When the broker does not serve.
    pub fn judge(&self, addr: &str, topic: &str, queues: i32) -> Report {
        let mut talk = Talk::connect(addr).expect("a broker that serves");
        let mut stored = BTreeMap::new();
        let mut report = Report::default();
        for queue in 0..queues {
            read_queue(&mut talk, topic, queue, &mut stored, &mut report.broken);
        }
        self.compare(&stored, &mut report);
        report
    }

    fn compare(&self, stored: &BTreeMap<Place, u64>, report: &mut Report) {
        let acknowledged = self.acknowledged.lock().unwrap_or_else(|e| e.into_inner());
        let refused = self.refused.lock().unwrap_or_else(|e| e.into_inner());
        let sent = self.next.load(Ordering::Relaxed);
        (report.acknowledged, report.stored) = (acknowledged.len(), stored.len());
        for (place, id) in acknowledged.iter() {
            match stored.get(place) {
                Some(found) if found == id => {}
                found => report
                    .broken
                    .push(format!("message {id} acknowledged at {place:?} is lost: {found:?} there")),
            }
        }
        let mut seen = BTreeSet::new();
        for (place, id) in stored {
            if !seen.insert(id) {
                report.broken.push(format!("message {id} is stored twice, again at {place:?}"));
            }
            if *id >= sent {
                report.broken.push(format!("message {id} at {place:?} was never sent"));
            }
            if refused.contains_key(id) {
                report.broken.push(format!("message {id} at {place:?} was refused"));
            }
        }
    }
}

/// Sends one message without properties and waits for the answer.
pub fn send(talk: &mut Talk, topic: &str, queue: i32, body: &[u8]) -> std::io::Result<Answer> {
    let header = SendMessage {
        producer_group: FieldValue::of("ledger"),
        topic: topic.into(),
        default_topic: FieldValue::of(protocol::names::AUTO_CREATE_TOPIC),
        default_topic_queue_nums: 4,
        queue_id: queue,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        flag: 0,
        properties: "".into(),
        reconsume_times: 0,
        unit_mode: false,
        max_reconsume_times: None,
        batch: false,
    };
    talk.call(RequestCode::SEND_MESSAGE_V2, &header, body)
}

/// Pulls up to 32 messages from a queue; waits `suspend` milliseconds for the first when there is none.
pub fn pull(
    talk: &mut Talk,
    group: &str,
    topic: &str,
    queue: i32,
    offset: i64,
    suspend: u32,
) -> std::io::Result<Answer> {
    let [queue, offset, suspend] = [queue.to_string(), offset.to_string(), suspend.to_string()];
    // Bit 1: may be parked; bit 2: carries a subscription.
    let sys_flag = if suspend == "0" { "4" } else { "6" };
    let fields = [
        ("consumerGroup", group),
        ("topic", topic),
        ("queueId", &queue),
        ("queueOffset", &offset),
        ("maxMsgNums", "32"),
        ("sysFlag", sys_flag),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", &suspend),
        ("subscription", "*"),
        ("subVersion", "1"),
        ("expressionType", "TAG"),
    ];
    talk.call(RequestCode::PULL_MESSAGE, &Fields(&fields), b"")
}

/// Asks for the first or the next offset of a queue: MIN or MAX.
pub fn bound(talk: &mut Talk, code: RequestCode, topic: &str, queue: i32) -> std::io::Result<i64> {
    let queue = queue.to_string();
    let answer = talk.call(code, &Fields(&[("topic", topic), ("queueId", &queue)]), b"")?;
    assert_eq!(answer.code, ResponseCode::SUCCESS, "{code:?} of {topic}: {}", answer.remark);
    Ok(answer.number("offset"))
}

/// Returns the messages in the body of a pull: offset in their queue, and id.
///
/// # Panics
/// When the bytes are no records of [`body`]s, or one is damaged.
pub fn messages(body: &[u8]) -> Vec<(i64, u64)> {
    let mut all = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let Decoded::Record(record) = message::decode(rest, rest.len()) else {
            panic!("{} bytes behind {} messages are no record", rest.len(), all.len());
        };
        assert!(record.intact(), "the body at queue offset {} is damaged", record.queue_offset);
        all.push((record.queue_offset, id(record.body)));
        rest = &rest[record.total_size..];
    }
    all
}

/// Returns the body of the message with an id: the id, and bytes that follow from it.
pub fn body(id: u64, size: usize) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend((8..size.max(8)).map(|i| (id as usize).wrapping_mul(31).wrapping_add(i) as u8));
    body
}

fn id(bytes: &[u8]) -> u64 {
    let id = bytes.first_chunk().map(|first| u64::from_be_bytes(*first)).expect("a body holds its id");
    assert!(bytes == body(id, bytes.len()), "the body of message {id} is not what was sent");
    id
}

fn read_queue(
    talk: &mut Talk,
    topic: &str,
    queue: i32,
    stored: &mut BTreeMap<Place, u64>,
    broken: &mut Vec<String>,
) {
    let min = bound(talk, RequestCode::GET_MIN_OFFSET, topic, queue).expect("the broker serves");
    let max = bound(talk, RequestCode::GET_MAX_OFFSET, topic, queue).expect("the broker serves");
    let mut next = min;
    while next < max {
        let answer = pull(talk, "judge", topic, queue, next, 0).expect("the broker serves");
        let found = if answer.code == ResponseCode::SUCCESS { messages(&answer.body) } else { Vec::new() };
        if found.first().map(|(offset, _)| *offset) != Some(next) {
            broken.push(format!("queue {queue} has a hole at {next} of {min} to {max}: {answer:?}"));
            return;
        }
        for (offset, id) in found {
            if offset != next {
                broken.push(format!("queue {queue}: {offset} follows {}", next - 1));
            }
            stored.insert((queue, offset), id);
            next = offset + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let ledger = Ledger::default();
        ledger.next.store(3, Ordering::Relaxed);
        ledger.acknowledged.lock().unwrap().extend([((0, 0), 0), ((0, 1), 1)]);
        ledger
    }

    fn judge(stored: &[(Place, u64)]) -> Vec<String> {
        let mut report = Report::default();
        ledger().compare(&stored.iter().copied().collect(), &mut report);
        report.broken
    }

    #[test]
    fn a_good_history_is_accepted_also_with_a_message_nobody_acknowledged() {
        assert_eq!(judge(&[((0, 0), 0), ((0, 1), 1), ((0, 2), 2)]), Vec::<String>::new());
    }

    #[test]
    fn a_lost_a_moved_a_doubled_and_an_invented_message_are_found() {
        let histories: [&[(Place, u64)]; 4] = [
            &[((0, 0), 0)],
            &[((0, 0), 1), ((0, 1), 0)],
            &[((0, 0), 0), ((0, 1), 1), ((0, 2), 1)],
            &[((0, 0), 0), ((0, 1), 1), ((0, 2), 9)],
        ];
        for history in histories {
            assert!(!judge(history).is_empty(), "{history:?}");
        }
    }

    #[test]
    fn a_body_holds_its_id_whatever_its_size() {
        for size in [0, 8, 9, 3000] {
            assert_eq!(id(&body(77, size)), 77);
        }
    }
}
