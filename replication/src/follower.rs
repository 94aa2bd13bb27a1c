//! A slave's side of the stream: one connection to a master, whose bytes are appended record by record, and reported.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::time::{Duration, Instant};

use store::AppendLogError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep_until};

use crate::assembly::Assembly;
use crate::clock::now;
use crate::following::Following;
use crate::reports::Reports;
use crate::wire;

/// Settings of a follower. Names in brackets are the broker's configuration keys.
#[derive(Debug, Clone)]
pub struct FollowerConfig {
    /// The master gets a report at least this often (`haSendHeartbeatInterval`).
    pub heartbeat: Duration,
    /// A master that sends nothing for this long is given up (`haHousekeepingInterval`).
    pub housekeeping: Duration,
    /// Bytes of a record, or of the blank at a segment's end, at most.
    pub max_record_bytes: usize,
}

impl Default for FollowerConfig {
    fn default() -> FollowerConfig {
        FollowerConfig {
            heartbeat: Duration::from_secs(5),
            housekeeping: Duration::from_secs(20),
            max_record_bytes: 16 * 1024 * 1024 + 64 * 1024,
        }
    }
}

/// The log that follows. All calls come from the task that runs [`follow`], one at a time.
pub trait FollowedLog: Sync {
    /// Returns the end of the log.
    fn end(&self) -> u64;

    /// Says whether the master is asked for everything it has, by a report of 0, instead of what comes behind the end:
    /// a log without a record may begin anywhere. A Java master answers 0 with its last file only: whoever follows one
    /// makes sure that the log does not end at 0, and does not ask for everything. Asked once.
    fn asks_for_everything(&self) -> bool;

    /// Makes the empty log begin at `begin`: the master's first bytes are from there.
    ///
    /// # Errors
    /// The disk failed; the connection ends.
    fn start_at(&self, begin: u64) -> io::Result<()>;

    /// Appends whole records and blanks that belong at `at`, the log's end, and returns its new end. Runs on the
    /// connection's task: whatever waits for the disk longer than a write into the page cache must say so to the
    /// runtime.
    ///
    /// # Errors
    /// As of `Store::append_log`; the connection ends, and what was appended before stays.
    fn append(&self, at: u64, bytes: &[u8]) -> Result<u64, AppendLogError>;

    /// Says whether reports tell what survives power loss instead of what is written. Asked before every report.
    fn flushed_acks(&self) -> bool;

    /// Returns the offset up to which the log survives power loss, to be watched.
    fn flushed(&self) -> watch::Receiver<u64>;

    /// Asks for durability up to an offset; called after appends when [`FollowedLog::flushed_acks`]. Returns at once.
    fn request_flush(&self, end: u64);
}

/// Why following ended. The log is whole in every case; connect again.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The connection failed.
    #[error("follow: {doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The master closed the connection.
    #[error("follow: the master closed the connection at {end}; its log tells why")]
    Closed {
        /// End of the own log.
        end: u64,
    },
    /// The master sent nothing for too long.
    #[error("follow: the master sent nothing for {0:?} (haHousekeepingInterval)")]
    Silent(Duration),
    /// The master sends something else than what comes next.
    #[error("follow: the master sends {size} bytes from {frame}, but {end} comes next here")]
    Misplaced {
        /// Where the frame belongs.
        frame: u64,
        /// Its size.
        size: usize,
        /// What comes next here.
        end: u64,
    },
    /// The master speaks something else.
    #[error("follow: {0}; is the address that of a master's HA port?")]
    Malformed(#[from] wire::Malformed),
    /// The log did not take what the master sent.
    #[error(transparent)]
    Append(#[from] AppendLogError),
    /// We were told to stop.
    #[error("follow: stopped")]
    Stopped,
}

/// Follows a master over a connection until something ends it: reports where the log ends, appends what comes, and
/// reports again after every read that brought something and at least every [`FollowerConfig::heartbeat`]. May be
/// dropped at any time.
///
/// # Errors
/// It ends only with an error; see [`FollowError`].
pub async fn follow(
    stream: TcpStream,
    log: &impl FollowedLog,
    config: &FollowerConfig,
    following: &Following,
    stop: watch::Receiver<bool>,
) -> Result<Infallible, FollowError> {
    stream.set_nodelay(true).map_err(|source| FollowError::Io { doing: "set TCP_NODELAY", source })?;
    following.on_local_addr(stream.local_addr().ok());
    let (reader, writer) = stream.into_split();
    Connection::new(reader, writer, log, config, following).drive(stop).await
}

/// Bytes read at once.
const READ: usize = 256 * 1024;

enum Event {
    Read(io::Result<usize>),
    Written(io::Result<usize>),
    Flushed,
    Timer,
    Stop,
}

struct Connection<'a, R, W, L> {
    reader: R,
    writer: W,
    log: &'a L,
    config: &'a FollowerConfig,
    following: &'a Following,
    flushed: watch::Receiver<u64>,
    /// It asked for everything, and nothing has come yet.
    asks_for_everything: bool,
    read: Vec<u8>,
    assembly: Assembly,
    reports: Reports,
    last_contact: Instant,
}

