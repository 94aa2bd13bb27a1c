//! A stored message (P§4.1): the bytes of the commit log, which are also what clients pull. Encoding leaves the
//! three fields that only the log's tail knows to be filled in: queue offset, physical offset, store timestamp.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::properties::ENTRY_END;

/// Magic of a record with a one-byte topic length.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;
/// Magic of a record with a two-byte topic length.
pub const MAGIC_V2: u32 = 0xDAA3_20AB;
/// Magic of the filler at the end of a segment.
pub const MAGIC_BLANK: u32 = 0xCBD4_3194;
/// Bytes of the filler that carry meaning: its size and its magic.
pub const BLANK_HEAD: usize = 8;
/// Topics longer than this are written in V2 records.
pub const MAX_TOPIC_V1: usize = i8::MAX as usize;

/// `sysFlag`: the body is compressed.
pub const SYS_COMPRESSED: i32 = 1;
/// `sysFlag`: bits of the transaction state; 0 none, 4 prepared, 8 commit, 12 rollback.
pub const SYS_TRANSACTION: i32 = 12;
/// `sysFlag`: `bornHost` is IPv6.
pub const SYS_BORN_V6: i32 = 16;
/// `sysFlag`: `storeHost` is IPv6.
pub const SYS_STORE_V6: i32 = 32;

const QUEUE_OFFSET: usize = 20;
const PHYSICAL_OFFSET: usize = 28;
const SYS_FLAG: usize = 36;
const BORN_HOST: usize = 48;

/// A message about to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    /// Topic, at most 255 bytes.
    pub topic: &'a str,
    /// Queue.
    pub queue_id: i32,
    /// The user's own number.
    pub flag: i32,
    /// Bits of P§4.3; the two address bits are set by the encoder.
    pub sys_flag: i32,
    /// When the producer made it, ms since 1970.
    pub born_timestamp: i64,
    /// Where it came from.
    pub born_host: SocketAddr,
    /// The broker's address.
    pub store_host: SocketAddr,
    /// How often it was consumed in vain.
    pub reconsume_times: i32,
    /// Physical offset of the half message, 0 otherwise.
    pub prepared_transaction_offset: i64,
    /// Body as it came.
    pub body: &'a [u8],
    /// Properties as they came.
    pub properties: &'a str,
    /// Entries the broker adds, each ending in 0x02.
    pub more_properties: &'a str,
}

impl NewRecord<'_> {
    fn separator(&self) -> bool {
        !self.more_properties.is_empty()
            && !self.properties.is_empty()
            && self.properties.as_bytes().last() != Some(&ENTRY_END)
    }

    /// Returns the bytes of properties the record will carry.
    pub fn properties_len(&self) -> usize {
        self.properties.len() + self.separator() as usize + self.more_properties.len()
    }

    /// Appends the record to `out`; the fields of [`assign`] are zero. The caller has checked the limits of P§4.2.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let long_topic = self.topic.len() > MAX_TOPIC_V1;
        let properties_len = self.properties_len();
        let sys_flag = (self.sys_flag & !(SYS_BORN_V6 | SYS_STORE_V6))
            | if self.born_host.is_ipv6() { SYS_BORN_V6 } else { 0 }
            | if self.store_host.is_ipv6() { SYS_STORE_V6 } else { 0 };
        // The fixed part is put together on the stack: one copy into the buffer instead of sixteen.
        let mut head = Head { bytes: [0; LONGEST_HEAD], len: 4 };
        head.put((if long_topic { MAGIC_V2 } else { MAGIC_V1 }).to_be_bytes());
        head.put(body_crc(self.body).to_be_bytes());
        head.put(self.queue_id.to_be_bytes());
        head.put(self.flag.to_be_bytes());
        head.put([0; 16]);
        head.put(sys_flag.to_be_bytes());
        head.put(self.born_timestamp.to_be_bytes());
        head.put_host(self.born_host);
        head.put([0; 8]);
        head.put_host(self.store_host);
        head.put(self.reconsume_times.to_be_bytes());
        head.put(self.prepared_transaction_offset.to_be_bytes());
        head.put((self.body.len() as u32).to_be_bytes());
        let topic_len = if long_topic { 2 } else { 1 };
        let total = head.len + self.body.len() + topic_len + self.topic.len() + 2 + properties_len;
        head.bytes[..4].copy_from_slice(&(total as u32).to_be_bytes());
        out.reserve(total);
        out.extend_from_slice(&head.bytes[..head.len]);
        out.extend_from_slice(self.body);
        out.extend_from_slice(&(self.topic.len() as u16).to_be_bytes()[2 - topic_len..]);
        out.extend_from_slice(self.topic.as_bytes());
        out.extend_from_slice(&(properties_len as u16).to_be_bytes());
        out.extend_from_slice(self.properties.as_bytes());
        if self.separator() {
            out.push(ENTRY_END);
        }
        out.extend_from_slice(self.more_properties.as_bytes());
    }
}

