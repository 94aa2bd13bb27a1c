//! The bounds of a server's connections, and what they are at now. Every bound has a name in the configuration.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::server::Shared;

/// Bounds of a server's connections.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at once; further ones are closed when they arrive. `maxConnections`.
    pub max_connections: usize,
    /// A connection on which nothing happens for so long is closed. `serverChannelMaxIdleTimeSeconds`.
    pub idle_timeout: Duration,
    /// A frame that has begun must be complete after so long. `frameTimeoutMillis`.
    pub frame_timeout: Duration,
    /// A peer that takes nothing of an answer for so long is closed. `writeTimeoutMillis`.
    pub write_timeout: Duration,
    /// Bytes read at once, and kept by a connection that has frames to read.
    pub read_buffer: usize,
    /// Bytes of frames that are not complete and of answers that are not taken, over all connections.
    /// `maxBufferedBytes`.
    pub max_buffered_bytes: usize,
    /// Bytes of answers of one connection before it stops reading on. `maxUnansweredBytes`.
    pub max_unanswered_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_connections: 20_000,
            idle_timeout: Duration::from_secs(120),
            frame_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            read_buffer: 64 * 1024,
            max_buffered_bytes: 256 * 1024 * 1024,
            max_unanswered_bytes: 1024 * 1024,
        }
    }
}

/// What a server's connections are at now; counters only grow.
#[derive(Debug, Default)]
pub struct Stats {
    /// Open connections.
    pub connections: AtomicUsize,
    /// Bytes of frames that are not complete and of answers that are not taken.
    pub buffered_bytes: AtomicUsize,
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections closed on arrival, because there were too many.
    pub refused: AtomicU64,
    /// Connections closed because of bytes that are no frame.
    pub malformed: AtomicU64,
    /// Connections closed because of a timeout or of a budget.
    pub expelled: AtomicU64,
    /// Bytes read.
    pub bytes_in: AtomicU64,
    /// Bytes written.
    pub bytes_out: AtomicU64,
}

/// A part of the budget of bytes, given back when dropped.
pub(crate) struct Reserved {
    stats: Arc<Stats>,
    bytes: usize,
}

impl Reserved {
    /// Takes `bytes` from the budget; `None` when it is used up.
    pub fn take(shared: &Shared, bytes: usize) -> Option<Reserved> {
        let reserved = Reserved { stats: shared.stats.clone(), bytes };
        let before = shared.stats.buffered_bytes.fetch_add(bytes, Ordering::Relaxed);
        (before + bytes <= shared.limits.max_buffered_bytes).then_some(reserved)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.stats.buffered_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
