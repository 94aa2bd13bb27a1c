//! The bytes of a send's and a pull's answer, in both encodings, as the tables of the protocol have them.
#![allow(clippy::unwrap_used)]

mod support;

use protocol::codes::RequestCode;
use protocol::header::Serialization;
use protocol::message;
use support::*;
use tokio::io::AsyncReadExt;

const UNIQ_KEY: &str = "7F0000010B2A18B4AAC2123456780001";

fn json_frame(header: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + header.len() + body.len()) as u32).to_be_bytes().to_vec();
    bytes.extend((header.len() as u32).to_be_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(body);
    bytes
}

fn binary_frame(opaque: i32, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut ext = Vec::new();
    for (k, v) in fields {
        ext.extend((k.len() as u16).to_be_bytes());
        ext.extend(k.as_bytes());
        ext.extend((v.len() as u32).to_be_bytes());
        ext.extend(v.as_bytes());
    }
    let mut header = vec![0, 0, 0, 0x01, 0xDF];
    header.extend(opaque.to_be_bytes());
    header.extend([0, 0, 0, 1, 0, 0, 0, 0]);
    header.extend((ext.len() as u32).to_be_bytes());
    header.extend(ext);
    let mut bytes = ((4 + header.len() + body.len()) as u32).to_be_bytes().to_vec();
    bytes.extend((header.len() as u32 | 1 << 24).to_be_bytes());
    bytes.extend(header);
    bytes.extend(body);
    bytes
}

async fn raw_answer(wire: &mut Wire) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    soon("length", wire.stream.read_exact(&mut bytes)).await.unwrap();
    let length = u32::from_be_bytes(bytes[..].try_into().unwrap()) as usize;
    bytes.resize(4 + length, 0);
    soon("frame", wire.stream.read_exact(&mut bytes[4..])).await.unwrap();
    bytes
}

/// The record as the table of the commit log has it; only the store time is not known.
fn record(offset: i64, physical: i64, born_port: u16, store_port: u16, store_time: i64) -> Vec<u8> {
    let properties = format!("UNIQ_KEY\u{1}{UNIQ_KEY}\u{2}CLUSTER\u{1}DefaultCluster\u{2}");
    let mut r = Vec::new();
    r.extend((91 + 5 + 1 + properties.len() as u32).to_be_bytes());
    r.extend([0xDA, 0xA3, 0x20, 0xA7]);
    r.extend(0x3610_A686u32.to_be_bytes());
    r.extend([0, 0, 0, 0, 0, 0, 0, 0]);
    r.extend(offset.to_be_bytes());
    r.extend(physical.to_be_bytes());
    r.extend([0, 0, 0, 0]);
    r.extend(1_700_000_000_000i64.to_be_bytes());
    r.extend([127, 0, 0, 1]);
    r.extend((born_port as u32).to_be_bytes());
    r.extend(store_time.to_be_bytes());
    r.extend([127, 0, 0, 1]);
    r.extend((store_port as u32).to_be_bytes());
    r.extend([0; 12]);
    r.extend([0, 0, 0, 5]);
    r.extend(b"hello");
    r.extend([1, b'T']);
    r.extend((properties.len() as u16).to_be_bytes());
    r.extend(properties.as_bytes());
    r
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_have_the_protocols_bytes_in_both_encodings() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[]).await;
    let port = broker.addr.port();
    let properties = format!("UNIQ_KEY\u{1}{UNIQ_KEY}");
    let size = record(0, 0, 0, 0, 0).len() as i64;
    for (offset, serialization) in [(0, Serialization::Json), (1, Serialization::Binary)] {
        let physical = offset * size;
        let mut wire = Wire::connect(broker.addr, serialization).await;
        let born_port = wire.stream.local_addr().unwrap().port();
        wire.send(RequestCode::SEND_MESSAGE_V2, &message_fields("T", "0", &properties), b"hello").await;
        let (msg_id, offset_text) = (format!("7F000001{:08X}{physical:016X}", port), offset.to_string());
        let sent = [
            ("MSG_REGION", "DefaultRegion"),
            ("TRACE_ON", "true"),
            ("msgId", &*msg_id),
            ("queueId", "0"),
            ("queueOffset", &offset_text),
            ("transactionId", UNIQ_KEY),
        ];
        assert_frame(&raw_answer(&mut wire).await, serialization, 1, &sent, b"");

        wire.send(RequestCode::PULL_MESSAGE, &pull_fields("T", &offset_text, "*", "0"), b"").await;
        let next = (offset + 1).to_string();
        let pulled = [
            ("suggestWhichBrokerId", "0"),
            ("nextBeginOffset", &*next),
            ("minOffset", "0"),
            ("maxOffset", &*next),
        ];
        let answer = raw_answer(&mut wire).await;
        let body = &answer[answer.len() - size as usize..];
        let message::Decoded::Record(r) = message::decode(body, body.len()) else { panic!("no record") };
        let record = record(offset, physical, born_port, port, r.store_timestamp);
        assert_frame(&answer, serialization, 2, &pulled, &record);
    }
}

fn assert_frame(got: &[u8], serialization: Serialization, opaque: i32, fields: &[(&str, &str)], body: &[u8]) {
    let want = match serialization {
        Serialization::Binary => binary_frame(opaque, fields, body),
        Serialization::Json => {
            let ext: Vec<_> = fields.iter().map(|(k, v)| format!("\"{k}\":\"{v}\"")).collect();
            let header = format!(
                r#"{{"code":0,"extFields":{{{}}},"flag":1,"language":"JAVA","opaque":{opaque},"serializeTypeCurrentRPC":"JSON","version":479}}"#,
                ext.join(",")
            );
            json_frame(&header, body)
        }
    };
    assert_eq!(String::from_utf8_lossy(got), String::from_utf8_lossy(&want));
    assert_eq!(got, want);
}