/// Says that the connection is gone, even when its future is dropped.
struct Closing<'a>(&'a Following);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.on_close();
    }
}

impl<'a, R: AsyncRead + Unpin, W: AsyncWrite + Unpin, L: FollowedLog> Connection<'a, R, W, L> {
    fn new(
        reader: R,
        writer: W,
        log: &'a L,
        config: &'a FollowerConfig,
        following: &'a Following,
    ) -> Connection<'a, R, W, L> {
        // Once: the log may lose its last record to retention at any time.
        let asks_for_everything = log.asks_for_everything();
        Connection {
            reader,
            writer,
            log,
            config,
            following,
            flushed: log.flushed(),
            asks_for_everything,
            read: vec![0; READ],
            assembly: Assembly::new(log.end(), asks_for_everything, config.max_record_bytes),
            reports: Reports::new(),
            last_contact: now(),
        }
    }

    async fn drive(mut self, mut stop: watch::Receiver<bool>) -> Result<Infallible, FollowError> {
        let _closing = Closing(self.following);
        self.following.on_connect(self.log.end(), now());
        if self.log.flushed_acks() {
            self.log.request_flush(self.log.end());
        }
        let timer = sleep_until(self.next_deadline().into());
        tokio::pin!(timer);
        loop {
            let report = self.report();
            self.reports.offer(report, self.config.heartbeat, now());
            match self.next_event(timer.as_mut(), &mut stop).await {
                Event::Stop => return Err(FollowError::Stopped),
                Event::Written(written) => self.on_written(written)?,
                Event::Read(read) => self.on_read(read)?,
                Event::Flushed => {}
                Event::Timer => {
                    if now() >= self.last_contact + self.config.housekeeping {
                        return Err(FollowError::Silent(self.config.housekeeping));
                    }
                    // Set again only here, not at every read: it may wake too early, which does no harm.
                    timer.as_mut().reset(self.next_deadline().into());
                }
            }
        }
    }

    async fn next_event(&mut self, timer: Pin<&mut Sleep>, stop: &mut watch::Receiver<bool>) -> Event {
        let reports = self.reports.unwritten();
        let flushed_acks = self.log.flushed_acks();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Event::Stop,
            written = self.writer.write(reports), if !reports.is_empty() => Event::Written(written),
            read = self.reader.read(&mut self.read) => Event::Read(read),
            Ok(()) = self.flushed.changed(), if flushed_acks => Event::Flushed,
            () = timer => Event::Timer,
        }
    }

    fn on_read(&mut self, read: io::Result<usize>) -> Result<(), FollowError> {
        let n = read.map_err(|source| FollowError::Io { doing: "read from the master", source })?;
        if n == 0 {
            return Err(FollowError::Closed { end: self.log.end() });
        }
        self.assembly.on_read(&self.read[..n])?;
        if let Some((at, bytes)) = self.assembly.whole()? {
            if std::mem::take(&mut self.asks_for_everything) && at != self.log.end() {
                let doing = "begin the log where the master's begins";
                self.log.start_at(at).map_err(|source| FollowError::Io { doing, source })?;
            }
            let end = self.log.append(at, bytes)?;
            self.assembly.on_appended(end);
            if self.log.flushed_acks() {
                self.log.request_flush(end);
            }
        }
        // After the append: a long one is none of the master's silence.
        self.last_contact = now();
        self.following.on_read(n, self.assembly.master_end(), self.log.end(), self.last_contact);
        Ok(())
    }

    fn on_written(&mut self, written: io::Result<usize>) -> Result<(), FollowError> {
        let n = written.map_err(|source| FollowError::Io { doing: "report to the master", source })?;
        if self.reports.on_written(n) {
            self.following.on_reported(now());
        }
        Ok(())
    }

    /// Returns what the master may be told now, if anything.
    fn report(&mut self) -> Option<u64> {
        if self.asks_for_everything {
            return Some(0);
        }
        let end = self.log.end();
        if !self.log.flushed_acks() {
            return Some(end);
        }
        let flushed = *self.flushed.borrow_and_update();
        // At first, where to go on from and what is durable are one number, so what is there becomes durable first.
        (flushed >= end || !self.reports.is_first()).then(|| flushed.min(end))
    }

    fn next_deadline(&self) -> Instant {
        let silent = self.last_contact + self.config.housekeeping;
        silent.min(self.reports.next(self.config.heartbeat, now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use store::StoreConfig;
    use store::retention::RetentionPolicy;
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use crate::support::{Site, StoreLog, until};
    use crate::wire::{FrameHead, REPORT, encode_head};

    /// A follower with one connection, of which the test is the master.
    struct Rig {
        site: Site,
        log: Arc<StoreLog>,
        following: Arc<Following>,
        master: DuplexStream,
        connection: JoinHandle<FollowError>,
        stop: watch::Sender<bool>,
    }

    fn rig(site: Site, flushed_acks: bool, pipe: usize) -> Rig {
        let log = Arc::new(StoreLog::new(&site.store));
        log.flushed_acks.store(flushed_acks, Ordering::Relaxed);
        let following = Following::new();
        let (near, master) = duplex(pipe);
        let stop = watch::Sender::new(false);
        let (own, shown, stopped) = (log.clone(), following.clone(), stop.subscribe());
        let connection = tokio::spawn(async move {
            let (reader, writer) = tokio::io::split(near);
            let config = FollowerConfig::default();
            let Err(ended) = Connection::new(reader, writer, &*own, &config, &shown).drive(stopped).await;
            ended
        });
        Rig { site, log, following, master, connection, stop }
    }

    impl Rig {
        async fn report(&mut self) -> u64 {
            let mut bytes = [0; REPORT];
            self.master.read_exact(&mut bytes).await.unwrap();
            u64::from_be_bytes(bytes)
        }

        async fn send(&mut self, offset: u64, body: &[u8]) {
            let head = encode_head(FrameHead { offset, size: body.len() });
            self.master.write_all(&[&head[..], body].concat()).await.unwrap();
        }
    }

    /// A master's log.
    fn log(bodies: impl IntoIterator<Item = usize>) -> Vec<u8> {
        let site = Site::new(4096);
        site.append(bodies);
        site.log()
    }

    const ROOM: usize = 4 << 20;

    #[tokio::test(start_paused = true)]
    async fn bytes_on_the_wire_are_those_of_the_protocol() {
        let bytes = log([3]);
        let mut rig = rig(Site::new(4096), false, ROOM);
        let mut report = [9; 8];
        rig.master.read_exact(&mut report).await.unwrap();
        assert_eq!(report, [0; 8]);
        rig.master.write_all(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, bytes.len() as u8]).await.unwrap();
        rig.master.write_all(&bytes).await.unwrap();
        rig.master.read_exact(&mut report).await.unwrap();
        assert_eq!(report, [0, 0, 0, 0, 0, 0, 0, bytes.len() as u8]);
        assert_eq!(rig.site.log(), bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn it_reports_after_what_it_appends_and_every_five_seconds() {
        let bytes = log([10, 20]);
        let site = Site::new(4096);
        site.append([10]);
        let first = site.store.written();
        let mut rig = rig(site, false, ROOM);
        let begun = now();
        assert_eq!(rig.report().await, first);
        assert_eq!(rig.report().await, first);
        assert_eq!(now() - begun, Duration::from_secs(5));
        rig.send(first, &bytes[first as usize..]).await;
        assert_eq!(rig.report().await, bytes.len() as u64);
        assert_eq!(now() - begun, Duration::from_secs(5));
        rig.send(bytes.len() as u64, &[]).await;
        assert_eq!(rig.report().await, bytes.len() as u64);
        assert_eq!(now() - begun, Duration::from_secs(10), "a heartbeat brings nothing to report");
        let state = rig.following.state(now());
        assert!(state.connected);
        assert_eq!((state.end, state.master_end), (bytes.len() as u64, bytes.len() as u64));
        assert_eq!(state.received_bytes, 24 + bytes.len() as u64 - first);
        assert_eq!(state.last_contact, Some(begun + Duration::from_secs(5)));
        assert_eq!(state.last_report, Some(now()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_is_not_complete_is_not_reported() {
        let bytes = log([10, 20]);
        let first = 102;
        let mut rig = rig(Site::new(4096), false, ROOM);
        assert_eq!(rig.report().await, 0);
        rig.send(0, &bytes[..150]).await;
        assert_eq!(rig.report().await, first);
        rig.send(150, &bytes[150..151]).await;
        let begun = now();
        assert_eq!(rig.report().await, first);
        assert_eq!(now() - begun, Duration::from_secs(5));
        rig.send(151, &bytes[151..]).await;
        assert_eq!(rig.report().await, bytes.len() as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_master_that_falls_silent_is_given_up() {
        let mut rig = rig(Site::new(4096), false, ROOM);
        let begun = now();
        rig.report().await;
        tokio::time::sleep(Duration::from_secs(7)).await;
        rig.send(0, &[]).await;
        let ended = rig.connection.await.unwrap();
        assert_eq!(ended.to_string(), "follow: the master sent nothing for 20s (haHousekeepingInterval)");
        assert_eq!(now() - begun, Duration::from_secs(27));
        assert!(!rig.following.state(now()).connected);
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_and_closing_end_it() {
        let rig_1 = rig(Site::new(4096), false, ROOM);
        rig_1.stop.send_replace(true);
        assert!(matches!(rig_1.connection.await.unwrap(), FollowError::Stopped));
        let mut rig_2 = rig(Site::new(4096), false, ROOM);
        rig_2.report().await;
        drop(rig_2.master);
        assert!(matches!(rig_2.connection.await.unwrap(), FollowError::Closed { end: 0 }));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_belong_at_the_end_ends_it_and_changes_nothing() {
        let bytes = log([10, 20]);
        let mut flipped = bytes.clone();
        flipped[bytes.len() - 10] ^= 1;
        for (offset, body, want) in [
            (103, &bytes[102..], "follow: the master sends 112 bytes from 103, but 102 comes next here"),
            (0, &bytes[..], "follow: the master sends 214 bytes from 0, but 102 comes next here"),
            (5000, &[], "follow: the master sends 0 bytes from 5000, but 102 comes next here"),
            (102, &[1; 40], "append log: what stands at 102 is no intact record: magic"),
            (102, &flipped[102..], "append log: what stands at 102 is no intact record: body checksum"),
            (
                102,
                &bytes[..102],
                "append log: what stands at 102 is no intact record: record of another position",
            ),
        ] {
            let site = Site::new(4096);
            site.append([10]);
            let mut rig = rig(site, false, ROOM);
            assert_eq!(rig.report().await, 102);
            rig.send(offset, body).await;
            assert_eq!(rig.connection.await.unwrap().to_string(), want);
            assert_eq!(rig.site.log(), bytes[..102]);
        }
        let mut rig = rig(Site::new(4096), false, ROOM);
        rig.master.write_all(b"HTTP/1.1 400 Bad Request\r\n").await.unwrap();
        assert_eq!(
            rig.connection.await.unwrap().to_string(),
            "follow: frame at 5211883372140375601 of 540291120 bytes, at most 4194304 are possible; is the address that of a master's HA port?"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_log_begins_where_the_master_s_does() {
        let master = Site::new(4096);
        master.store.start_over(8192).unwrap();
        master.append([10, 20]);
        let mut rig = rig(Site::new(4096), false, ROOM);
        assert_eq!(rig.report().await, 0);
        rig.send(8192, &[]).await;
        rig.send(8192, &master.log()).await;
        assert_eq!(rig.report().await, master.store.written());
        assert_eq!(rig.site.files(), master.files());
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_whose_last_record_is_removed_while_it_follows_goes_on_where_it_ends() {
        let master = Site::new(4096);
        master.append([1000; 5]);
        let bytes = master.log();
        let (first, second) = bytes.split_at(4096);
        let site = Site::with(StoreConfig {
            segment_bytes: 4096,
            retention: RetentionPolicy { delete_hours: (0..24).collect(), ..Default::default() },
            ..StoreConfig::new("/s")
        });
        site.store.append_log(0, first, &mut |_, _| {}).unwrap();
        // The first report waits for the flush.
        let mut rig = rig(site, true, ROOM);
        until("it to connect", || rig.following.state(now()).end == 4096).await;
        rig.site.store.look_after_space(i64::MAX / 2);
        assert!(rig.site.store.is_empty_log());
        rig.site.store.flush_now();
        assert_eq!(rig.report().await, 4096);
        rig.send(4096, second).await;
        until("the append", || rig.log.end() == bytes.len() as u64).await;
        assert_eq!(rig.site.store.begin(), 4096);
    }

    #[tokio::test(start_paused = true)]
    async fn a_master_that_takes_no_reports_does_not_stop_the_appending() {
        let master = Site::new(64 << 10);
        // Records of 102 bytes, each in a frame of its own: more reports than the pipe holds.
        let end = master.append([10; 400]);
        let bytes = master.log();
        let mut rig = rig(Site::new(64 << 10), false, 1000);
        for (i, record) in bytes.chunks(102).enumerate() {
            rig.send(i as u64 * 102, record).await;
            until("the record", || rig.site.store.written() == (i as u64 + 1) * 102).await;
        }
        let mut reports = vec![rig.report().await];
        while *reports.last().unwrap() < end {
            reports.push(rig.report().await);
        }
        assert!(reports.is_sorted());
        assert!(
            (100..130).contains(&reports.len()),
            "what fits the pipe, and then the newest: {}",
            reports.len()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn with_flushed_acks_only_what_is_flushed_is_reported() {
        let bytes = log([10, 20, 30]);
        let site = Site::new(4096);
        site.append([10]);
        let mut rig = rig(site, true, ROOM);
        let early = tokio::time::timeout(Duration::from_secs(15), rig.report()).await;
        assert!(early.is_err(), "where to go on from is not durable yet");
        rig.site.store.flush_now();
        assert_eq!(rig.report().await, 102);
        rig.send(102, &bytes[102..214]).await;
        until("the append", || rig.log.end() == 214).await;
        assert_eq!(rig.report().await, 102, "five seconds later");
        rig.site.store.flush_now();
        let begun = now();
        assert_eq!(rig.report().await, 214);
        assert_eq!(now(), begun, "at once");
        rig.log.flushed_acks.store(false, Ordering::Relaxed);
        rig.send(214, &bytes[214..]).await;
        assert_eq!(rig.report().await, bytes.len() as u64);
        assert_eq!(rig.site.store.flushed_offset(), 214);
    }
}