/// Bytes before the body when both addresses are IPv6.
const LONGEST_HEAD: usize = 88 + 24;

/// The fixed part of a record.
struct Head {
    bytes: [u8; LONGEST_HEAD],
    len: usize,
}

impl Head {
    fn put<const N: usize>(&mut self, field: [u8; N]) {
        self.bytes[self.len..self.len + N].copy_from_slice(&field);
        self.len += N;
    }

    fn put_host(&mut self, host: SocketAddr) {
        match host.ip() {
            IpAddr::V4(ip) => self.put(ip.octets()),
            IpAddr::V6(ip) => self.put(ip.octets()),
        }
        self.put((host.port() as u32).to_be_bytes());
    }
}

/// Fills in what only the log's tail knows.
pub fn assign(record: &mut [u8], queue_offset: i64, physical_offset: i64, store_timestamp: i64) {
    record[QUEUE_OFFSET..QUEUE_OFFSET + 8].copy_from_slice(&queue_offset.to_be_bytes());
    record[PHYSICAL_OFFSET..PHYSICAL_OFFSET + 8].copy_from_slice(&physical_offset.to_be_bytes());
    let at = store_timestamp_at(record);
    record[at..at + 8].copy_from_slice(&store_timestamp.to_be_bytes());
}

fn store_timestamp_at(record: &[u8]) -> usize {
    BORN_HOST + if int_at(record, SYS_FLAG) as i32 & SYS_BORN_V6 != 0 { 20 } else { 8 }
}

/// Bytes from the start of a record that suffice to call [`store_timestamp`].
pub const TIMESTAMP_PREFIX: usize = BORN_HOST + 20 + 8;

/// Reads the store timestamp from the first [`TIMESTAMP_PREFIX`] bytes of a record.
pub fn store_timestamp(prefix: &[u8]) -> Option<i64> {
    if prefix.len() < BORN_HOST {
        return None;
    }
    let at = store_timestamp_at(prefix);
    prefix.get(at..at + 8).map(|b| i64::from_be_bytes(b.try_into().unwrap_or_default()))
}

/// CRC-32 of a body with the sign bit cleared (P§4.5).
pub fn body_crc(body: &[u8]) -> u32 {
    crc32fast::hash(body) & 0x7FFF_FFFF
}

fn int_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// A record read back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record<'a> {
    /// Bytes of the whole record.
    pub total_size: usize,
    /// CRC the record carries.
    pub body_crc: u32,
    /// Queue.
    pub queue_id: i32,
    /// The user's own number.
    pub flag: i32,
    /// Position in its queue.
    pub queue_offset: i64,
    /// Position in the log.
    pub physical_offset: i64,
    /// Bits of P§4.3.
    pub sys_flag: i32,
    /// When the producer made it, ms since 1970.
    pub born_timestamp: i64,
    /// Where it came from.
    pub born_host: SocketAddr,
    /// When the broker stored it, ms since 1970.
    pub store_timestamp: i64,
    /// The broker's address.
    pub store_host: SocketAddr,
    /// How often it was consumed in vain.
    pub reconsume_times: i32,
    /// Physical offset of the half message.
    pub prepared_transaction_offset: i64,
    /// Body, perhaps compressed.
    pub body: &'a [u8],
    /// Topic.
    pub topic: &'a str,
    /// Properties as of P§4.4.
    pub properties: &'a str,
}

