//! One connection: reads, hands every complete frame of a read to its session, and writes their answers at once.
//! No task, channel or lock stands between the socket and the session.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use protocol::frame::{self, Decoded, FrameView};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tracing::debug;

use crate::limits::{Limits, Stats};
use crate::mailbox::Mailbox;
use crate::{Shutdown, server::Shared};

/// How long a stopping connection waits for answers that are still due.
const DRAIN: Duration = Duration::from_secs(3);

/// The other end of a connection.
#[derive(Clone)]
pub struct Peer {
    /// Number of the connection, unique in this process.
    pub id: u64,
    /// Address of the other end.
    pub addr: SocketAddr,
    /// Our own address on this connection.
    pub local: SocketAddr,
    /// Where other tasks leave frames and tokens.
    pub mailbox: Arc<Mailbox>,
}

/// What a server does on one connection. Runs on the connection's task only; `out` collects whole frames, written in
/// one go after all frames of a read.
pub trait Session: Send {
    /// Handles one frame.
    fn on_frame(&mut self, frame: FrameView<'_>, out: &mut Vec<u8>);

    /// All frames of a read have been handled: finish what was gathered over them.
    fn on_read_end(&mut self, _out: &mut Vec<u8>) {}

    /// A token that was left in the mailbox.
    fn on_token(&mut self, _token: u64, _out: &mut Vec<u8>) {}

    /// Resolves when [`Session::on_progress`] has something to do. Dropped and called anew at any time.
    fn progress(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Releases answers whose time has come. Called after every event, so it must be cheap when there are none.
    fn on_progress(&mut self, _out: &mut Vec<u8>) {}

    /// Says whether more frames may be read now; false is back-pressure.
    fn may_read(&self) -> bool {
        true
    }

    /// Says whether answers are still due; a stopping server waits for them.
    fn owes(&self) -> bool {
        false
    }

    /// The connection is gone, for whatever reason. Called exactly once.
    fn on_close(&mut self) {}
}

/// Calls `on_close` even when a handler panics.
struct Closing<S: Session>(S);

impl<S: Session> Drop for Closing<S> {
    fn drop(&mut self) {
        self.0.on_close();
    }
}

/// Why a connection ended; for the debug log and the counters.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("closed by peer")]
    Eof,
    #[error("closed by us")]
    Asked,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("malformed frame: {0}")]
    Malformed(#[from] frame::MalformedFrame),
    #[error("idle for too long")]
    Idle,
    #[error("frame incomplete for too long")]
    SlowFrame,
    #[error("answer not taken for too long")]
    SlowReader,
    #[error("no budget left for a frame of {0} bytes")]
    Budget(usize),
    #[error("server stops")]
    Stopping,
}

/// Runs a connection to its end.
pub(crate) async fn run<S: Session>(stream: TcpStream, peer: Peer, session: S, shared: Arc<Shared>, shutdown: Shutdown) {
    let mut session = Closing(session);
    let mut c = Connection {
        stream,
        mailbox: peer.mailbox.clone(),
        input: Input::new(shared.clone()),
        out: Vec::new(),
        tokens: Vec::new(),
        shared,
        shutdown,
    };
    let ended = c.drive(&mut session.0).await.expect_err("drive ends only with a reason");
    let stats = &c.shared.stats;
    match ended {
        Ended::Malformed(_) => _ = stats.malformed.fetch_add(1, Ordering::Relaxed),
        Ended::Idle | Ended::SlowFrame | Ended::SlowReader | Ended::Budget(_) => {
            stats.expelled.fetch_add(1, Ordering::Relaxed);
        }
        _ => {}
    }
    debug!(peer = %peer.addr, "connection ended: {ended}");
}

enum Event {
    Readable,
    Other,
    Timer,
    Stop,
}

struct Connection {
    stream: TcpStream,
    mailbox: Arc<Mailbox>,
    input: Input,
    out: Vec<u8>,
    tokens: Vec<u64>,
    shared: Arc<Shared>,
    shutdown: Shutdown,
}

impl Connection {
    async fn drive(&mut self, session: &mut impl Session) -> Result<std::convert::Infallible, Ended> {
        let mut last_activity = Instant::now();
        let timer = sleep_until(last_activity + self.shared.limits.idle_timeout.min(self.shared.limits.frame_timeout));
        tokio::pin!(timer);
        let mut stopping: Option<Instant> = None;
        loop {
            match self.next_event(session, timer.as_mut(), stopping.is_some()).await {
                Event::Readable => {
                    if self.input.read(&self.stream, &self.shared.limits)? {
                        last_activity = Instant::now();
                        self.handle_frames(session).await?;
                    }
                }
                Event::Other => {}
                Event::Timer => self.check_time(last_activity, timer.as_mut())?,
                Event::Stop if stopping.is_none() => {
                    stopping = Some(Instant::now() + DRAIN);
                    timer.as_mut().reset(Instant::now() + DRAIN);
                }
                Event::Stop => {}
            }
            if self.mailbox.is_full() {
                self.mailbox.take(&mut self.out, &mut self.tokens);
                for token in std::mem::take(&mut self.tokens) {
                    session.on_token(token, &mut self.out);
                }
            }
            session.on_progress(&mut self.out);
            if !self.out.is_empty() {
                self.write().await?;
                last_activity = Instant::now();
            }
            if self.mailbox.is_closing() {
                return Err(Ended::Asked);
            }
            if stopping.is_some_and(|deadline| !session.owes() || Instant::now() >= deadline) {
                return Err(Ended::Stopping);
            }
        }
    }

