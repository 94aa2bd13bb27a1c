//! A broker on free ports in a folder of its own, and a connection that speaks the wire. Every wait has a deadline.
#![allow(dead_code)]

pub mod follower;
pub mod operated;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broker::session::BrokerService;
use broker::{Broker, Config, Listeners};
use daemon::signals::Shutdown;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, CommandHead, Decoded};
use protocol::header::Serialization;
use protocol::message;
use protocol::requests::Fields;
use remoting::Limits;
use store::Store;
use store::disk::memory::MemoryDisk;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How long anything may take before a test gives up.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Awaits with the deadline.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// Waits until a condition holds.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    soon(what, async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// A broker as its program runs it.
pub struct Running {
    pub addr: SocketAddr,
    /// Where a master's slaves connect.
    pub ha: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), broker::RunError>>,
}

fn config(dir: &Path, settings: &[(&str, &str)]) -> Config {
    Config::from_properties(&pairs(dir, settings)).unwrap()
}

fn pairs(dir: &Path, settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all = vec![
        ("storePathRootDir".to_owned(), dir.display().to_string()),
        ("brokerName".to_owned(), "b".to_owned()),
        ("mappedFileSizeCommitLog".to_owned(), "16MiB".to_owned()),
        // Disks of test machines are often nearly full.
        ("diskMaxUsedSpaceRatio".to_owned(), "99".to_owned()),
        ("diskSpaceCleanForciblyRatio".to_owned(), "99".to_owned()),
        ("diskSpaceWarningLevelRatio".to_owned(), "100".to_owned()),
    ];
    all.extend(settings.iter().map(|(k, v)| (k.to_string(), v.to_string())));
    all
}

impl Running {
    pub async fn start(dir: &Path, settings: &[(&str, &str)]) -> Running {
        let config = config(dir, settings);
        let bind = || TcpListener::bind("127.0.0.1:0");
        let (remoting, fast, ha) = (bind().await.unwrap(), bind().await.unwrap(), bind().await.unwrap());
        let (addr, ha_addr) = (remoting.local_addr().unwrap(), ha.local_addr().unwrap());
        let ha = (!config.live.is_slave()).then_some(ha);
        let shutdown = Shutdown::new();
        let listeners = Listeners { remoting, fast, ha, http: None, admin: None };
        let task = tokio::spawn(broker::run(config, listeners, shutdown.clone()));
        Running { addr, ha: ha_addr, shutdown, task }
    }

    pub async fn connect(&self) -> Wire {
        Wire::connect(self.addr, Serialization::Json).await
    }

    pub fn ask_to_stop(&self) {
        self.shutdown.trigger();
    }

    /// Waits until it has ended by itself.
    pub async fn ended(self) -> Result<(), broker::RunError> {
        soon("broker ends", self.task).await.unwrap()
    }

    pub async fn stop(self) {
        self.ask_to_stop();
        soon("broker stops", self.task).await.unwrap().unwrap();
    }
}

/// A broker whose store has no threads: nothing is flushed unless the test does it.
pub struct Unflushed {
    pub addr: SocketAddr,
    /// Where a master's slaves connect.
    pub ha: SocketAddr,
    pub broker: Arc<Broker>,
    pub store: Arc<Store>,
    pub stop: tokio::sync::watch::Sender<bool>,
}

impl Unflushed {
    pub async fn start(dir: &Path, settings: &[(&str, &str)]) -> Unflushed {
        let config = config(dir, &[&[("flushDiskType", "SYNC_FLUSH")], settings].concat());
        let store = Store::open(config.store(), Arc::new(MemoryDisk::new(1 << 30))).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let broker = Arc::new(Broker::new(config, store.clone(), addr, broker::metrics::requests()).unwrap());
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let service = Arc::new(BrokerService(broker.clone()));
        tokio::spawn(remoting::serve(listener, service, Limits::default(), Arc::default(), stopped.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ha = listener.local_addr().unwrap();
        if let Some(leader) = &broker.leader {
            tokio::spawn(leader.clone().serve(listener, stopped));
        }
        Unflushed { addr, ha, broker, store, stop }
    }

    pub async fn connect(&self) -> Wire {
        Wire::connect(self.addr, Serialization::Binary).await
    }

    /// Returns how many sends wait for slaves.
    pub fn waiting_for_slaves(&self) -> usize {
        self.broker.waiting_for_slaves.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub opaque: i32,
    pub code: ResponseCode,
    pub remark: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(k, _)| k == name).map_or("", |(_, v)| v)
    }

    /// Returns the offsets and bodies of the messages in a pull's answer.
    pub fn messages(&self) -> Vec<(i64, String)> {
        let (mut rest, mut found) = (&self.body[..], Vec::new());
        while let message::Decoded::Record(r) = message::decode(rest, rest.len()) {
            found.push((r.queue_offset, String::from_utf8_lossy(r.body).into_owned()));
            rest = &rest[r.total_size..];
        }
        assert!(rest.is_empty(), "whole records only");
        found
    }
}

/// A frame that came, answer or request.
pub enum Came {
    Answer(Answer),
    Request(RequestCode, Vec<(String, String)>),
}

/// A connection.
pub struct Wire {
    pub stream: TcpStream,
    pub serialization: Serialization,
    buffer: Vec<u8>,
    opaque: i32,
}

impl Wire {
    pub async fn connect(addr: SocketAddr, serialization: Serialization) -> Wire {
        let stream = soon("connect", TcpStream::connect(addr)).await.unwrap();
        Wire { stream, serialization, buffer: Vec::new(), opaque: 0 }
    }

