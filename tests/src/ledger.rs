//! Every send with what became of it, and the judge: what was acknowledged must be readable at exactly the place it
//! was acknowledged with, queues have no holes, nothing appears that nobody sent.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use protocol::codes::{RequestCode, ResponseCode};
use protocol::header::FieldValue;
use protocol::message::{self, Decoded};
use protocol::requests::{Fields, SendMessage};

use crate::sizes::Sizes;
use crate::talk::{Answer, Talk};

/// A place in a topic: queue and offset in it.
pub type Place = (i32, i64);

/// A message that a broker said it stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stored {
    id: u64,
    /// Where it lies in the broker's log, from the message id of the answer.
    physical: u64,
}

/// What was sent to one topic of one broker.
#[derive(Debug, Default)]
pub struct Ledger {
    next: AtomicU64,
    acknowledged: Mutex<BTreeMap<Place, Stored>>,
    /// Stored, and answered with a code that promises less than what was asked for.
    late: Mutex<BTreeMap<Place, (ResponseCode, Stored)>>,
    /// Refused with a definite code.
    refused: Mutex<BTreeMap<u64, Answer>>,
    unanswered: AtomicU64,
    slowest: AtomicU64,
}

/// What the judge found; `verdict` is the list of broken promises.
#[derive(Debug, Default)]
pub struct Report {
    /// Messages acknowledged.
    pub acknowledged: usize,
    /// Messages stored with less than what was asked for.
    pub late: usize,
    /// Messages found.
    pub stored: usize,
    /// Broken promises, in words; empty when all is well.
    pub broken: Vec<String>,
}

impl Ledger {
    /// Returns how many messages were sent so far, whatever became of them.
    pub fn sent(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Returns how many messages are acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap_or_else(|e| e.into_inner()).len()
    }

    /// Returns how many messages were stored with a code that promises less than what was asked for.
    pub fn late(&self, code: ResponseCode) -> usize {
        let late = self.late.lock().unwrap_or_else(|e| e.into_inner());
        late.values().filter(|(found, _)| *found == code).count()
    }

    /// Returns how many sends were not answered within [`crate::talk::PATIENCE`] although their connection was open.
    pub fn unanswered(&self) -> u64 {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Returns the longest that an answer took since this was asked last.
    pub fn take_slowest(&self) -> Duration {
        Duration::from_micros(self.slowest.swap(0, Ordering::Relaxed))
    }

    /// Returns the answers of refused sends, and forgets them.
    pub fn take_refused(&self) -> Vec<Answer> {
        std::mem::take(&mut *self.refused.lock().unwrap_or_else(|e| e.into_inner())).into_values().collect()
    }

    /// Sends one message and notes its fate; returns whether it was acknowledged.
    ///
    /// # Errors
    /// The connection broke: the fate of the message is unknown, and the caller connects anew.
    ///
    /// # Panics
    /// When two messages are stored at one place.
    pub fn send(
        &self,
        talk: &mut Talk,
        topic: &str,
        queue: i32,
        sizes: impl Into<Sizes>,
    ) -> std::io::Result<bool> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let start = Instant::now();
        let answer = send(talk, topic, queue, id, sizes.into().of(id)).inspect_err(|e| {
            let silent = matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            self.unanswered.fetch_add(u64::from(silent), Ordering::Relaxed);
        })?;
        self.slowest.fetch_max(start.elapsed().as_micros() as u64, Ordering::Relaxed);
        self.note(id, answer)
    }

    fn note(&self, id: u64, answer: Answer) -> std::io::Result<bool> {
        let is_late = STORED_BUT.contains(&answer.code);
        if answer.code != ResponseCode::SUCCESS && !is_late {
            self.refused.lock().unwrap_or_else(|e| e.into_inner()).insert(id, answer);
            return Ok(false);
        }
        let place = (answer.number("queueId") as i32, answer.number("queueOffset"));
        let stored = Stored { id, physical: physical(answer.field("msgId")) };
        let mut acknowledged = self.acknowledged.lock().unwrap_or_else(|e| e.into_inner());
        let mut late = self.late.lock().unwrap_or_else(|e| e.into_inner());
        let other = acknowledged.get(&place).or_else(|| late.get(&place).map(|(_, stored)| stored));
        assert_eq!(other, None, "two messages were stored at {place:?}, the later is {id}");
        if is_late {
            late.insert(place, (answer.code, stored));
        } else {
            acknowledged.insert(place, stored);
        }
        Ok(!is_late)
    }

