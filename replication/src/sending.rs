//! One follower's connection: the log goes out, reports come in, on one task. Neither direction waits for the other.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, Instant};

use store::ReadError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep_until};
use tracing::info;

use crate::leader::{Leader, now};
use crate::members::Sent;
use crate::wire::{self, Decoded, FrameHead, HEAD};

/// Bytes of reports read at once.
const READ: usize = 1024;

/// Why a follower's connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("it closed the connection")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("we stop")]
    Stopping,
    #[error("it reported nothing for {0:?} (haHousekeepingInterval)")]
    Silent(Duration),
    #[error("what it sent is no report: {0}")]
    Malformed(#[from] wire::Malformed),
    #[error(
        "it reports {report}, but this log ends at {written}: it has what this master has lost or never had; it must not go on, see its own log"
    )]
    Ahead { report: u64, written: u64 },
    #[error("it reports {report}, but was sent the log up to {sent} only: it does not follow this log alone")]
    NotSent { report: u64, sent: u64 },
    #[error(
        "it reports {report}, but this log begins at {begin}: what it needs next was removed; it must start over"
    )]
    Removed { report: u64, begin: u64 },
    #[error("{0}: what it needs next was removed while it was sent; it must start over")]
    Outrun(ReadError),
    #[error("{0}")]
    Unreadable(ReadError),
}

enum Event {
    Read(io::Result<usize>),
    Written(io::Result<usize>),
    Appended,
    /// What was held back may go.
    Released,
    Timer,
    Stop,
}

/// One follower's connection.
pub(crate) struct Sending<'a, R, W> {
    leader: &'a Leader,
    id: u64,
    addr: SocketAddr,
    reader: R,
    writer: W,
    reports: [u8; READ],
    /// Bytes of an incomplete report.
    reports_len: usize,
    out: Outgoing,
    /// Where in the log the next frame begins; `None` before the first report.
    next: Option<u64>,
    catch_up: watch::Receiver<Option<u64>>,
    last_report: Instant,
    last_written: Instant,
}

impl<'a, R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Sending<'a, R, W> {
    pub fn new(leader: &'a Leader, id: u64, addr: SocketAddr, reader: R, writer: W) -> Sending<'a, R, W> {
        Sending {
            leader,
            id,
            addr,
            reader,
            writer,
            reports: [0; READ],
            reports_len: 0,
            out: Outgoing::default(),
            next: None,
            catch_up: leader.catch_up_changes(),
            last_report: now(),
            last_written: now(),
        }
    }

    /// Says whether the other end has ever reported.
    pub fn is_follower(&self) -> bool {
        self.next.is_some()
    }

    /// Runs the connection to its end.
    pub async fn drive(&mut self, mut stop: watch::Receiver<bool>) -> Result<Infallible, Ended> {
        let leader = self.leader;
        let timer = sleep_until(self.next_deadline().into());
        tokio::pin!(timer);
        loop {
            // Before the log's end is looked at, or an append in between would wake nobody.
            let appended = leader.store().appended().notified();
            self.fill()?;
            match self.next_event(appended, timer.as_mut(), &mut stop).await {
                Event::Stop => return Err(Ended::Stopping),
                Event::Read(n) => self.on_read(n?)?,
                Event::Written(n) => self.on_written(n?)?,
                Event::Released => self.out.held_until = None,
                Event::Appended => {}
                Event::Timer => {
                    let silence = leader.config().housekeeping;
                    if now() >= self.last_report + silence {
                        return Err(Ended::Silent(silence));
                    }
                    self.beat_if_due();
                    // Set again only here, not at every frame: it may wake too early, which does no harm.
                    timer.as_mut().reset(self.next_deadline().into());
                }
            }
        }
    }

    async fn next_event(
        &mut self,
        appended: impl Future<Output = ()>,
        timer: Pin<&mut Sleep>,
        stop: &mut watch::Receiver<bool>,
    ) -> Event {
        let held_until = self.out.held_until;
        let released = async {
            match held_until {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let idle = self.next.is_some() && self.out.is_empty();
        let out = self.out.unwritten();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Event::Stop,
            n = self.reader.read(&mut self.reports[self.reports_len..]) => Event::Read(n),
            n = self.writer.write(out), if !out.is_empty() => Event::Written(n),
            () = appended, if idle => Event::Appended,
            () = released, if held_until.is_some() => Event::Released,
            _ = self.catch_up.changed(), if held_until.is_some() => Event::Released,
            () = timer => Event::Timer,
        }
    }

    // ---- reports ----

    fn on_read(&mut self, n: usize) -> Result<(), Ended> {
        if n == 0 {
            return Err(Ended::Closed);
        }
        self.reports_len += n;
        match wire::decode_last_report(&self.reports[..self.reports_len]) {
            Decoded::NeedMore => Ok(()),
            Decoded::Malformed(why) => Err(why.into()),
            Decoded::Value((report, used)) => {
                self.reports.copy_within(used..self.reports_len, 0);
                self.reports_len -= used;
                self.last_report = now();
                self.on_report(report)
            }
        }
    }

    fn on_report(&mut self, report: u64) -> Result<(), Ended> {
        match self.next {
            None => self.start(report),
            Some(sent) if report > sent => Err(Ended::NotSent { report, sent }),
            Some(_) => {
                self.leader.on_report(self.id, report);
                Ok(())
            }
        }
    }

    fn start(&mut self, report: u64) -> Result<(), Ended> {
        let (begin, written) = (self.leader.store().begin(), self.leader.store().written());
        // 0 is "nothing": it gets all there is.
        let start = if report == 0 { begin } else { report };
        if start > written {
            return Err(Ended::Ahead { report, written });
        }
        if start < begin {
            return Err(Ended::Removed { report, begin });
        }
        info!(follower = %self.addr, report, begin, written, "follower connected");
        self.next = Some(start);
        self.leader.on_connect(self.id, self.addr, start);
        if start == written {
            // So that it knows at once that it has everything.
            self.out.beat(start);
        }
        Ok(())
    }

    // ---- frames ----

    /// Puts what the log has behind the last frame into the next one, unless one is on its way.
    fn fill(&mut self) -> Result<(), Ended> {
        let Some(next) = self.next.filter(|_| self.out.is_empty()) else { return Ok(()) };
        let store = self.leader.store();
        let written = store.written();
        if next == written {
            return Ok(());
        }
        let max = self.leader.config().max_transfer_bytes;
        let read = self.out.fill(next, |out| match store.read_log(next, max, false, out) {
            // The other connections of this thread must not wait for the disk.
            Err(ReadError::WouldBlock) => {
                tokio::task::block_in_place(|| store.read_log(next, max, true, out))
            }
            read => read,
        });
        let read = read.map_err(|e| match e {
            ReadError::Outside { .. } => Ended::Outrun(e),
            _ => Ended::Unreadable(e),
        })?;
        let end = next + read.bytes as u64;
        self.next = Some(end);
        if !read.from_memory {
            self.catch_up.mark_unchanged();
            self.out.held_until = self.leader.book(read.bytes);
        }
        let sent = Sent { end, bytes: read.bytes, from_memory: read.from_memory };
        self.leader.on_sent(self.id, sent, written);
        Ok(())
    }

    fn on_written(&mut self, n: usize) -> Result<(), Ended> {
        if n == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero).into());
        }
        self.out.on_written(n);
        self.last_written = now();
        Ok(())
    }

    /// A frame that is on its way says that we live; one that is held back does not.
    fn beat_if_due(&mut self) {
        if self.out.is_quiet()
            && let Some(next) = self.next
            && now() >= self.last_written + self.leader.config().heartbeat
        {
            self.out.beat(next);
        }
    }

    fn next_deadline(&self) -> Instant {
        let (heartbeat, housekeeping) = (self.leader.config().heartbeat, self.leader.config().housekeeping);
        let quiet_since = if self.out.is_quiet() && self.next.is_some() { self.last_written } else { now() };
        (quiet_since + heartbeat).min(self.last_report + housekeeping)
    }
}

