//! SEND_MESSAGE (10), its V2 form (310) and its batch form (320): P§2.2, P§3.1.

use std::borrow::Cow;

use super::{DecodeExt, EncodeExt, MissingField, headers};
use crate::codes::RequestCode;
use crate::frame::ExtWriter;
use crate::header::{ExtFields, FieldValue};

/// A send, whichever spelling of the keys it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct SendMessage<'a> {
    /// Producer group. Read by nobody on the way of a message, so not yet looked at.
    pub producer_group: FieldValue<'a>,
    /// Topic.
    pub topic: Cow<'a, str>,
    /// Topic whose settings a new topic takes over, `TBW102`; likewise.
    pub default_topic: FieldValue<'a>,
    /// Queues a new topic should get.
    pub default_topic_queue_nums: i32,
    /// Queue; negative lets the broker choose.
    pub queue_id: i32,
    /// Bits of P§4.3.
    pub sys_flag: i32,
    /// When the producer made the message, ms since 1970.
    pub born_timestamp: i64,
    /// The user's own number.
    pub flag: i32,
    /// Properties as of P§4.4.
    pub properties: Cow<'a, str>,
    /// How often the message was consumed in vain.
    pub reconsume_times: i32,
    /// Unit mode.
    pub unit_mode: bool,
    /// Highest number of attempts, when the client sets one.
    pub max_reconsume_times: Option<i32>,
    /// Whether the body holds several messages.
    pub batch: bool,
}

impl<'a> SendMessage<'a> {
    /// Reads the header of a send of the given code. V2 keys are single letters; clients in other languages put
    /// either spelling into either code, so both are accepted.
    pub fn decode(code: RequestCode, ext: &ExtFields<'a>) -> Result<Self, MissingField> {
        let mut s = Slots::default();
        ext.visit_raw(|key, value| s.set(key, value));
        let batch = s.batch || code == RequestCode::SEND_BATCH_MESSAGE;
        Ok(SendMessage {
            producer_group: s.producer_group.ok_or(MissingField("producerGroup"))?,
            topic: s.topic.ok_or(MissingField("topic"))?,
            default_topic: s.default_topic.ok_or(MissingField("defaultTopic"))?,
            default_topic_queue_nums: s
                .default_topic_queue_nums
                .ok_or(MissingField("defaultTopicQueueNums"))?,
            queue_id: s.queue_id.ok_or(MissingField("queueId"))?,
            sys_flag: s.sys_flag.ok_or(MissingField("sysFlag"))?,
            born_timestamp: s.born_timestamp.ok_or(MissingField("bornTimestamp"))?,
            flag: s.flag.ok_or(MissingField("flag"))?,
            properties: s.properties.unwrap_or_default(),
            reconsume_times: s.reconsume_times,
            unit_mode: s.unit_mode,
            max_reconsume_times: s.max_reconsume_times,
            batch,
        })
    }
}

impl EncodeExt for SendMessage<'_> {
    /// Writes the V2 letters.
    fn encode(&self, w: &mut ExtWriter<'_>) {
        w.utf8("a", self.producer_group.bytes());
        w.text("b", &self.topic);
        w.utf8("c", self.default_topic.bytes());
        w.int("d", self.default_topic_queue_nums as i64);
        w.int("e", self.queue_id as i64);
        w.int("f", self.sys_flag as i64);
        w.int("g", self.born_timestamp);
        w.int("h", self.flag as i64);
        w.text("i", &self.properties);
        w.int("j", self.reconsume_times as i64);
        w.bool("k", self.unit_mode);
        if let Some(n) = self.max_reconsume_times {
            w.int("l", n as i64);
        }
        w.bool("m", self.batch);
    }
}

#[derive(Default)]
struct Slots<'a> {
    producer_group: Option<FieldValue<'a>>,
    topic: Option<Cow<'a, str>>,
    default_topic: Option<FieldValue<'a>>,
    default_topic_queue_nums: Option<i32>,
    queue_id: Option<i32>,
    sys_flag: Option<i32>,
    born_timestamp: Option<i64>,
    flag: Option<i32>,
    properties: Option<Cow<'a, str>>,
    reconsume_times: i32,
    unit_mode: bool,
    max_reconsume_times: Option<i32>,
    batch: bool,
}

impl<'a> Slots<'a> {
    fn set(&mut self, key: &[u8], value: FieldValue<'a>) {
        let letter = match key {
            [letter] => *letter,
            name => letter_of(name),
        };
        let int = |value: &FieldValue<'a>| value.int().and_then(|n| i32::try_from(n).ok());
        match letter {
            b'a' => self.producer_group = Some(value),
            b'b' => self.topic = value.text(),
            b'c' => self.default_topic = Some(value),
            b'd' => self.default_topic_queue_nums = int(&value),
            b'e' => self.queue_id = int(&value),
            b'f' => self.sys_flag = int(&value),
            b'g' => self.born_timestamp = value.int(),
            b'h' => self.flag = int(&value),
            b'i' => self.properties = value.text(),
            b'j' => self.reconsume_times = int(&value).unwrap_or(0),
            b'k' => self.unit_mode = value.is_true(),
            b'l' => self.max_reconsume_times = int(&value),
            b'm' => self.batch = value.is_true(),
            _ => {}
        }
    }
}

