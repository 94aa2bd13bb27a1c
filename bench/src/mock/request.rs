//! A send as the mock reads it. Binary headers are walked once, into slots, without checking texts that
//! are only copied: the yardstick for what header parsing has to cost. Other headers go through the
//! protocol crate.

use std::borrow::Cow;

use protocol::codes::RequestCode;
use protocol::frame::FrameView;
use protocol::header::Serialization;
use protocol::requests::{MissingField, SendMessage};

/// The fields of a send that end up in a record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Send<'a> {
    pub json: bool,
    pub opaque: i32,
    pub topic: Cow<'a, [u8]>,
    pub properties: Cow<'a, [u8]>,
    pub queue_id: i32,
    pub sys_flag: i32,
    pub flag: i32,
    pub born_timestamp: i64,
    pub reconsume_times: i32,
    pub body: &'a [u8],
}

/// Reads the send at the front of `buf` if it is whole, binary and well formed, and returns its length.
pub fn read_binary(buf: &[u8]) -> Option<(Send<'_>, usize)> {
    let (total, rest) = int(buf)?;
    let frame = rest.get(..total as usize)?;
    let (word, rest) = int(frame)?;
    let (header, body) = rest.split_at_checked((word & 0x00FF_FFFF) as usize)?;
    // Type byte, then code, language, version, opaque, flag and an empty remark (P§1.3).
    if word >> 24 != 1 || header.get(..2)? != (RequestCode::SEND_MESSAGE_V2.0 as i16).to_be_bytes() {
        return None;
    }
    let (opaque, _) = int(header.get(5..)?)?;
    let (remark, _) = int(header.get(13..)?)?;
    let (length, entries) = int(header.get(17 + remark as usize..)?)?;
    let mut send = Send { opaque: opaque as i32, body, ..Send::default() };
    fill(&mut send, entries.get(..length as usize)?)?;
    Some((send, total as usize + 4))
}

/// Reads a send of any encoding.
pub fn read_any<'a>(request: &FrameView<'a>) -> Result<Send<'a>, MissingField> {
    let send = SendMessage::decode(RequestCode(request.header.code), &request.header.ext)?;
    Ok(Send {
        json: request.header.serialization == Serialization::Json,
        opaque: request.header.opaque,
        topic: bytes(send.topic),
        properties: bytes(send.properties),
        queue_id: send.queue_id,
        sys_flag: send.sys_flag,
        flag: send.flag,
        born_timestamp: send.born_timestamp,
        reconsume_times: send.reconsume_times,
        body: request.body,
    })
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

fn fill<'a>(send: &mut Send<'a>, mut entries: &'a [u8]) -> Option<()> {
    while !entries.is_empty() {
        let (length, rest) = entries.split_first_chunk::<2>()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let (length, rest) = int(rest)?;
        let (value, rest) = rest.split_at_checked(length as usize)?;
        entries = rest;
        match key {
            b"b" => send.topic = Cow::Borrowed(value),
            b"e" => send.queue_id = number(value)? as i32,
            b"f" => send.sys_flag = number(value)? as i32,
            b"g" => send.born_timestamp = number(value)?,
            b"h" => send.flag = number(value)? as i32,
            b"i" => send.properties = Cow::Borrowed(value),
            b"j" => send.reconsume_times = number(value)? as i32,
            _ => {}
        }
    }
    Some(())
}

fn int(buf: &[u8]) -> Option<(u32, &[u8])> {
    let (bytes, rest) = buf.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*bytes), rest))
}

fn number(digits: &[u8]) -> Option<i64> {
    let (negative, digits) = match digits {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let value = digits.iter().try_fold(0_i64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Call, Messages, Sender, Workload};
    use protocol::frame::{self, Decoded};

    fn frame(header: Serialization) -> Vec<u8> {
        let messages = Messages { topic: "BenchmarkTest".to_owned(), queues: 8, body: 100, header };
        let mut out = Vec::new();
        Sender::new(&messages, 3).request(Call::at(7), &mut out);
        out
    }

    #[test]
    fn the_short_way_reads_what_the_protocol_crate_reads() {
        let bytes = frame(Serialization::Binary);
        let Decoded::Frame(view, length) = frame::decode(&bytes) else { panic!("a whole frame") };
        assert_eq!(read_binary(&bytes), Some((read_any(&view).unwrap(), length)));
    }

    #[test]
    fn half_frames_other_codes_and_json_are_left_to_the_long_way() {
        let bytes = frame(Serialization::Binary);
        for cut in 0..bytes.len() {
            assert_eq!(read_binary(&bytes[..cut]), None, "{cut}");
        }
        let mut other = bytes;
        other[9] += 1;
        assert_eq!(read_binary(&other), None);
        assert_eq!(read_binary(&frame(Serialization::Json)), None);
    }
}