/// What goes out: at most one frame, and before it at most one heartbeat.
#[derive(Default)]
struct Outgoing {
    heartbeat: Vec<u8>,
    frame: Vec<u8>,
    /// How much of the first of them is written.
    written: usize,
    /// The frame may go from then on; until then heartbeats may.
    held_until: Option<Instant>,
}

impl Outgoing {
    fn is_empty(&self) -> bool {
        self.heartbeat.is_empty() && self.frame.is_empty()
    }

    /// Says whether nothing is on its way now.
    fn is_quiet(&self) -> bool {
        self.unwritten().is_empty()
    }

    /// Makes a frame of what `read` appends to the buffer; none on error.
    fn fill<E>(
        &mut self,
        offset: u64,
        read: impl FnOnce(&mut Vec<u8>) -> Result<store::LogRead, E>,
    ) -> Result<store::LogRead, E> {
        self.frame.resize(HEAD, 0);
        let result = read(&mut self.frame);
        match &result {
            Ok(read) => {
                let head = wire::encode_head(FrameHead { offset, size: read.bytes });
                self.frame[..HEAD].copy_from_slice(&head);
            }
            Err(_) => self.frame.clear(),
        }
        result
    }

    /// Puts a heartbeat before a frame that has not begun to go out. `next` is the end of that frame, or of the last.
    fn beat(&mut self, next: u64) {
        let body = self.frame.len().saturating_sub(HEAD) as u64;
        self.heartbeat.extend_from_slice(&wire::encode_head(FrameHead { offset: next - body, size: 0 }));
    }

    fn unwritten(&self) -> &[u8] {
        if !self.heartbeat.is_empty() {
            &self.heartbeat[self.written..]
        } else if self.held_until.is_none() {
            &self.frame[self.written..]
        } else {
            &[]
        }
    }

    fn on_written(&mut self, n: usize) {
        self.written += n;
        let first = if self.heartbeat.is_empty() { &mut self.frame } else { &mut self.heartbeat };
        if self.written == first.len() {
            first.clear();
            self.written = 0;
        }
    }
}
