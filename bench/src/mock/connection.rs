//! A connection of the mock: all frames of a read are appended together and answered together.

use std::borrow::Cow;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, CommandHead, Decoded, FrameView};
use protocol::header::{FLAG_RESPONSE, Serialization};
use protocol::requests::{DecodeExt, NoFields, PullMessage, PullMessageReply, SendMessageReply};

use super::Ring;
use super::held::Hold;
use super::request::{self, Send};
use super::ring::{HOST, Placed};

const READ_SIZE: usize = 256 * 1024;

/// Serves a connection until the client closes it.
pub fn serve(stream: TcpStream, ring: &Ring, hold: Option<&dyn Hold>) -> Result<()> {
    stream.set_nodelay(true)?;
    let stream = Arc::new(stream);
    let mut input = vec![0; READ_SIZE];
    let mut filled = 0;
    let mut out = Vec::with_capacity(READ_SIZE);
    loop {
        if filled == input.len() {
            input.resize(input.len() * 2, 0);
        }
        let read = (&*stream).read(&mut input[filled..]).context("read requests")?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let used = answer_all(&input[..filled], ring, &mut out)?;
        input.copy_within(used..filled, 0);
        filled -= used;
        match hold {
            Some(hold) if !out.is_empty() => hold.hold(&stream, std::mem::take(&mut out)),
            _ => {
                (&*stream).write_all(&out).context("write answers")?;
                out.clear();
            }
        }
    }
}

fn answer_all(input: &[u8], ring: &Ring, out: &mut Vec<u8>) -> Result<usize> {
    let mut sends = Vec::new();
    let mut used = 0;
    loop {
        if let Some((send, length)) = request::read_binary(&input[used..]) {
            used += length;
            sends.push(send);
            continue;
        }
        match frame::decode(&input[used..]) {
            Decoded::NeedMore(_) => break,
            Decoded::Malformed(error) => return Err(anyhow!("malformed request: {error}")),
            Decoded::Frame(request, length) => {
                used += length;
                match RequestCode(request.header.code) {
                    RequestCode::SEND_MESSAGE_V2 => sends.push(request::read_any(&request)?),
                    RequestCode::PULL_MESSAGE => answer_pull(&request, ring, out)?,
                    // Topic creation and the like: everything exists here already.
                    _ => frame::encode(out, &CommandHead::answer(&request.header, 0, None), &NoFields, &[]),
                }
            }
        }
    }
    if !sends.is_empty() {
        let mut placed = Vec::with_capacity(sends.len());
        ring.append(&sends, &mut placed)?;
        for (send, at) in sends.iter().zip(placed) {
            answer_send(send, at, out);
        }
    }
    Ok(used)
}

fn answer_send(send: &Send<'_>, at: Placed, out: &mut Vec<u8>) {
    let mut digits = [0; 32];
    let reply = SendMessageReply {
        msg_id: Cow::Borrowed(message_id(at.physical, &mut digits)),
        queue_id: send.queue_id,
        queue_offset: at.queue_offset,
        transaction_id: unique_key(&send.properties).map(Cow::Borrowed),
        region: Cow::Borrowed("DefaultRegion"),
        trace_on: Cow::Borrowed("true"),
    };
    let encoding = if send.json { Serialization::Json } else { Serialization::Binary };
    let head = CommandHead::request(encoding, ResponseCode::SUCCESS.0, send.opaque);
    frame::encode(out, &CommandHead { flag: FLAG_RESPONSE, ..head }, &reply, &[]);
}

fn answer_pull(request: &FrameView<'_>, ring: &Ring, out: &mut Vec<u8>) -> Result<()> {
    let pull = PullMessage::decode(&request.header.ext)?;
    let count = pull.max_msg_nums.max(0);
    let reply = PullMessageReply {
        suggest_which_broker_id: 0,
        next_begin_offset: pull.queue_offset + i64::from(count),
        min_offset: 0,
        max_offset: i64::MAX,
    };
    let head = CommandHead::answer(&request.header, ResponseCode::SUCCESS.0, None);
    let start = frame::begin(out, &head, &reply);
    ring.read(pull.queue_id, pull.queue_offset, count as u64, out)?;
    frame::end(out, start);
    Ok(())
}

fn unique_key(properties: &[u8]) -> Option<&str> {
    let pair = properties.split(|byte| *byte == 2).find(|pair| pair.starts_with(b"UNIQ_KEY\x01"))?;
    std::str::from_utf8(&pair[9..]).ok()
}

fn message_id(physical: i64, digits: &mut [u8; 32]) -> &str {
    let bytes = HOST.into_iter().chain(physical.to_be_bytes());
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = b"0123456789ABCDEF"[usize::from(byte >> 4)];
        pair[1] = b"0123456789ABCDEF"[usize::from(byte & 15)];
    }
    std::str::from_utf8(digits).unwrap_or_default()
}