    async fn next_event(&mut self, session: &mut impl Session, timer: std::pin::Pin<&mut Sleep>, stopping: bool) -> Event {
        let may_read = !stopping && session.may_read();
        tokio::select! {
            biased;
            _ = self.stream.readable(), if may_read => Event::Readable,
            _ = self.mailbox.filled() => Event::Other,
            _ = session.progress() => Event::Other,
            _ = timer => Event::Timer,
            _ = self.shutdown.wait_for(|stop| *stop), if !stopping => Event::Stop,
        }
    }

    async fn handle_frames(&mut self, session: &mut impl Session) -> Result<(), Ended> {
        loop {
            let (used, more) = self.input.each_frame(|frame| {
                session.on_frame(frame, &mut self.out);
                self.out.len() < self.shared.limits.max_unanswered_bytes
            })?;
            session.on_read_end(&mut self.out);
            self.input.consume(used);
            if !more {
                return Ok(());
            }
            // The answers to the first frames are large: write them before the next ones are handled.
            self.write().await?;
        }
    }

    fn check_time(&self, last_activity: Instant, timer: std::pin::Pin<&mut Sleep>) -> Result<(), Ended> {
        let now = Instant::now();
        let limits = &self.shared.limits;
        if self.input.begun.is_some_and(|t| now >= t + limits.frame_timeout) {
            return Err(Ended::SlowFrame);
        }
        if now >= last_activity + limits.idle_timeout {
            return Err(Ended::Idle);
        }
        let idle = last_activity + limits.idle_timeout;
        let next = self.input.begun.map_or(now + limits.frame_timeout, |t| t + limits.frame_timeout);
        timer.reset(idle.min(next));
        Ok(())
    }

    async fn write(&mut self) -> Result<(), Ended> {
        let mut at = 0;
        while at < self.out.len() {
            match self.stream.try_write(&self.out[at..]) {
                Ok(0) => return Err(Ended::Eof),
                Ok(n) => at += n,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    let ready = timeout(self.shared.limits.write_timeout, self.stream.writable()).await;
                    ready.map_err(|_| Ended::SlowReader)??;
                }
                Err(e) => return Err(e.into()),
            }
        }
        self.shared.stats.bytes_out.fetch_add(at as u64, Ordering::Relaxed);
        self.out.clear();
        if self.out.capacity() > 64 * 1024 {
            self.out = Vec::new();
        }
        Ok(())
    }
}