/// What stands at a position of the log.
#[derive(Debug, PartialEq)]
pub enum Decoded<'a> {
    /// A record.
    Record(Record<'a>),
    /// The filler at the end of a segment, with its size.
    Blank(usize),
    /// Only a part of it is in the buffer; this many bytes are needed.
    NeedMore(usize),
    /// Nothing: zeros, or bytes that are no record.
    Malformed(&'static str),
}

/// The smallest possible record: no body, no topic, no properties.
pub const MIN_RECORD: usize = 91;

/// Decodes what stands at the front of `bytes`. The body's CRC is not checked; see [`Record::intact`].
pub fn decode(bytes: &[u8], max_size: usize) -> Decoded<'_> {
    if bytes.len() < BLANK_HEAD {
        return Decoded::NeedMore(BLANK_HEAD);
    }
    let total = int_at(bytes, 0) as usize;
    let long_topic = match int_at(bytes, 4) {
        MAGIC_BLANK => {
            return if total >= BLANK_HEAD {
                Decoded::Blank(total)
            } else {
                Decoded::Malformed("blank size")
            };
        }
        MAGIC_V1 => false,
        MAGIC_V2 => true,
        0 if total == 0 => return Decoded::Malformed("zeros"),
        _ => return Decoded::Malformed("magic"),
    };
    if !(MIN_RECORD..=max_size).contains(&total) {
        return Decoded::Malformed("size");
    }
    let Some(bytes) = bytes.get(..total) else { return Decoded::NeedMore(total) };
    match fields(bytes, long_topic) {
        Some(record) => Decoded::Record(record),
        None => Decoded::Malformed("lengths"),
    }
}

fn fields(bytes: &[u8], long_topic: bool) -> Option<Record<'_>> {
    let mut c = Cursor { bytes, at: 8 };
    let body_crc = c.u32()?;
    let queue_id = c.i32()?;
    let flag = c.i32()?;
    let queue_offset = c.i64()?;
    let physical_offset = c.i64()?;
    let sys_flag = c.i32()?;
    let born_timestamp = c.i64()?;
    let born_host = c.host(sys_flag & SYS_BORN_V6 != 0)?;
    let store_timestamp = c.i64()?;
    let store_host = c.host(sys_flag & SYS_STORE_V6 != 0)?;
    let reconsume_times = c.i32()?;
    let prepared_transaction_offset = c.i64()?;
    let body_len = c.u32()? as usize;
    let body = c.take(body_len)?;
    let topic_len = if long_topic { u16::from_be_bytes(c.array()?) as usize } else { c.take(1)?[0] as usize };
    let topic = std::str::from_utf8(c.take(topic_len)?).ok()?;
    let properties_len = u16::from_be_bytes(c.array()?) as usize;
    let properties = std::str::from_utf8(c.take(properties_len)?).ok()?;
    (c.at == bytes.len()).then_some(Record {
        total_size: bytes.len(),
        body_crc,
        queue_id,
        flag,
        queue_offset,
        physical_offset,
        sys_flag,
        born_timestamp,
        born_host,
        store_timestamp,
        store_host,
        reconsume_times,
        prepared_transaction_offset,
        body,
        topic,
        properties,
    })
}

impl Record<'_> {
    /// Says whether the body has the CRC the record carries.
    pub fn intact(&self) -> bool {
        body_crc(self.body) == self.body_crc
    }

    /// Returns the id that names this record by address and position (P§4.5).
    pub fn offset_msg_id(&self) -> String {
        offset_msg_id(self.store_host, self.physical_offset)
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let part = self.bytes.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(part)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.array()?))
    }
    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.array()?))
    }
    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.array()?))
    }
    fn host(&mut self, v6: bool) -> Option<SocketAddr> {
        let ip: IpAddr = if v6 {
            Ipv6Addr::from(self.array::<16>()?).into()
        } else {
            Ipv4Addr::from(self.array::<4>()?).into()
        };
        Some(SocketAddr::new(ip, self.u32()? as u16))
    }
}

