//! Messages as an application sees them: what it sends, what it receives, and the key that names a
//! message from the first to the last.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Read;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use flate2::read::ZlibDecoder;
use protocol::message::{self, Decoded, Record, SYS_COMPRESSED};
use protocol::properties::{self, names};

/// The most bytes that a compressed body may unfold to.
pub const MAX_INFLATED: u64 = 16 << 20;

/// Bits of the system flag that name the compression; 0 and 3 of them are zlib.
const COMPRESSION_SHIFT: i32 = 8;

/// A message to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The topic.
    pub topic: String,
    /// The content.
    pub body: Vec<u8>,
    /// What consumers can filter by.
    pub tag: Option<String>,
    /// What it can be looked up by.
    pub keys: Vec<String>,
    /// Anything else the application wants to carry; not the reserved names.
    pub properties: Vec<(String, String)>,
}

impl Message {
    /// Creates a message that has only a content.
    pub fn new(topic: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { topic: topic.into(), body: body.into(), ..Self::default() }
    }

    /// Returns the properties as the wire has them, named by `unique_key`.
    pub(crate) fn encode_properties(&self, unique_key: &str) -> String {
        let mut text = String::new();
        for (name, value) in &self.properties {
            properties::push(&mut text, name, value);
        }
        if let Some(tag) = &self.tag {
            properties::push(&mut text, names::TAGS, tag);
        }
        if !self.keys.is_empty() {
            properties::push(&mut text, names::KEYS, &self.keys.join(" "));
        }
        properties::push(&mut text, names::UNIQ_KEY, unique_key);
        properties::push(&mut text, names::WAIT, "true");
        text
    }
}

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The topic.
    pub topic: String,
    /// Broker group it came from.
    pub broker_name: String,
    /// Queue.
    pub queue_id: i32,
    /// Position there.
    pub queue_offset: i64,
    /// The content, unfolded if it was compressed with zlib.
    pub body: Bytes,
    /// All properties, the reserved ones too.
    pub properties: Vec<(String, String)>,
    /// Where the producer was.
    pub born_host: SocketAddr,
    /// When the producer made it, ms since 1970.
    pub born_timestamp: i64,
    /// When the broker stored it, ms since 1970.
    pub store_timestamp: i64,
    /// How often it was consumed in vain.
    pub reconsume_times: i32,
    /// The id that users see: the unique key, or made of the position where there is none.
    pub id: String,
}

impl Received {
    /// Returns a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the tag.
    pub fn tag(&self) -> Option<&str> {
        self.property(names::TAGS)
    }

    fn from_record(record: &Record<'_>, broker_name: &str) -> Result<Self, UnreadableRecord> {
        let unreadable = |problem| UnreadableRecord { queue_offset: record.queue_offset, problem };
        if !record.intact() {
            return Err(unreadable("the body's checksum is wrong"));
        }
        let entries = properties::entries(record.properties);
        Ok(Self {
            topic: record.topic.to_owned(),
            broker_name: broker_name.to_owned(),
            queue_id: record.queue_id,
            queue_offset: record.queue_offset,
            body: unfold(record).map_err(unreadable)?,
            properties: entries.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            born_host: record.born_host,
            born_timestamp: record.born_timestamp,
            store_timestamp: record.store_timestamp,
            reconsume_times: record.reconsume_times,
            id: properties::get(record.properties, names::UNIQ_KEY)
                .map_or_else(|| record.offset_msg_id(), str::to_owned),
        })
    }
}

/// A record in the answer to a pull that cannot be handed on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("record at queue offset {queue_offset}: {problem}")]
pub struct UnreadableRecord {
    /// Its position, or -1 when not even that can be read.
    pub queue_offset: i64,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Reads the records of a pull.
///
/// # Errors
/// The first record that is damaged, too large once unfolded, or compressed in a way that is not zlib.
pub fn read_records(records: &[u8], broker_name: &str) -> Result<Vec<Received>, UnreadableRecord> {
    let mut received = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        match message::decode(rest, records.len()) {
            Decoded::Record(record) => {
                rest = &rest[record.total_size..];
                received.push(Received::from_record(&record, broker_name)?);
            }
            Decoded::Blank(_) | Decoded::NeedMore(_) | Decoded::Malformed(_) => {
                return Err(UnreadableRecord { queue_offset: -1, problem: "not a whole record" });
            }
        }
    }
    Ok(received)
}