/// Returns the V2 letter of a V1 name; 0 for a name that is not a field of a send.
fn letter_of(name: &[u8]) -> u8 {
    const NAMES: [&[u8]; 13] = [
        b"producerGroup",
        b"topic",
        b"defaultTopic",
        b"defaultTopicQueueNums",
        b"queueId",
        b"sysFlag",
        b"bornTimestamp",
        b"flag",
        b"properties",
        b"reconsumeTimes",
        b"unitMode",
        b"maxReconsumeTimes",
        b"batch",
    ];
    NAMES.iter().position(|n| *n == name).map_or(0, |i| b'a' + i as u8)
}

headers! {
    /// The answer to a send.
    SendMessageReply<'a> {
        /// Offset id, a comma list for a batch.
        msg_id: Cow<'a, str> = "msgId",
        /// Queue the message went to.
        queue_id: i32 = "queueId",
        /// Its position there, that of the first for a batch.
        queue_offset: i64 = "queueOffset",
        /// The message's unique key.
        transaction_id: Option<Cow<'a, str>> = "transactionId",
        /// Region of the broker; never absent, because Java producers read it unchecked.
        region: Cow<'a, str> = "MSG_REGION" or Cow::Borrowed("DefaultRegion"),
        /// Whether the client should write trace records.
        trace_on: Cow<'a, str> = "TRACE_ON" or Cow::Borrowed("true"),
    }

    /// CONSUMER_SEND_MSG_BACK (36): a consumer could not handle a message.
    SendMessageBack<'a> {
        /// Physical offset of the record.
        offset: i64 = "offset",
        /// Consumer group.
        group: Cow<'a, str> = "group",
        /// 0: the broker chooses by attempts; negative: dead letter at once.
        delay_level: i32 = "delayLevel" or 0,
        /// The record's offset id, or that of its first attempt.
        origin_msg_id: Option<Cow<'a, str>> = "originMsgId",
        /// The record's topic.
        origin_topic: Option<Cow<'a, str>> = "originTopic",
        /// Unit mode.
        unit_mode: bool = "unitMode" or false,
        /// Highest number of attempts, when the client sets one.
        max_reconsume_times: Option<i32> = "maxReconsumeTimes",
    }
}

impl<'a> SendMessageReply<'a> {
    /// Reads the answer to a send, as a client does.
    pub fn read(ext: &ExtFields<'a>) -> Result<Self, MissingField> {
        <Self as DecodeExt>::decode(ext)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{self, CommandHead, Decoded};
    use crate::header::Serialization;
    use crate::requests::Fields;

    const V1: [(&str, &str); 13] = [
        ("producerGroup", "P"),
        ("topic", "T"),
        ("defaultTopic", "TBW102"),
        ("defaultTopicQueueNums", "4"),
        ("queueId", "-1"),
        ("sysFlag", "1"),
        ("bornTimestamp", "1700000000000"),
        ("flag", "-7"),
        ("properties", "a\u{1}b\u{2}"),
        ("reconsumeTimes", "2"),
        ("unitMode", "true"),
        ("maxReconsumeTimes", "16"),
        ("batch", "false"),
    ];

    #[test]
    fn both_spellings_in_both_encodings_are_one_send() {
        let letters: Vec<String> = ('a'..='m').map(String::from).collect();
        let v2: Vec<(&str, &str)> = letters.iter().zip(V1).map(|(k, (_, v))| (k.as_str(), v)).collect();
        let mut all = Vec::new();
        for fields in [&V1[..], &v2] {
            for s in [Serialization::Json, Serialization::Binary] {
                let mut bytes = Vec::new();
                frame::encode(&mut bytes, &CommandHead::request(s, 310, 1), &Fields(fields), b"");
                let Decoded::Frame(f, _) = frame::decode(&bytes) else { panic!() };
                let send = SendMessage::decode(RequestCode(310), &f.header.ext).unwrap();
                let lazy = (send.producer_group.bytes().to_vec(), send.default_topic.bytes().to_vec());
                assert_eq!(lazy, (b"P".to_vec(), b"TBW102".to_vec()));
                let same = SendMessage {
                    producer_group: FieldValue::of(""),
                    default_topic: FieldValue::of(""),
                    ..send
                };
                all.push(format!("{same:?}"));
            }
        }
        assert!(all[0].contains("born_timestamp: 1700000000000, flag: -7"), "{}", all[0]);
        assert!(all.iter().all(|s| *s == all[0]), "{all:#?}");
    }

    #[test]
    fn a_missing_field_is_named_as_java_names_it() {
        let ext = ExtFields::Json("{\"a\":\"P\"}");
        let error = SendMessage::decode(RequestCode(310), &ext).unwrap_err();
        assert_eq!(error.to_string(), "the custom field <topic> is null");
    }
}