/// Returns the id made of a broker's address and a physical offset: upper-case hex, 32 or 56 digits (P§4.5).
pub fn offset_msg_id(store_host: SocketAddr, physical_offset: i64) -> String {
    let mut text = String::with_capacity(56);
    push_offset_msg_id(&mut text, store_host, physical_offset);
    text
}

/// Appends [`offset_msg_id`] to a string.
pub fn push_offset_msg_id(out: &mut String, store_host: SocketAddr, physical_offset: i64) {
    let (text, len) = offset_msg_id_digits(store_host, physical_offset);
    out.push_str(std::str::from_utf8(&text[..len]).unwrap_or_default());
}

/// Returns the digits of [`offset_msg_id`] and how many there are, without memory of their own.
pub fn offset_msg_id_digits(store_host: SocketAddr, physical_offset: i64) -> ([u8; 56], usize) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut bytes = [0; 28];
    let ip = match store_host.ip() {
        IpAddr::V4(ip) => {
            bytes[..4].copy_from_slice(&ip.octets());
            4
        }
        IpAddr::V6(ip) => {
            bytes[..16].copy_from_slice(&ip.octets());
            16
        }
    };
    bytes[ip..ip + 4].copy_from_slice(&(store_host.port() as u32).to_be_bytes());
    bytes[ip + 4..ip + 12].copy_from_slice(&physical_offset.to_be_bytes());
    let mut text = [0; 56];
    for (pair, b) in text.chunks_exact_mut(2).zip(&bytes[..ip + 12]) {
        pair[0] = DIGITS[(b >> 4) as usize];
        pair[1] = DIGITS[(b & 15) as usize];
    }
    (text, 2 * (ip + 12))
}

/// One message inside the body of a batch send (P§4.6).
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct BatchItem<'a> {
    /// The user's own number.
    pub flag: i32,
    /// Body.
    pub body: &'a [u8],
    /// Properties.
    pub properties: &'a str,
}

/// Splits the front item off a batch body; `None` when it is malformed.
pub fn next_batch_item(bytes: &[u8]) -> Option<(BatchItem<'_>, &[u8])> {
    let total = int_at(bytes.get(..4)?, 0) as usize;
    let (item, rest) = bytes.split_at_checked(total)?;
    let mut c = Cursor { bytes: item, at: 12 };
    let flag = c.i32()?;
    let body_len = c.u32()? as usize;
    let body = c.take(body_len)?;
    let properties_len = u16::from_be_bytes(c.array()?) as usize;
    let properties = std::str::from_utf8(c.take(properties_len)?).ok()?;
    (c.at == item.len()).then_some((BatchItem { flag, body, properties }, rest))
}

