//! Bytes read from a connection and not yet handled. A connection holds a whole read buffer only while it is read from;
//! the beginning of a frame costs what came of it, and counts in the budget of all connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::frame::{self, Decoded, FrameView};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::connection::Ended;
use crate::limits::Reserved;
use crate::server::Shared;

/// The front of a connection's byte stream.
pub(crate) struct Input {
    buffer: Vec<u8>,
    filled: usize,
    /// What the buffer takes of the budget; nothing while it is a read buffer in use.
    reserved: Option<Reserved>,
    /// How long the frame at the front must become, when it is larger than the buffer.
    wanted: usize,
    /// When the incomplete frame at the front began.
    pub begun: Option<Instant>,
    shared: Arc<Shared>,
}

impl Input {
    pub fn new(shared: Arc<Shared>) -> Input {
        Input { buffer: Vec::new(), filled: 0, reserved: None, wanted: 0, begun: None, shared }
    }

    /// Reads once. Returns false when there was nothing after all.
    pub fn read(&mut self, stream: &TcpStream) -> Result<bool, Ended> {
        if self.filled == self.buffer.len() {
            self.grow()?;
        }
        match stream.try_read(&mut self.buffer[self.filled..]) {
            Ok(0) => Err(Ended::Eof),
            Ok(n) => {
                self.filled += n;
                self.shared.stats.bytes_in.fetch_add(n as u64, Ordering::Relaxed);
                Ok(true)
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                self.rest()?;
                Ok(false)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Takes a read buffer, or doubles what is there, never beyond the frame at its front: what is allocated stays in
    /// proportion to what came.
    fn grow(&mut self) -> Result<(), Ended> {
        let least = self.shared.limits.read_buffer;
        if self.buffer.len() < least {
            let mut buffer = self.shared.pool.take(least);
            buffer[..self.filled].copy_from_slice(&self.buffer[..self.filled]);
            self.replace(buffer, None);
            return Ok(());
        }
        let size = (self.buffer.len() * 2).min(self.wanted.max(self.buffer.len() + 1));
        self.reserve(size)?;
        self.buffer.resize(size, 0);
        Ok(())
    }

    /// There is nothing more to read for now: keeps only what came of a frame.
    fn rest(&mut self) -> Result<(), Ended> {
        if self.filled == 0 {
            self.replace(Vec::new(), None);
        } else if self.filled <= self.buffer.len() / 2 {
            let kept = self.buffer[..self.filled].to_vec();
            self.replace(kept, None);
            self.reserve(self.filled)?;
        } else if self.reserved.is_none() {
            self.reserve(self.buffer.len())?;
        }
        Ok(())
    }

    /// Makes `bytes` what the buffer takes of the budget.
    fn reserve(&mut self, bytes: usize) -> Result<(), Ended> {
        self.reserved = None;
        self.reserved = Some(Reserved::take(&self.shared, bytes).ok_or(Ended::Budget(bytes))?);
        Ok(())
    }

    fn replace(&mut self, buffer: Vec<u8>, reserved: Option<Reserved>) {
        let old = std::mem::replace(&mut self.buffer, buffer);
        self.shared.pool.give(old, self.shared.limits.read_buffer);
        self.reserved = reserved;
    }

    /// Calls `each` for the complete frames from the front on, until it returns false. Returns the bytes they took,
    /// and whether there may be further complete ones.
    pub fn each_frame(
        &mut self,
        mut each: impl FnMut(FrameView<'_>) -> bool,
    ) -> Result<(usize, bool), Ended> {
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

    /// Lets go of the bytes of handled frames.
    pub fn consume(&mut self, used: usize) {
        if used > 0 {
            self.buffer.copy_within(used..self.filled, 0);
            self.filled -= used;
            self.begun = None;
        }
        if self.filled == 0 {
            self.replace(Vec::new(), None);
        } else if self.begun.is_none() {
            self.begun = Some(Instant::now());
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.replace(Vec::new(), None);
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
        if buffer.len() != size {
            return;
        }
        let mut pool = self.0.lock();
        if pool.len() < POOLED {
            pool.push(buffer);
        }
    }
}