    /// Sends a request; returns its opaque id.
    pub async fn send(&mut self, code: RequestCode, fields: &[(&str, &str)], body: &[u8]) -> i32 {
        self.write(code, fields, body, false).await
    }

    /// Sends a request that wants no answer.
    pub async fn oneway(&mut self, code: RequestCode, fields: &[(&str, &str)], body: &[u8]) {
        self.write(code, fields, body, true).await;
    }

    async fn write(&mut self, code: RequestCode, fields: &[(&str, &str)], body: &[u8], oneway: bool) -> i32 {
        self.opaque += 1;
        let head = CommandHead::request(self.serialization, code.0, self.opaque);
        let head = if oneway { head.oneway() } else { head };
        let mut out = Vec::new();
        frame::encode(&mut out, &head, &Fields(fields), body);
        soon("write", self.stream.write_all(&out)).await.unwrap();
        self.opaque
    }

    /// Returns the next frame, `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<Came> {
        loop {
            if let Decoded::Frame(f, used) = frame::decode(&self.buffer) {
                let mut fields = Vec::new();
                f.header.ext.visit(|k, v| fields.push((k.to_owned(), v.into_owned())));
                let came = if f.header.is_response() {
                    let remark = f.header.remark.as_deref().unwrap_or("").to_owned();
                    let (opaque, code) = (f.header.opaque, ResponseCode(f.header.code));
                    Came::Answer(Answer { opaque, code, remark, fields, body: f.body.to_vec() })
                } else {
                    Came::Request(RequestCode(f.header.code), fields)
                };
                self.buffer.drain(..used);
                return Some(came);
            }
            match soon("a frame", self.stream.read_buf(&mut self.buffer)).await {
                Ok(1..) => {}
                _ => return None,
            }
        }
    }

    /// Returns the next answer; requests of the broker before it are passed over.
    pub async fn answer(&mut self) -> Answer {
        loop {
            match self.next().await.expect("the connection is open") {
                Came::Answer(answer) => return answer,
                Came::Request(..) => {}
            }
        }
    }

    /// Sends a request and returns the next answer, which must be its own: exactly one for each.
    pub async fn call(&mut self, code: RequestCode, fields: &[(&str, &str)], body: &[u8]) -> Answer {
        let opaque = self.send(code, fields, body).await;
        let answer = self.answer().await;
        assert_eq!(answer.opaque, opaque, "{code:?}: {answer:?}");
        answer
    }

    /// Sends a message to queue 0.
    pub async fn put(&mut self, topic: &str, body: &str, properties: &str) -> Answer {
        self.call(RequestCode::SEND_MESSAGE_V2, &message_fields(topic, "0", properties), body.as_bytes())
            .await
    }

    /// Pulls from queue 0.
    pub async fn pull(&mut self, topic: &str, offset: &str, tags: &str, wait_ms: &str) -> Answer {
        self.call(RequestCode::PULL_MESSAGE, &pull_fields(topic, offset, tags, wait_ms), b"").await
    }

    /// Changes live settings.
    pub async fn set(&mut self, settings: &str) -> Answer {
        self.call(RequestCode::UPDATE_BROKER_CONFIG, &[], settings.as_bytes()).await
    }

    /// Makes sure that nothing is about to be answered: what was released comes before the second answer.
    pub async fn nothing_is_due(&mut self) {
        for _ in 0..2 {
            self.call(RequestCode::GET_MAX_OFFSET, &[("topic", "T"), ("queueId", "0")], b"").await;
        }
    }

    /// Makes a topic.
    pub async fn make_topic(&mut self, topic: &str, queues: &str, perm: &str) -> Answer {
        let fields = [
            ("topic", topic),
            ("defaultTopic", "TBW102"),
            ("readQueueNums", queues),
            ("writeQueueNums", queues),
            ("perm", perm),
            ("topicFilterType", "SINGLE_TAG"),
        ];
        self.call(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields, b"").await
    }
}

/// The fields of a send in V2 letters.
pub fn message_fields<'a>(topic: &'a str, queue: &'a str, properties: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("a", "P"),
        ("b", topic),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", queue),
        ("f", "0"),
        ("g", "1700000000000"),
        ("h", "0"),
        ("i", properties),
        ("j", "0"),
        ("k", "false"),
        ("m", "false"),
    ]
}

/// The same fields with one of them replaced.
pub fn with<'a>(mut fields: Vec<(&'a str, &'a str)>, key: &str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let field = fields.iter_mut().find(|(k, _)| *k == key).expect("the field is there");
    field.1 = value;
    fields
}

/// The fields of a pull by group `G` from queue 0, with its subscription.
pub fn pull_fields<'a>(
    topic: &'a str,
    offset: &'a str,
    tags: &'a str,
    wait_ms: &'a str,
) -> Vec<(&'a str, &'a str)> {
    vec![
        ("consumerGroup", "G"),
        ("topic", topic),
        ("queueId", "0"),
        ("queueOffset", offset),
        ("maxMsgNums", "32"),
        ("sysFlag", if wait_ms == "0" { "4" } else { "6" }),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", wait_ms),
        ("subscription", tags),
        ("subVersion", "1"),
    ]
}