/// Bytes read and not yet handled. Holds a buffer only while there are some.
struct Input {
    buffer: Vec<u8>,
    filled: usize,
    /// Bytes reserved from the budget of large frames.
    reserved: usize,
    /// How long the frame at the front must become, when it is larger than the buffer.
    wanted: usize,
    /// When the incomplete frame at the front began.
    begun: Option<Instant>,
    shared: Arc<Shared>,
}

impl Input {
    fn new(shared: Arc<Shared>) -> Input {
        Input { buffer: Vec::new(), filled: 0, reserved: 0, wanted: 0, begun: None, shared }
    }

    /// Reads once. Returns false when there was nothing after all.
    fn read(&mut self, stream: &TcpStream, limits: &Limits) -> Result<bool, Ended> {
        if self.buffer.is_empty() {
            self.buffer = self.shared.pool.take(limits.read_buffer);
        }
        if self.filled == self.buffer.len() {
            self.grow(limits)?;
        }
        match stream.try_read(&mut self.buffer[self.filled..]) {
            Ok(0) => Err(Ended::Eof),
            Ok(n) => {
                self.filled += n;
                self.shared.stats.bytes_in.fetch_add(n as u64, Ordering::Relaxed);
                Ok(true)
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                self.settle();
                Ok(false)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Doubles the buffer, never beyond the frame at its front: what is allocated stays in proportion to what came.
    fn grow(&mut self, limits: &Limits) -> Result<(), Ended> {
        let size = (self.buffer.len() * 2).min(self.wanted.max(self.buffer.len() + 1));
        let more = size - self.buffer.len();
        if !self.shared.stats.reserve(more, limits) {
            return Err(Ended::Budget(self.wanted));
        }
        self.reserved += more;
        self.buffer.resize(size, 0);
        Ok(())
    }

    /// Calls `each` for the complete frames from the front on, until it returns false. Returns the bytes they took,
    /// and whether there may be further complete ones.
    fn each_frame(&mut self, mut each: impl FnMut(FrameView<'_>) -> bool) -> Result<(usize, bool), Ended> {
        let mut at = 0;
        loop {
            match frame::decode(&self.buffer[at..self.filled]) {
                Decoded::Frame(frame, used) => {
                    at += used;
                    if !each(frame) {
                        return Ok((at, at < self.filled));
                    }
                }
                Decoded::NeedMore(wanted) => {
                    self.wanted = wanted;
                    return Ok((at, false));
                }
                Decoded::Malformed(reason) => return Err(reason.into()),
            }
        }
    }

    fn consume(&mut self, used: usize) {
        if used > 0 {
            self.buffer.copy_within(used..self.filled, 0);
            self.filled -= used;
            self.begun = None;
        }
        if self.filled > 0 && self.begun.is_none() {
            self.begun = Some(Instant::now());
        }
        self.settle();
    }

    /// Gives the buffer back when nothing is in it.
    fn settle(&mut self) {
        if self.filled > 0 || self.buffer.is_empty() {
            return;
        }
        self.shared.stats.release(std::mem::take(&mut self.reserved));
        self.shared.pool.give(std::mem::take(&mut self.buffer), self.shared.limits.read_buffer);
        self.begun = None;
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.filled = 0;
        self.settle();
    }
}

/// Read buffers that no connection needs at the moment.
#[derive(Default)]
pub(crate) struct BufferPool(parking_lot::Mutex<Vec<Vec<u8>>>);

/// Buffers kept for the next read.
const POOLED: usize = 64;

impl BufferPool {
    fn take(&self, size: usize) -> Vec<u8> {
        self.0.lock().pop().unwrap_or_else(|| vec![0; size])
    }

    fn give(&self, buffer: Vec<u8>, size: usize) {
        let mut pool = self.0.lock();
        if buffer.len() == size && pool.len() < POOLED {
            pool.push(buffer);
        }
    }
}

impl Stats {
    pub(crate) fn opened(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }
}
