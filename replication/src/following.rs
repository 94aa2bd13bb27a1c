//! How following goes, for whoever wants to know: probes, metrics, operators.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::rate::Rate;
use crate::sync_state::SyncState;

/// How following goes; shared by the task that follows and those who ask.
#[derive(Debug, Default)]
pub struct Following(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: FollowingState,
    /// Those of the last connection.
    sync: Option<SyncState>,
    rate: Option<Rate>,
}

/// How following goes at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FollowingState {
    /// Whether a master is connected and was told where to go on.
    pub connected: bool,
    /// The own end of the last connection: the address the master knows this follower by.
    pub local_addr: Option<SocketAddr>,
    /// End of the own log.
    pub end: u64,
    /// Largest end of the master's log that was heard of.
    pub master_end: u64,
    /// When the own log had all that was heard of, for the last time that is known.
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
    pub fn state(&self, now: Instant) -> FollowingState {
        let inner = self.0.lock();
        let bytes_per_second = inner.rate.map_or(0, |rate| rate.bytes_per_second(now));
        FollowingState { bytes_per_second, ..inner.state }
    }

    /// The master said, elsewhere than in the stream, where its log ends: before it is followed, and at any time later.
    pub fn on_master_end(&self, end: u64) {
        self.0.lock().state.master_end = end;
    }

    /// A connection was made from this address.
    pub(crate) fn on_local_addr(&self, addr: Option<SocketAddr>) {
        self.0.lock().state.local_addr = addr;
    }

    /// A connection begins; the own log ends at `end`.
    pub(crate) fn on_connect(&self, end: u64, now: Instant) {
        let mut inner = self.0.lock();
        inner.state.end = end;
        inner.sync = Some(SyncState::on_connect(end, inner.state.master_end, now));
        inner.rate = Some(Rate::new(now));
    }

    /// Bytes came; the master's log reaches to `master_end`, the own one to `end`.
    pub(crate) fn on_read(&self, bytes: usize, master_end: u64, end: u64, now: Instant) {
        let mut inner = self.0.lock();
        let Inner { state, sync, rate } = &mut *inner;
        state.received_bytes += bytes as u64;
        state.last_contact = Some(now);
        state.master_end = state.master_end.max(master_end);
        state.end = end;
        if let Some(rate) = rate {
            rate.on_bytes(bytes, now);
        }
        if let Some(sync) = sync {
            sync.on_written(state.master_end, now);
            sync.on_report(end);
            state.caught_up_at = sync.caught_up_at().max(state.caught_up_at);
        }
    }

    pub(crate) fn on_reported(&self, now: Instant) {
        let mut inner = self.0.lock();
        inner.state.connected = true;
        inner.state.last_report = Some(now);
    }

    pub(crate) fn on_close(&self) {
        self.0.lock().state.connected = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_has_caught_up_when_it_has_what_the_master_had_at_some_time() {
        let begin = Instant::now();
        let at = |s| begin + Duration::from_secs(s);
        let following = Following::new();
        following.on_master_end(1000);
        following.on_connect(100, at(0));
        let caught_up = |s| following.state(at(s)).caught_up_at.map(|at| at.duration_since(begin).as_secs());
        following.on_read(500, 600, 600, at(1));
        assert_eq!(caught_up(1), None, "the master has 1000");
        following.on_read(600, 1200, 1100, at(3));
        assert_eq!(caught_up(3), Some(0), "it has what the master had at its coming");
        following.on_read(100, 1200, 1200, at(4));
        assert_eq!(caught_up(4), Some(3));
        following.on_read(12, 1200, 1200, at(9));
        assert_eq!(caught_up(9), Some(9), "a heartbeat when there is nothing to send");
        let state = following.state(at(9));
        let want = FollowingState {
            connected: false,
            local_addr: None,
            end: 1200,
            master_end: 1200,
            caught_up_at: Some(at(9)),
            last_contact: Some(at(9)),
            last_report: None,
            received_bytes: 1212,
            bytes_per_second: state.bytes_per_second,
        };
        assert_eq!(state, want);
    }

    #[test]
    fn a_new_connection_does_not_forget_when_the_last_one_had_caught_up() {
        let begin = Instant::now();
        let following = Following::new();
        following.on_connect(0, begin);
        following.on_read(12, 0, 0, begin);
        following.on_reported(begin);
        assert!(following.state(begin).connected);
        following.on_close();
        following.on_master_end(500);
        let later = begin + Duration::from_secs(60);
        following.on_connect(0, later);
        following.on_read(100, 100, 100, later);
        let state = following.state(later);
        assert!(!state.connected);
        assert_eq!((state.caught_up_at, state.master_end, state.end), (Some(begin), 500, 100));
    }
}
