//! A server with a scripted session, and a raw connection to it. Every wait has a deadline.
#![allow(dead_code)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use protocol::frame::{self, CommandHead, Decoded, FrameView};
use protocol::header::Serialization;
use protocol::requests::NoFields;
use remoting::{Limits, Mailbox, Peer, Service, Session, Stats, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Answered with its own body.
pub const ECHO: i32 = 1;
/// The handler panics.
pub const PANIC: i32 = 2;
/// Answered with as many bytes as the body says.
pub const BIG: i32 = 3;
/// Held until its opaque id comes as a token; then answered like [`BIG`]. Owed when the server stops.
pub const HOLD: i32 = 4;
/// Held until the server stops.
pub const PARK: i32 = 5;
/// Takes the handler longer than a sender needs for the next one.
pub const WORK: i32 = 6;
/// Nothing more is read until the token of the last held one.
pub const CLOSE: i32 = 7;

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

/// What the sessions of a server let a test see.
#[derive(Default)]
pub struct Seen {
    /// Mailboxes in the order of the connections.
    pub mailboxes: Mutex<Vec<Arc<Mailbox>>>,
    /// Frames handled.
    pub frames: AtomicUsize,
    /// Connections closed.
    pub closed: AtomicUsize,
    /// Most bytes a session found waiting to be written.
    pub most_waiting: AtomicUsize,
}

struct ScriptService(Arc<Seen>);

impl Service for ScriptService {
    type Session = Script;

    fn accept(&self, peer: &Peer) -> Script {
        self.0.mailboxes.lock().push(peer.mailbox.clone());
        Script { seen: self.0.clone(), held: VecDeque::new(), parked: Vec::new(), closed: false }
    }
}

/// The scripted session.
pub struct Script {
    seen: Arc<Seen>,
    held: VecDeque<(i32, usize)>,
    parked: Vec<i32>,
    closed: bool,
}

fn answer(out: &mut Vec<u8>, opaque: i32, body: &[u8]) {
    let head = CommandHead { flag: 1, ..CommandHead::request(Serialization::Binary, 0, opaque) };
    frame::encode(out, &head, &NoFields, body);
}

fn number(body: &[u8]) -> usize {
    u32::from_be_bytes(body.try_into().unwrap()) as usize
}

impl Session for Script {
    fn on_frame(&mut self, frame: FrameView<'_>, out: &mut Vec<u8>) {
        self.seen.frames.fetch_add(1, Ordering::SeqCst);
        self.seen.most_waiting.fetch_max(out.len(), Ordering::SeqCst);
        let opaque = frame.header.opaque;
        match frame.header.code {
            PANIC => panic!("as asked"),
            HOLD => self.held.push_back((opaque, number(frame.body))),
            PARK => self.parked.push(opaque),
            CLOSE => self.closed = true,
            BIG => answer(out, opaque, &vec![7; number(frame.body)]),
            code => {
                let begun = std::time::Instant::now();
                while code == WORK && begun.elapsed() < Duration::from_micros(200) {}
                if !frame.header.is_oneway() {
                    answer(out, opaque, frame.body);
                }
            }
        }
    }

    fn on_token(&mut self, token: u64, out: &mut Vec<u8>) {
        self.closed = false;
        self.seen.most_waiting.fetch_max(out.len(), Ordering::SeqCst);
        if let Some(at) = self.held.iter().position(|(o, _)| *o as u64 == token) {
            let (opaque, size) = self.held.remove(at).unwrap();
            answer(out, opaque, &vec![7; size]);
        }
    }

    fn on_stop(&mut self, out: &mut Vec<u8>) {
        self.parked.drain(..).for_each(|opaque| answer(out, opaque, b"stopping"));
    }

    fn may_read(&self) -> bool {
        !self.closed
    }

    fn owes(&self) -> bool {
        !self.held.is_empty()
    }

    fn on_close(&mut self) {
        self.seen.closed.fetch_add(1, Ordering::SeqCst);
    }
}

/// A server on a free port.
pub struct Server {
    pub addr: std::net::SocketAddr,
    pub seen: Arc<Seen>,
    pub stats: Arc<Stats>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(limits: Limits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let (seen, stats) = (Arc::<Seen>::default(), Arc::<Stats>::default());
        let service = Arc::new(ScriptService(seen.clone()));
        let task = tokio::spawn(serve(listener, service, limits, stats.clone(), stopped));
        Server { addr, seen, stats, stop, task }
    }

    pub async fn connect(&self) -> Wire {
        Wire { stream: soon("connect", TcpStream::connect(self.addr)).await.unwrap(), buffer: Vec::new() }
    }

    pub fn ask_to_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until the server has ended.
    pub async fn stopped(self) {
        soon("server stops", self.task).await.unwrap();
    }
}

/// Encodes one request.
pub fn request(code: i32, opaque: i32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode(&mut out, &CommandHead::request(Serialization::Binary, code, opaque), &NoFields, body);
    out
}

/// Encodes one request that wants no answer.
pub fn oneway(code: i32, opaque: i32) -> Vec<u8> {
    let mut out = Vec::new();
    let head = CommandHead::request(Serialization::Binary, code, opaque).oneway();
    frame::encode(&mut out, &head, &NoFields, b"");
    out
}

/// A raw connection.
pub struct Wire {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub async fn write(&mut self, bytes: &[u8]) {
        soon("write", self.stream.write_all(bytes)).await.unwrap();
    }

    /// Returns the next answer, `None` at the end of the connection.
    pub async fn answer(&mut self) -> Option<(i32, Vec<u8>)> {
        loop {
            if let Decoded::Frame(f, used) = frame::decode(&self.buffer) {
                let found = (f.header.opaque, f.body.to_vec());
                self.buffer.drain(..used);
                return Some(found);
            }
            match soon("answer", self.stream.read_buf(&mut self.buffer)).await {
                Ok(1..) => {}
                _ => return None,
            }
        }
    }

    /// Sends an echo and checks its answer.
    pub async fn echo(&mut self, opaque: i32) {
        self.write(&request(ECHO, opaque, b"hello")).await;
        assert_eq!(self.answer().await, Some((opaque, b"hello".to_vec())));
    }
}
