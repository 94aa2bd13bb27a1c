//! One request to a server and its answer, apart from any load.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};
use protocol::bodies::kv_table::KvTable;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, CommandHead, Decoded};
use protocol::header::Serialization;
use protocol::json::JsonBody;
use protocol::requests::{CreateTopic, EncodeExt, NoFields};

use super::process::START_LIMIT;
use crate::scenarios::{QUEUES, TOPIC};

/// Creates the topic that is loaded.
pub fn create_topic(address: SocketAddr) -> Result<()> {
    let header = CreateTopic {
        topic: TOPIC.into(),
        default_topic: Some("TBW102".into()),
        read_queue_nums: QUEUES as i32,
        write_queue_nums: QUEUES as i32,
        perm: 6,
        topic_filter_type: Some("SINGLE_TAG".into()),
        topic_sys_flag: Some(0),
        order: false,
        attributes: None,
    };
    ask(address, RequestCode::UPDATE_AND_CREATE_TOPIC, &header).context("create the topic")?;
    Ok(())
}

/// Returns where a broker's log ends.
pub fn log_end(address: SocketAddr) -> Result<u64> {
    let body = ask(address, RequestCode::GET_BROKER_RUNTIME_INFO, &NoFields)?;
    let facts = KvTable::decode(&body).context("read what the broker says of itself")?;
    let end = facts.table.get("commitLogMaxOffset").context("the broker does not say where its log ends")?;
    end.parse().with_context(|| format!("read where the log ends from {end:?}"))
}

/// Returns the body of the answer.
fn ask(address: SocketAddr, code: RequestCode, fields: &impl EncodeExt) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    frame::encode(&mut out, &CommandHead::request(Serialization::Json, code.0, 1), fields, &[]);
    let mut stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_read_timeout(Some(START_LIMIT))?;
    stream.write_all(&out)?;
    let mut input = Vec::new();
    loop {
        match frame::decode(&input) {
            Decoded::Frame(answer, _) if answer.header.code == ResponseCode::SUCCESS.0 => {
                return Ok(answer.body.to_vec());
            }
            Decoded::Frame(answer, _) => {
                bail!("refused with {}: {:?}", answer.header.code, answer.header.remark)
            }
            Decoded::Malformed(error) => return Err(error).context("malformed answer"),
            Decoded::NeedMore(_) => {}
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk)? {
            0 => bail!("the broker closed the connection"),
            read => input.extend_from_slice(&chunk[..read]),
        }
    }
}