    /// Sends until told to stop, through crashes: connects anew as long as it takes.
    pub fn keep_sending(
        &self,
        addr: &str,
        topic: &str,
        queue: i32,
        sizes: impl Into<Sizes>,
        stop: &AtomicBool,
    ) {
        let sizes = sizes.into();
        while !stop.load(Ordering::Relaxed) {
            let Ok(mut talk) = Talk::connect(addr) else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            while !stop.load(Ordering::Relaxed) && self.send(&mut talk, topic, queue, sizes).is_ok() {}
        }
    }

    /// Reads everything back and judges it.
    ///
    /// # Panics
    /// When the broker does not serve.
    pub fn judge(&self, addr: &str, topic: &str, queues: i32) -> Report {
        self.judge_before(addr, topic, queues, u64::MAX)
    }

    /// Reads everything back from a member that has the log up to `end`, and judges that: the rest may be missing.
    ///
    /// # Panics
    /// When the broker does not serve.
    pub fn judge_before(&self, addr: &str, topic: &str, queues: i32, end: u64) -> Report {
        let mut talk = Talk::connect(addr).expect("a broker that serves");
        let mut stored = BTreeMap::new();
        let mut report = Report::default();
        for queue in 0..queues {
            read_queue(&mut talk, topic, queue, &mut stored, &mut report.broken);
        }
        self.compare(&stored, end, &mut report);
        report
    }

    fn compare(&self, found: &BTreeMap<Place, u64>, end: u64, report: &mut Report) {
        let acknowledged = self.acknowledged.lock().unwrap_or_else(|e| e.into_inner());
        let late = self.late.lock().unwrap_or_else(|e| e.into_inner());
        let refused = self.refused.lock().unwrap_or_else(|e| e.into_inner());
        let sent = self.next.load(Ordering::Relaxed);
        (report.acknowledged, report.late, report.stored) = (acknowledged.len(), late.len(), found.len());
        for (place, Stored { id, physical }) in acknowledged.iter().filter(|(_, s)| s.physical < end) {
            match found.get(place) {
                Some(found) if found == id => {}
                found => report.broken.push(format!(
                    "message {id} acknowledged at {place:?}, {physical} in the log, is lost: {found:?} there"
                )),
            }
        }
        let mut seen = BTreeSet::new();
        for (place, id) in found {
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

/// Codes of messages that are stored, but not yet as safely as was asked for.
const STORED_BUT: [ResponseCode; 3] =
    [ResponseCode::FLUSH_DISK_TIMEOUT, ResponseCode::SLAVE_NOT_AVAILABLE, ResponseCode::FLUSH_SLAVE_TIMEOUT];

/// Reads the offset in the log from a message id as brokers write it: an address, then 16 digits.
fn physical(id: &str) -> u64 {
    let digits = id.get(id.len().saturating_sub(16)..).unwrap_or_default();
    u64::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{id:?} is not the id of a stored message"))
}

/// Sends the message with an id, one body of [`body`], and waits for the answer.
pub fn send(talk: &mut Talk, topic: &str, queue: i32, id: u64, size: usize) -> std::io::Result<Answer> {
    let body = body(id, size);
    // A body too short for its id leaves it to a key.
    let properties = if body.len() < ID { format!("KEYS\u{1}{id}\u{2}") } else { String::new() };
    let header = SendMessage {
        producer_group: FieldValue::of("ledger"),
        topic: topic.into(),
        default_topic: FieldValue::of(protocol::names::AUTO_CREATE_TOPIC),
        default_topic_queue_nums: 4,
        queue_id: queue,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        flag: 0,
        properties: properties.as_str().into(),
        reconsume_times: 0,
        unit_mode: false,
        max_reconsume_times: None,
        batch: false,
    };
    talk.call(RequestCode::SEND_MESSAGE_V2, &header, &body)
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
        all.push((record.queue_offset, id(record.body, record.properties)));
        rest = &rest[record.total_size..];
    }
    all
}

/// Bytes of an id at the beginning of a body.
const ID: usize = 8;

/// Returns the body of the message with an id: the id if there is room for it, and bytes that follow from it.
pub fn body(id: u64, size: usize) -> Vec<u8> {
    let cycle: Vec<u8> = (0..256).map(|i| (id as usize).wrapping_mul(31).wrapping_add(i) as u8).collect();
    let mut body = Vec::with_capacity(size + cycle.len());
    while body.len() < size {
        body.extend_from_slice(&cycle);
    }
    body.truncate(size);
    if size >= ID {
        body[..ID].copy_from_slice(&id.to_be_bytes());
    }
    body
}

fn id(bytes: &[u8], properties: &str) -> u64 {
    let id = match bytes.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None => properties
            .split('\u{2}')
            .find_map(|property| property.strip_prefix("KEYS\u{1}")?.parse().ok())
            .unwrap_or_else(|| panic!("no id among the properties {properties:?}")),
    };
    assert!(bytes == body(id, bytes.len()), "the body of message {id} is not what was sent");
    id
}

fn read_queue(
    talk: &mut Talk,
    topic: &str,
    queue: i32,
    found_all: &mut BTreeMap<Place, u64>,
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
            found_all.insert((queue, offset), id);
            next = offset + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: ResponseCode, offset: i64) -> Answer {
        let msg_id = format!("7F00000100002A9F{:016X}", 100 * offset);
        let fields = [("queueId", "0".into()), ("queueOffset", offset.to_string()), ("msgId", msg_id)];
        let fields = fields.map(|(key, value)| (key.to_owned(), value)).to_vec();
        Answer { code, remark: String::new(), fields, body: Vec::new() }
    }

