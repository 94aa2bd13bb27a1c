//! Requests to a server over one connection: answers are matched by opaque id, every call has a deadline, and a lost
//! connection fails all open calls at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, CommandHead, Decoded, FrameView};
use protocol::header::{ExtFields, Serialization};
use protocol::requests::{EncodeExt, NoFields};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};

/// Settings of a connection.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// Encoding of the headers.
    pub serialization: Serialization,
    /// Most bytes waiting to be sent; more are refused.
    pub max_queued_bytes: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            connect_timeout: Duration::from_secs(3),
            serialization: Serialization::Binary,
            max_queued_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection. The request was not sent.
    #[error("connect to {addr}: {source}")]
    Connect {
        /// Where to.
        addr: String,
        /// Why.
        source: std::io::Error,
    },
    /// The connection broke before the answer came. The request may have been carried out.
    #[error("connection to {0} lost")]
    Lost(String),
    /// No answer in time. The request may have been carried out.
    #[error("{code:?} to {addr}: no answer within {timeout:?}")]
    Timeout {
        /// Whom.
        addr: String,
        /// What.
        code: RequestCode,
        /// The limit.
        timeout: Duration,
    },
    /// Too much is waiting to be sent already.
    #[error("{0}: send queue is full")]
    Full(String),
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// How the request ended.
    pub code: ResponseCode,
    /// Text for people.
    pub remark: Option<String>,
    /// Custom fields.
    pub ext: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
    /// Version of the server.
    pub version: i32,
}

impl Response {
    /// Returns a custom field by name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.ext.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }
}

/// A connection to a server; clones share it.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    _task: Arc<AbortOnDrop>,
}

struct AbortOnDrop(Vec<tokio::task::JoinHandle<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.iter().for_each(|t| t.abort());
    }
}

struct Inner {
    addr: String,
    options: ClientOptions,
    next: AtomicI32,
    state: Mutex<State>,
    queued: Notify,
    gone: Notify,
}

#[derive(Default)]
struct State {
    out: Vec<u8>,
    waiting: HashMap<i32, oneshot::Sender<Response>>,
    lost: bool,
}

impl Client {
    /// Connects to `host:port`.
    pub async fn connect(addr: &str, options: ClientOptions) -> Result<Client, CallError> {
        let fail = |source| CallError::Connect { addr: addr.to_owned(), source };
        let stream = tokio::time::timeout(options.connect_timeout, TcpStream::connect(addr))
            .await
            .map_err(|_| fail(std::io::ErrorKind::TimedOut.into()))?
            .map_err(fail)?;
        stream.set_nodelay(true).map_err(fail)?;
        let (read, write) = stream.into_split();
        let inner = Arc::new(Inner {
            addr: addr.to_owned(),
            options,
            next: AtomicI32::new(0),
            state: Mutex::default(),
            queued: Notify::new(),
            gone: Notify::new(),
        });
        let tasks = vec![
            tokio::spawn(read_answers(read, inner.clone())),
            tokio::spawn(write_requests(write, inner.clone())),
        ];
        Ok(Client { inner, _task: Arc::new(AbortOnDrop(tasks)) })
    }

    /// Returns the address it is connected to.
    pub fn addr(&self) -> &str {
        &self.inner.addr
    }

    /// Says whether the connection is gone; connect anew then.
    pub fn is_lost(&self) -> bool {
        self.inner.state.lock().lost
    }

    /// Resolves when the connection is gone. Safe to cancel.
    pub async fn lost(&self) {
        loop {
            // Listens before it looks, so that nothing is missed in between.
            let gone = self.inner.gone.notified();
            if self.is_lost() {
                return;
            }
            gone.await;
        }
    }

    /// Sends a request and waits for its answer. Dropping the future forgets the answer, not the request.
    ///
    /// # Errors
    /// See [`CallError`]; an answer with an error code is `Ok`.
    pub async fn call(
        &self,
        code: RequestCode,
        ext: &impl EncodeExt,
        body: &[u8],
        timeout: Duration,
    ) -> Result<Response, CallError> {
        let opaque = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let (tx, rx) = oneshot::channel();
        let head = CommandHead::request(self.inner.options.serialization, code.0, opaque);
        self.queue(&head, ext, body, Some(tx))?;
        let _forget = Forget { inner: &self.inner, opaque };
        match tokio::time::timeout(timeout, rx).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(_)) => Err(CallError::Lost(self.inner.addr.clone())),
            Err(_) => Err(CallError::Timeout { addr: self.inner.addr.clone(), code, timeout }),
        }
    }

    /// Sends a request that nobody answers.
    pub fn oneway(&self, code: RequestCode, ext: &impl EncodeExt, body: &[u8]) -> Result<(), CallError> {
        let opaque = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let head = CommandHead::request(self.inner.options.serialization, code.0, opaque).oneway();
        self.queue(&head, ext, body, None)
    }

    fn queue(
        &self,
        head: &CommandHead<'_>,
        ext: &impl EncodeExt,
        body: &[u8],
        tx: Option<oneshot::Sender<Response>>,
    ) -> Result<(), CallError> {
        let mut state = self.inner.state.lock();
        if state.lost {
            return Err(CallError::Lost(self.inner.addr.clone()));
        }
        if state.out.len() + body.len() > self.inner.options.max_queued_bytes {
            return Err(CallError::Full(self.inner.addr.clone()));
        }
        frame::encode(&mut state.out, head, ext, body);
        if let Some(tx) = tx {
            state.waiting.insert(head.opaque, tx);
        }
        drop(state);
        self.inner.queued.notify_one();
        Ok(())
    }
}

