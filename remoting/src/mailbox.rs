//! What other tasks give a connection: frames to send, and tokens of requests to look at again. The connection's own
//! task does both, so a handler runs in one place only.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Frames a connection may have waiting that it did not ask for.
const MAX_FRAME_BYTES: usize = 256 * 1024;

/// The mailbox of one connection.
#[derive(Default)]
pub struct Mailbox {
    inner: Mutex<Inner>,
    notify: Notify,
    full: AtomicBool,
    closing: AtomicBool,
}

#[derive(Default)]
struct Inner {
    frames: Vec<u8>,
    tokens: Vec<u64>,
}

impl Mailbox {
    /// Lets `encode` append frames to be sent. Returns false, and drops them, when the peer is so slow that 256
    /// KiB are waiting already, or the connection is closing.
    pub fn send(&self, encode: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut inner = self.inner.lock();
        if inner.frames.len() > MAX_FRAME_BYTES || self.closing.load(Ordering::Relaxed) {
            return false;
        }
        encode(&mut inner.frames);
        drop(inner);
        self.wake();
        true
    }

    /// Hands over a token; the session gets it in [`crate::Session::on_token`]. Their number is bounded by the
    /// requests the session has parked.
    pub fn token(&self, token: u64) {
        self.inner.lock().tokens.push(token);
        self.wake();
    }

    /// Asks the connection to close after what it has to send.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.wake();
    }

    fn wake(&self) {
        self.full.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// Waits until something was put in.
    pub(crate) async fn filled(&self) {
        while !self.full.load(Ordering::Acquire) {
            self.notify.notified().await;
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Moves everything out: frames to the end of `out`, tokens into `tokens`.
    pub(crate) fn take(&self, out: &mut Vec<u8>, tokens: &mut Vec<u64>) {
        self.full.store(false, Ordering::Release);
        let mut inner = self.inner.lock();
        if out.is_empty() {
            std::mem::swap(out, &mut inner.frames);
        } else {
            out.append(&mut inner.frames);
        }
        tokens.append(&mut inner.tokens);
    }
}
