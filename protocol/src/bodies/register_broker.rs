//! Everything a broker tells a name server about its topics (103), plain or compressed.
//!
//! Compressed, it is a zlib stream of counts and lengths (i32, big-endian) and text:
//!
//! | Part | Encoding |
//! |---|---|
//! | data version | length, JSON |
//! | topics | count, then per topic length and `name readNum writeNum perm filterType attributesJson` |
//! | filter servers | length, JSON array |
//! | static-topic mappings | count, then per mapping length and JSON; only from senders since V5_0_0 |

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};

use super::data_version::DataVersion;
use super::topic_config::{TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicFilterType};
use super::topic_queue_mapping::TopicQueueMappingInfo;
use crate::json::{self, Dialect, JsonBody, JsonError};

/// The most bytes a compressed body may unfold to: what a plain one may have as a frame.
pub const MAX_INFLATED: u64 = 16 * 1024 * 1024;

/// The version from which senders append the static-topic mappings (V5_0_0).
pub const MAPPINGS_SINCE: i32 = 413;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegisterBrokerBody {
    pub filter_server_list: Vec<String>,
    pub topic_config_serialize_wrapper: TopicConfigAndMappingSerializeWrapper,
}

/// The plain form.
impl JsonBody for RegisterBrokerBody {}

/// Why a compressed body cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InflateError {
    /// No zlib stream, or it ends early.
    #[error("inflate register body: {0}")]
    Stream(#[from] io::Error),
    #[error("inflate register body: more than {MAX_INFLATED} bytes")]
    TooLarge,
    #[error("inflate register body: negative length or count {0}")]
    Length(i32),
    #[error("inflate register body: topic entry {0:?} is not 'name read write perm filter attributes'")]
    Topic(String),
    #[error("inflate register body: {0}")]
    Json(#[from] JsonError),
}

impl RegisterBrokerBody {
    /// Returns the compressed form, as senders since V5_0_0 write it.
    #[must_use]
    pub fn deflate(&self) -> Vec<u8> {
        let topics = &self.topic_config_serialize_wrapper;
        let mut plain = Vec::new();
        put_text(&mut plain, &topics.data_version.encode());
        put_count(&mut plain, topics.topic_config_table.len());
        for topic in topics.topic_config_table.values() {
            put_text(&mut plain, encode_topic(topic).as_bytes());
        }
        put_text(&mut plain, &json::to_vec(&self.filter_server_list, Dialect::Java));
        put_count(&mut plain, topics.topic_queue_mapping_info_map.len());
        for mapping in topics.topic_queue_mapping_info_map.values() {
            put_text(&mut plain, &mapping.encode());
        }
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&plain).and_then(|()| encoder.finish()).expect("writing to memory cannot fail")
    }

    /// Reads the compressed form of a sender of `sender_version`.
    ///
    /// # Errors
    /// Every [`InflateError`]; no more than [`MAX_INFLATED`] bytes are unfolded to find out.
    pub fn inflate(compressed: &[u8], sender_version: i32) -> Result<Self, InflateError> {
        let mut stream = Inflated { decoder: ZlibDecoder::new(compressed), left: MAX_INFLATED };
        let mut body = Self::default();
        let topics = &mut body.topic_config_serialize_wrapper;
        topics.data_version = DataVersion::decode(&stream.text()?)?;
        for _ in 0..stream.count()? {
            let topic = decode_topic(&stream.text()?)?;
            topics.topic_config_table.insert(topic.topic_name.clone(), topic);
        }
        // The reference implementation logs a bad list and goes on without it; so does this reader, silently.
        body.filter_server_list = json::from_slice(&stream.text()?).unwrap_or_default();
        if sender_version >= MAPPINGS_SINCE {
            for _ in 0..stream.count()? {
                let mapping = TopicQueueMappingInfo::decode(&stream.text()?)?;
                topics.topic_queue_mapping_info_map.insert(mapping.topic.clone(), mapping);
            }
        }
        Ok(body)
    }
}

/// The checksum of `bodyCrc32`: CRC-32 of the body as sent, without the sign bit.
#[must_use]
pub fn body_crc32(body: &[u8]) -> i32 {
    (crc32fast::hash(body) & 0x7fff_ffff) as i32
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = i32::try_from(count).expect("a broker has fewer than two thousand million entries");
    out.extend_from_slice(&count.to_be_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_count(out, text.len());
    out.extend_from_slice(text);
}

struct Inflated<'a> {
    decoder: ZlibDecoder<&'a [u8]>,
    left: u64,
}

impl Inflated<'_> {
    fn count(&mut self) -> Result<u32, InflateError> {
        let mut bytes = [0; 4];
        self.spend(4)?;
        self.decoder.read_exact(&mut bytes)?;
        let count = i32::from_be_bytes(bytes);
        u32::try_from(count).map_err(|_| InflateError::Length(count))
    }

    /// A length and that many bytes. The buffer grows with what really arrives, not with what was announced.
    fn text(&mut self) -> Result<Vec<u8>, InflateError> {
        let length = u64::from(self.count()?);
        self.spend(length)?;
        let mut text = Vec::new();
        self.decoder.by_ref().take(length).read_to_end(&mut text)?;
        if (text.len() as u64) < length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(text)
    }

    fn spend(&mut self, bytes: u64) -> Result<(), InflateError> {
        self.left = self.left.checked_sub(bytes).ok_or(InflateError::TooLarge)?;
        Ok(())
    }
}

fn encode_topic(topic: &TopicConfig) -> String {
    let attributes = String::from_utf8(json::to_vec(&topic.attributes, Dialect::Java)).unwrap_or_default();
    let TopicConfig { topic_name, read_queue_nums, write_queue_nums, perm, topic_filter_type, .. } = topic;
    let filter = topic_filter_type.name();
    format!("{topic_name} {read_queue_nums} {write_queue_nums} {perm} {filter} {attributes}")
}

fn decode_topic(text: &[u8]) -> Result<TopicConfig, InflateError> {
    let text = String::from_utf8_lossy(text);
    parse_topic(&text).ok_or_else(|| InflateError::Topic(text.chars().take(200).collect()))
}

fn parse_topic(text: &str) -> Option<TopicConfig> {
    let mut parts = text.splitn(6, ' ');
    Some(TopicConfig {
        topic_name: parts.next().filter(|name| !name.is_empty())?.to_owned(),
        read_queue_nums: parts.next()?.parse().ok()?,
        write_queue_nums: parts.next()?.parse().ok()?,
        perm: parts.next()?.parse().ok()?,
        topic_filter_type: TopicFilterType::from_name(parts.next()?)?,
        // Attributes that cannot be read are dropped, the topic stays: routes do not need them.
        attributes: parts.next().and_then(|text| json::from_slice(text.as_bytes()).ok()).unwrap_or_default(),
        ..TopicConfig::default()
    })
}