    /// Messages 0 and 1 acknowledged, 2 refused, 3 late, 4 without an answer.
    fn ledger() -> Ledger {
        let ledger = Ledger::default();
        ledger.next.store(5, Ordering::Relaxed);
        for id in 0..2 {
            ledger.note(id, answer(ResponseCode::SUCCESS, id as i64)).unwrap();
        }
        ledger.note(2, answer(ResponseCode::SYSTEM_BUSY, 0)).unwrap();
        ledger.note(3, answer(ResponseCode::FLUSH_SLAVE_TIMEOUT, 2)).unwrap();
        ledger
    }

    fn judge(found: &[(i64, u64)], end: u64) -> Vec<String> {
        let mut report = Report::default();
        let found = found.iter().map(|(offset, id)| ((0, *offset), *id)).collect();
        ledger().compare(&found, end, &mut report);
        report.broken
    }

    #[test]
    fn a_good_history_is_accepted_also_with_messages_nobody_acknowledged() {
        assert_eq!(judge(&[(0, 0), (1, 1)], u64::MAX), Vec::<String>::new());
        assert_eq!(judge(&[(0, 0), (1, 1), (2, 3), (3, 4)], u64::MAX), Vec::<String>::new());
        assert_eq!(ledger().late(ResponseCode::FLUSH_SLAVE_TIMEOUT), 1);
    }

    #[test]
    fn a_lost_a_moved_a_doubled_a_refused_and_an_invented_message_are_found() {
        let histories: [&[(i64, u64)]; 5] = [
            &[(0, 0)],
            &[(0, 1), (1, 0)],
            &[(0, 0), (1, 1), (2, 1)],
            &[(0, 0), (1, 1), (2, 2)],
            &[(0, 0), (1, 1), (2, 9)],
        ];
        for history in histories {
            assert!(!judge(history, u64::MAX).is_empty(), "{history:?}");
        }
    }

    #[test]
    fn of_a_member_that_has_less_of_the_log_only_that_is_asked() {
        assert_eq!(judge(&[(0, 0)], 100), Vec::<String>::new());
        assert!(!judge(&[(0, 0)], 101).is_empty());
        assert!(!judge(&[(0, 1)], 100).is_empty());
    }

    #[test]
    fn two_messages_at_one_place_are_found_also_when_one_is_late() {
        for code in [ResponseCode::SUCCESS, ResponseCode::FLUSH_DISK_TIMEOUT] {
            let doubled = std::panic::catch_unwind(|| ledger().note(4, answer(code, 2)));
            assert!(doubled.is_err());
        }
    }

    #[test]
    fn a_message_holds_its_id_whatever_its_size() {
        for size in [0, 1, 7, 8, 9, 3000] {
            assert_eq!(id(&body(77, size), "KEYS\u{1}77\u{2}"), 77);
        }
    }
}
