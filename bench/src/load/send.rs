//! The sending load: SEND_MESSAGE_V2 frames that differ in queue, id and message key only, so that
//! making one costs little more than copying it.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, CommandHead, FrameView};
use protocol::header::{FieldValue, Serialization};
use protocol::requests::SendMessage;

use super::{Call, Workload};

/// What is sent.
#[derive(Clone, Debug)]
pub struct Messages {
    /// The topic.
    pub topic: String,
    /// Its queues, used in turn.
    pub queues: usize,
    /// Bytes of each body.
    pub body: usize,
    /// How headers are written.
    pub header: Serialization,
}

/// The key under which the broker indexes each message: 32 digits, of which the last eight count.
const KEY_START: &str = "7F000001000018B4AAC20000";

/// Sends messages to the queues of a topic in turn.
pub struct Sender {
    templates: Vec<Template>,
    next: u32,
}

struct Template {
    frame: Vec<u8>,
    opaque: Field,
    key_count: usize,
}

enum Field {
    Binary(usize),
    Digits(usize),
}

impl Sender {
    /// Creates the load of one connection; different `seed`s never send the same message key.
    pub fn new(messages: &Messages, seed: usize) -> Self {
        let templates = (0..messages.queues).map(|queue| Template::new(messages, queue)).collect();
        // Connections start far apart in the keys, and at different queues.
        Self { templates, next: (seed as u32) << 28 | seed as u32 }
    }
}

impl Workload for Sender {
    fn request(&mut self, call: Call, out: &mut Vec<u8>) {
        let template = &self.templates[self.next as usize % self.templates.len()];
        template.write(call, self.next, out);
        self.next = self.next.wrapping_add(1);
    }

    fn answer(&mut self, _: Call, answer: &FrameView<'_>) -> Result<u64, String> {
        match ResponseCode(answer.header.code) {
            ResponseCode::SUCCESS => Ok(1),
            code => Err(format!("{code}: {}", answer.header.remark.as_deref().unwrap_or_default())),
        }
    }
}

impl Template {
    fn new(messages: &Messages, queue: usize) -> Self {
        let request = SendMessage {
            producer_group: FieldValue::of("BenchmarkProducer"),
            topic: Cow::Borrowed(&messages.topic),
            default_topic: FieldValue::of("TBW102"),
            default_topic_queue_nums: 4,
            queue_id: queue as i32,
            sys_flag: 0,
            born_timestamp: now_ms(),
            flag: 0,
            properties: Cow::Owned(format!("UNIQ_KEY\u{1}{KEY_START}00000000\u{2}WAIT\u{1}true\u{2}")),
            reconsume_times: 0,
            unit_mode: false,
            max_reconsume_times: None,
            batch: false,
        };
        let opaque = Call::at(0).opaque();
        let head = CommandHead::request(messages.header, RequestCode::SEND_MESSAGE_V2.0, opaque);
        let body: Vec<u8> = (0..messages.body).map(|i| b'a' + (i % 26) as u8).collect();
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, &head, &request, &body);
        let opaque = match messages.header {
            // Length, header word, code, language and version come before it (P§1.3).
            Serialization::Binary => Field::Binary(13),
            Serialization::Json => Field::Digits(position(&bytes, b"\"opaque\":") + 9),
        };
        let key_count = position(&bytes, KEY_START.as_bytes()) + KEY_START.len();
        Self { frame: bytes, opaque, key_count }
    }

    fn write(&self, call: Call, count: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.frame);
        let copy = &mut out[start..];
        match self.opaque {
            Field::Binary(at) => copy[at..at + 4].copy_from_slice(&call.opaque().to_be_bytes()),
            Field::Digits(at) => write_digits(&mut copy[at..at + 10], call.opaque() as u32, 10),
        }
        write_digits(&mut copy[self.key_count..self.key_count + 8], count, 16);
    }
}

fn write_digits(digits: &mut [u8], mut value: u32, base: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789ABCDEF"[(value % base) as usize];
        value /= base;
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> usize {
    let found = bytes.windows(wanted.len()).position(|window| window == wanted);
    found.expect("every frame is written with an opaque id and a key")
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::frame::Decoded;

    #[test]
    fn frames_differ_in_queue_id_and_key_and_decode_in_both_encodings() {
        for header in [Serialization::Binary, Serialization::Json] {
            let messages = Messages { topic: "BenchmarkTest".to_owned(), queues: 8, body: 1024, header };
            let mut sender = Sender::new(&messages, 0);
            let mut out = Vec::new();
            for place in [5, 63] {
                out.clear();
                sender.request(Call::at(place), &mut out);
            }
            let Decoded::Frame(frame, length) = frame::decode(&out) else { panic!("{header:?}") };
            assert_eq!((length, frame.body.len()), (out.len(), 1024));
            assert_eq!(frame.header.opaque, 1_000_000_063);
            let send = SendMessage::decode(RequestCode::SEND_MESSAGE_V2, &frame.header.ext).unwrap();
            assert_eq!((send.topic.len(), send.queue_id, send.properties.len()), (13, 1, 52));
            assert!(send.properties.contains("7F000001000018B4AAC2000000000001\u{2}"), "{}", send.properties);
        }
    }
}