/// Appends one item to a batch body.
pub fn push_batch_item(out: &mut Vec<u8>, item: &BatchItem<'_>) {
    let total = 4 + 4 + 4 + 4 + 4 + item.body.len() + 2 + item.properties.len();
    out.extend_from_slice(&(total as u32).to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&item.flag.to_be_bytes());
    out.extend_from_slice(&(item.body.len() as u32).to_be_bytes());
    out.extend_from_slice(item.body);
    out.extend_from_slice(&(item.properties.len() as u16).to_be_bytes());
    out.extend_from_slice(item.properties.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new<'a>(topic: &'a str, properties: &'a str, v6: bool) -> NewRecord<'a> {
        NewRecord {
            topic,
            queue_id: 3,
            flag: 7,
            sys_flag: SYS_COMPRESSED,
            born_timestamp: 1_700_000_000_001,
            born_host: if v6 { "[fe80::1]:5555".parse().unwrap() } else { "10.0.0.9:5555".parse().unwrap() },
            store_host: "10.0.0.1:10911".parse().unwrap(),
            reconsume_times: 2,
            prepared_transaction_offset: 99,
            body: b"hello",
            properties,
            more_properties: "CLUSTER\u{1}C1\u{2}",
        }
    }

    #[test]
    fn a_v1_record_has_the_bytes_of_the_table() {
        let mut out = Vec::new();
        new("T1", "TAGS\u{1}a", false).encode(&mut out);
        assign(&mut out, 11, 22, 33);
        let mut want = Vec::new();
        want.extend_from_slice(&(91u32 + 5 + 2 + 7 + 11).to_be_bytes());
        want.extend_from_slice(&[0xDA, 0xA3, 0x20, 0xA7]);
        want.extend_from_slice(&(0x3610A686u32 & 0x7FFF_FFFF).to_be_bytes());
        want.extend_from_slice(&[0, 0, 0, 3, 0, 0, 0, 7]);
        want.extend_from_slice(&11i64.to_be_bytes());
        want.extend_from_slice(&22i64.to_be_bytes());
        want.extend_from_slice(&1i32.to_be_bytes());
        want.extend_from_slice(&1_700_000_000_001i64.to_be_bytes());
        want.extend_from_slice(&[10, 0, 0, 9, 0, 0, 0x15, 0xB3]);
        want.extend_from_slice(&33i64.to_be_bytes());
        want.extend_from_slice(&[10, 0, 0, 1, 0, 0, 0x2A, 0x9F]);
        want.extend_from_slice(&2i32.to_be_bytes());
        want.extend_from_slice(&99i64.to_be_bytes());
        want.extend_from_slice(&5u32.to_be_bytes());
        want.extend_from_slice(b"hello");
        want.extend_from_slice(b"\x02T1");
        want.extend_from_slice(&18u16.to_be_bytes());
        want.extend_from_slice(b"TAGS\x01a\x02CLUSTER\x01C1\x02");
        assert_eq!(out, want);
    }

    #[test]
    fn records_decode_to_what_was_encoded() {
        let long = "T".repeat(200);
        for (topic, v6) in [("T1", false), ("T1", true), (long.as_str(), false)] {
            let mut out = Vec::new();
            new(topic, "", v6).encode(&mut out);
            assign(&mut out, 1, 2, 3);
            let Decoded::Record(r) = decode(&out, 1 << 20) else { panic!() };
            assert_eq!((r.queue_offset, r.physical_offset, r.store_timestamp), (1, 2, 3));
            assert_eq!((r.topic, r.body, r.properties), (topic, &b"hello"[..], "CLUSTER\u{1}C1\u{2}"));
            assert_eq!(r.sys_flag, SYS_COMPRESSED | if v6 { SYS_BORN_V6 } else { 0 });
            assert_eq!(store_timestamp(&out[..TIMESTAMP_PREFIX]), Some(3));
            assert!(r.intact());
        }
    }

    #[test]
    fn anything_cut_or_changed_is_noticed() {
        let mut out = Vec::new();
        new("T1", "", false).encode(&mut out);
        for cut in 0..out.len() {
            assert!(matches!(decode(&out[..cut], 1 << 20), Decoded::NeedMore(_)), "{cut}");
        }
        assert_eq!(decode(&[0; 100], 1 << 20), Decoded::Malformed("zeros"));
        assert_eq!(decode(&out, 100), Decoded::Malformed("size"));
        let mut bad = out.clone();
        bad[89] ^= 1;
        let Decoded::Record(r) = decode(&bad, 1 << 20) else { panic!() };
        assert!(!r.intact());
        bad = out;
        bad[87] = 200;
        assert_eq!(decode(&bad, 1 << 20), Decoded::Malformed("lengths"));
    }

    #[test]
    fn the_offset_id_is_address_and_position_in_hex() {
        assert_eq!(offset_msg_id("10.0.0.1:10911".parse().unwrap(), 255), "0A00000100002A9F00000000000000FF");
    }

    #[test]
    fn batch_items_round_trip_and_bad_ones_are_refused() {
        let item = BatchItem { flag: 5, body: b"xy", properties: "a\u{1}b\u{2}" };
        let mut body = Vec::new();
        push_batch_item(&mut body, &item);
        let (got, rest) = next_batch_item(&body).unwrap();
        assert_eq!((got, rest.len()), (item, 0));
        for cut in 0..body.len() {
            assert!(next_batch_item(&body[..cut]).is_none());
        }
        body[3] += 1;
        body.push(0);
        assert!(next_batch_item(&body).is_none());
    }
}
