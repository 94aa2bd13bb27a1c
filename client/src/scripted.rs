//! A server for the tests of this crate whose answers are a closure.

use protocol::bodies::route::{BrokerData, MASTER_ID, QueueData, TopicRouteData};
use protocol::codes::ResponseCode;
use protocol::frame::{self, CommandHead, Decoded};
use protocol::json::JsonBody;
use protocol::requests::Fields;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A request as a script sees it.
pub struct Asked {
    pub code: i32,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a script answers.
#[derive(Default)]
pub struct Answer {
    code: i32,
    remark: Option<String>,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    pub fn body(body: Vec<u8>) -> Self {
        Self { body, ..Self::default() }
    }

    pub fn fields(fields: &[(&str, &str)]) -> Self {
        let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self { fields, ..Self::default() }
    }

    pub fn refuse(code: ResponseCode, remark: &str) -> Self {
        Self { code: code.0, remark: Some(remark.to_owned()), ..Self::default() }
    }

    pub fn with_code(mut self, code: ResponseCode) -> Self {
        self.code = code.0;
        self
    }

    pub fn with_body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }
}

/// Starts a server and returns its address; it ends with the test's runtime.
pub async fn start(script: impl Fn(&Asked) -> Answer + Clone + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let script = script.clone();
            tokio::spawn(async move {
                let mut input = Vec::new();
                while let Ok(1..) = stream.read_buf(&mut input).await {
                    let mut out = Vec::new();
                    while let Decoded::Frame(request, used) = frame::decode(&input) {
                        let mut fields = Vec::new();
                        request.header.ext.visit(|k, v| fields.push((k.to_owned(), v.into_owned())));
                        let asked = Asked { code: request.header.code, fields, body: request.body.to_vec() };
                        let answer = script(&asked);
                        let fields: Vec<(&str, &str)> =
                            answer.fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                        let head =
                            CommandHead::answer(&request.header, answer.code, answer.remark.as_deref());
                        frame::encode(&mut out, &head, &Fields(&fields), &answer.body);
                        input.drain(..used);
                    }
                    stream.write_all(&out).await.unwrap();
                }
            });
        }
    });
    addr
}

/// Returns an address at which nobody listens.
pub async fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Returns the body of a route to one broker.
pub fn route(broker_name: &str, addr: &str, queues: i32) -> Vec<u8> {
    routes(&[(broker_name, addr, queues)])
}

/// Returns the body of a route to several brokers: name, address, queues.
pub fn routes(brokers: &[(&str, &str, i32)]) -> Vec<u8> {
    let broker = |(name, addr, _): &(&str, &str, i32)| BrokerData {
        broker_addrs: [(MASTER_ID, (*addr).to_owned())].into(),
        broker_name: (*name).to_owned(),
        cluster: "C".to_owned(),
        ..BrokerData::default()
    };
    let queues = |(name, _, count): &(&str, &str, i32)| QueueData {
        broker_name: (*name).to_owned(),
        perm: 6,
        read_queue_nums: *count,
        write_queue_nums: *count,
        topic_sys_flag: 0,
    };
    let data = TopicRouteData {
        broker_datas: brokers.iter().map(broker).collect(),
        queue_datas: brokers.iter().map(queues).collect(),
        ..TopicRouteData::default()
    };
    data.encode()
}