fn unfold(record: &Record<'_>) -> Result<Bytes, &'static str> {
    if record.sys_flag & SYS_COMPRESSED == 0 {
        return Ok(Bytes::copy_from_slice(record.body));
    }
    if !matches!((record.sys_flag >> COMPRESSION_SHIFT) & 7, 0 | 3) {
        return Err("the body is compressed with something other than zlib");
    }
    let mut plain = Vec::new();
    let read = ZlibDecoder::new(record.body).take(MAX_INFLATED + 1).read_to_end(&mut plain);
    match read {
        Ok(length) if length as u64 <= MAX_INFLATED => Ok(plain.into()),
        Ok(_) => Err("the body unfolds to more than 16 MiB"),
        Err(_) => Err("the body cannot be unfolded"),
    }
}

/// Returns a new unique key in the form of Java's clients (P§4.5), which tools read the time from: 32
/// upper-case hexadecimal digits of address and process (random here), milliseconds since the month
/// began, and a counter.
pub fn unique_key() -> String {
    static PROCESS: OnceLock<u128> = OnceLock::new();
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let process = PROCESS.get_or_init(|| {
        let random = || u128::from(RandomState::new().build_hasher().finish());
        (random() << 64 | random()) << 48
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let key =
        process | u128::from(ms_of_month(now)) << 16 | u128::from(COUNT.fetch_add(1, Ordering::Relaxed));
    format!("{key:032X}")
}

const DAY_MS: u64 = 24 * 3600 * 1000;

// The calendar of 400-year cycles that begin on 1 March of the year 0, where leap days come last.
fn ms_of_month(since_epoch_ms: u64) -> u32 {
    let day_of_cycle = (since_epoch_ms / DAY_MS + 719_468) % 146_097;
    let year = (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5;
    (day_of_month * DAY_MS + since_epoch_ms % DAY_MS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::message::NewRecord;
    use std::io::Write;

    fn record(body: &[u8], sys_flag: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let host = "127.0.0.1:10911".parse().unwrap();
        let new = NewRecord {
            topic: "T",
            queue_id: 3,
            flag: 0,
            sys_flag,
            born_timestamp: 1,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties: "TAGS\u{1}a\u{2}UNIQ_KEY\u{1}K\u{2}",
            more_properties: "",
        };
        new.encode(&mut bytes);
        message::assign(&mut bytes, 7, 1000, 2);
        bytes
    }

    #[test]
    fn records_become_messages_and_compressed_bodies_are_unfolded() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(b"hello").unwrap();
        let mut records = record(b"hello", 0);
        records.extend(record(&zlib.finish().unwrap(), SYS_COMPRESSED));
        let messages = read_records(&records, "broker-a").unwrap();
        assert_eq!(messages.len(), 2);
        for message in &messages {
            assert_eq!((message.queue_id, message.queue_offset, message.tag()), (3, 7, Some("a")));
            assert_eq!((message.body.as_ref(), message.id.as_str()), (&b"hello"[..], "K"));
        }
    }

    #[test]
    fn a_damaged_cut_or_strangely_compressed_record_is_refused() {
        let mut damaged = record(b"hello", 0);
        damaged[88] ^= 1;
        let cases = [
            (damaged, 7, "the body's checksum is wrong"),
            (record(b"hello", 0)[..90].to_vec(), -1, "not a whole record"),
            (record(b"x", SYS_COMPRESSED), 7, "the body cannot be unfolded"),
            (
                record(b"x", SYS_COMPRESSED | 1 << 8),
                7,
                "the body is compressed with something other than zlib",
            ),
        ];
        for (bytes, queue_offset, problem) in cases {
            assert_eq!(read_records(&bytes, "b"), Err(UnreadableRecord { queue_offset, problem }));
        }
    }

    #[test]
    fn properties_carry_tag_keys_and_the_unique_key() {
        let message = Message {
            tag: Some("a".into()),
            keys: vec!["k1".into(), "k2".into()],
            properties: vec![("colour".into(), "red".into())],
            ..Message::new("T", "body")
        };
        let text = message.encode_properties("K");
        let expected =
            [("colour", "red"), ("TAGS", "a"), ("KEYS", "k1 k2"), ("UNIQ_KEY", "K"), ("WAIT", "true")];
        assert_eq!(properties::entries(&text).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn unique_keys_have_javas_form_and_differ() {
        let (a, b) = (unique_key(), unique_key());
        assert!(a.len() == 32 && a.bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert_ne!(a, b);
    }

    #[test]
    fn a_unique_key_tells_the_time_since_the_month_began() {
        let cases = [
            (0, 0),
            (30 * DAY_MS + 5, 30 * DAY_MS + 5),
            (31 * DAY_MS, 0),
            // 29 February and 1 March 2024, noon.
            (1_709_208_000_000, 28 * DAY_MS + DAY_MS / 2),
            (1_709_294_400_000, DAY_MS / 2),
            // The last millisecond of 2025.
            (1_767_225_599_999, 31 * DAY_MS - 1),
        ];
        for (now, expected) in cases {
            assert_eq!(u64::from(ms_of_month(now)), expected, "{now}");
        }
    }
}
