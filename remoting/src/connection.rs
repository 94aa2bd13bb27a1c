//! One connection: reads, hands every complete frame of a read to its session, and writes their answers at once.
//! No task, channel or lock stands between the socket and the session.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use protocol::frame::{self, FrameView};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tracing::debug;

use crate::input::Input;
use crate::limits::Reserved;
use crate::mailbox::Mailbox;
use crate::{Shutdown, server::Shared};

/// How long a stopping connection waits for answers that are still due.
pub const DRAIN: Duration = Duration::from_secs(3);
/// Reads after which a connection lets others run, though there is more to read.
const READS_IN_A_ROW: u32 = 8;
/// A connection without anything to say keeps no larger buffer for answers.
const MAX_IDLE_OUT: usize = 16 * 1024;

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
    /// Returns true when it stopped early to have `out` written first; it is called again then.
    fn on_progress(&mut self, _out: &mut Vec<u8>) -> bool {
        false
    }

    /// Says whether more frames may be read now; false is back-pressure.
    fn may_read(&self) -> bool {
        true
    }

    /// The server stops: nothing more is read. What is held without need is to be answered now.
    fn on_stop(&mut self, _out: &mut Vec<u8>) {}

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
pub(crate) enum Ended {
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
    #[error("no budget left to hold {0} bytes")]
    Budget(usize),
    #[error("server stops")]
    Stopping,
}

/// Runs a connection to its end.
pub(crate) async fn run<S: Session>(
    stream: TcpStream,
    peer: Peer,
    session: S,
    shared: Arc<Shared>,
    shutdown: Shutdown,
) {
    let mut session = Closing(session);
    let mut c = Connection {
        stream,
        mailbox: peer.mailbox.clone(),
        input: Input::new(shared.clone()),
        out: Vec::new(),
        shared,
        shutdown,
        stopping: None,
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
    shared: Arc<Shared>,
    shutdown: Shutdown,
    /// When a stopping connection ends, whatever is due.
    stopping: Option<Instant>,
}

impl Connection {
    async fn drive(&mut self, session: &mut impl Session) -> Result<std::convert::Infallible, Ended> {
        let mut last_activity = Instant::now();
        let timer = sleep_until(
            last_activity + self.shared.limits.idle_timeout.min(self.shared.limits.frame_timeout),
        );
        tokio::pin!(timer);
        let mut told_to_stop = false;
        let mut reads = 0;
        loop {
            match self.next_event(session, timer.as_mut()).await {
                Event::Readable => {
                    if self.input.read(&self.stream)? {
                        last_activity = Instant::now();
                        self.handle_frames(session).await?;
                        reads += 1;
                    } else {
                        reads = 0;
                    }
                    // A peer that never pauses must neither keep this thread nor the stop signal out.
                    if reads >= READS_IN_A_ROW {
                        reads = 0;
                        tokio::task::yield_now().await;
                        if *self.shutdown.borrow() {
                            self.begin_stop();
                        }
                    }
                }
                Event::Other => {}
                Event::Timer => self.check_time(last_activity, timer.as_mut())?,
                Event::Stop => self.begin_stop(),
            }
            if let Some(deadline) = self.stopping
                && !told_to_stop
            {
                told_to_stop = true;
                session.on_stop(&mut self.out);
                timer.as_mut().reset(deadline);
            }
            self.handle_mailbox(session).await?;
            while session.on_progress(&mut self.out) {
                self.write().await?;
            }
            if !self.out.is_empty() {
                self.write().await?;
                last_activity = Instant::now();
            }
            if self.mailbox.is_closing() {
                return Err(Ended::Asked);
            }
            if told_to_stop
                && (!session.owes() || self.stopping.is_some_and(|deadline| Instant::now() >= deadline))
            {
                return Err(Ended::Stopping);
            }
        }
    }

    async fn next_event(&mut self, session: &mut impl Session, timer: Pin<&mut Sleep>) -> Event {
        let stopping = self.stopping.is_some();
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

    async fn handle_mailbox(&mut self, session: &mut impl Session) -> Result<(), Ended> {
        if !self.mailbox.is_full() {
            return Ok(());
        }
        let mut tokens = Vec::new();
        self.mailbox.take(&mut self.out, &mut tokens);
        for token in tokens {
            session.on_token(token, &mut self.out);
            if self.out.len() >= self.shared.limits.max_unanswered_bytes {
                self.write().await?;
            }
        }
        Ok(())
    }

    fn begin_stop(&mut self) {
        self.stopping.get_or_insert_with(|| Instant::now() + DRAIN);
    }

    fn check_time(&self, last_activity: Instant, timer: Pin<&mut Sleep>) -> Result<(), Ended> {
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
        let mut held = None;
        while at < self.out.len() {
            match self.stream.try_write(&self.out[at..]) {
                Ok(0) => return Err(Ended::Eof),
                Ok(n) => at += n,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    if held.is_none() {
                        let reserved = Reserved::take(&self.shared, self.out.len());
                        held = Some(reserved.ok_or(Ended::Budget(self.out.len()))?);
                    }
                    self.writable().await?;
                }
                Err(e) => return Err(e.into()),
            }
        }
        self.shared.stats.bytes_out.fetch_add(at as u64, Ordering::Relaxed);
        self.out.clear();
        if self.out.capacity() > MAX_IDLE_OUT {
            self.out = Vec::new();
        }
        Ok(())
    }

    /// Waits until the peer takes more. A stopping server does not wait for long.
    async fn writable(&mut self) -> Result<(), Ended> {
        let (shutdown, stopping) = (&mut self.shutdown, &mut self.stopping);
        let stopped = async {
            if stopping.is_none() {
                let _ = shutdown.wait_for(|stop| *stop).await;
            }
            sleep_until(*stopping.get_or_insert_with(|| Instant::now() + DRAIN)).await;
        };
        tokio::select! {
            ready = self.stream.writable() => Ok(ready?),
            () = sleep(self.shared.limits.write_timeout) => Err(Ended::SlowReader),
            () = stopped => Err(Ended::Stopping),
        }
    }
}