/// A call that ends, also by being dropped, leaves nothing behind.
struct Forget<'a> {
    inner: &'a Inner,
    opaque: i32,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.inner.state.lock().waiting.remove(&self.opaque);
    }
}

impl Inner {
    fn lose(&self) {
        let mut state = self.state.lock();
        state.lost = true;
        state.waiting.clear();
        drop(state);
        self.queued.notify_one();
        self.gone.notify_waiters();
    }

    fn on_frame(&self, frame: FrameView<'_>) {
        let header = &frame.header;
        if !header.is_response() {
            self.refuse(&frame);
            return;
        }
        let Some(tx) = self.state.lock().waiting.remove(&header.opaque) else { return };
        let mut ext = Vec::new();
        header.ext.visit(|k, v| ext.push((k.to_owned(), v.into_owned())));
        // The caller may have given up in the meantime.
        let _ = tx.send(Response {
            code: ResponseCode(header.code),
            remark: header.remark.as_deref().map(str::to_owned),
            ext,
            body: Bytes::copy_from_slice(frame.body),
            version: header.version,
        });
    }

    /// A server's request to its client: none is understood here, and only one-way ones may go unanswered.
    fn refuse(&self, frame: &FrameView<'_>) {
        if frame.header.is_oneway() {
            return;
        }
        let remark = format!(" request type {} not supported", frame.header.code);
        let head =
            CommandHead::answer(&frame.header, ResponseCode::REQUEST_CODE_NOT_SUPPORTED.0, Some(&remark));
        let mut state = self.state.lock();
        // A server that asks without reading gets no more answers than fit.
        if state.out.len() < self.options.max_queued_bytes {
            frame::encode(&mut state.out, &head, &NoFields, b"");
        }
        drop(state);
        self.queued.notify_one();
    }
}

async fn write_requests(mut write: OwnedWriteHalf, inner: Arc<Inner>) {
    loop {
        let (out, lost) = {
            let mut state = inner.state.lock();
            (std::mem::take(&mut state.out), state.lost)
        };
        if lost {
            return;
        }
        if out.is_empty() {
            inner.queued.notified().await;
        } else if write.write_all(&out).await.is_err() {
            inner.lose();
            return;
        }
    }
}

async fn read_answers(mut read: OwnedReadHalf, inner: Arc<Inner>) {
    let mut buffer = Vec::with_capacity(64 * 1024);
    'connected: while let Ok(1..) = read.read_buf(&mut buffer).await {
        let mut at = 0;
        loop {
            match frame::decode(&buffer[at..]) {
                Decoded::Frame(frame, used) => {
                    inner.on_frame(frame);
                    at += used;
                }
                Decoded::NeedMore(_) => break,
                Decoded::Malformed(_) => break 'connected,
            }
        }
        buffer.drain(..at);
    }
    inner.lose();
}

/// Decodes a typed header from the fields of a response.
pub fn decode_fields<T>(response: &Response, decode: impl for<'a> FnOnce(&ExtFields<'a>) -> T) -> T {
    let mut bytes = Vec::new();
    for (k, v) in &response.ext {
        bytes.extend_from_slice(&(k.len() as u16).to_be_bytes());
        bytes.extend_from_slice(k.as_bytes());
        bytes.extend_from_slice(&(v.len() as u32).to_be_bytes());
        bytes.extend_from_slice(v.as_bytes());
    }
    decode(&ExtFields::Binary(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_call_leaves_nothing_behind() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let client = Client::connect(&addr, ClientOptions::default()).await.unwrap();
        let call = client.call(RequestCode(1), &NoFields, b"", Duration::from_secs(3600));
        tokio::select! {
            biased;
            _ = call => panic!("nobody answers"),
            _ = listener.accept() => {}
        }
        assert!(client.inner.state.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn whoever_waits_for_the_end_of_a_connection_hears_of_it_also_afterwards() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let client = Client::connect(&addr, ClientOptions::default()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        assert!(!client.is_lost());
        let soon = Duration::from_secs(10);
        tokio::time::timeout(soon, async { tokio::join!(client.lost(), async { drop(stream) }) })
            .await
            .expect("the end is heard of");
        tokio::time::timeout(soon, client.lost()).await.expect("also by those who come late");
    }
}
