//! One request to a server and its answer, apart from any load.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, CommandHead, Decoded};
use protocol::header::Serialization;
use protocol::requests::CreateTopic;

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
    let mut out = Vec::new();
    let head = CommandHead::request(Serialization::Json, RequestCode::UPDATE_AND_CREATE_TOPIC.0, 1);
    frame::encode(&mut out, &head, &header, &[]);
    let mut stream = TcpStream::connect(address).context("connect to the broker")?;
    stream.set_read_timeout(Some(START_LIMIT))?;
    stream.write_all(&out)?;
    let mut input = Vec::new();
    loop {
        match frame::decode(&input) {
            Decoded::Frame(answer, _) if answer.header.code == ResponseCode::SUCCESS.0 => return Ok(()),
            Decoded::Frame(answer, _) => {
                bail!("create the topic: {:?} {:?}", answer.header.code, answer.header.remark)
            }
            Decoded::Malformed(error) => return Err(error).context("create the topic"),
            Decoded::NeedMore(_) => {}
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk)? {
            0 => bail!("create the topic: the broker closed the connection"),
            read => input.extend_from_slice(&chunk[..read]),
        }
    }
}
