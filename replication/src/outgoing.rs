//! A leader's bytes on their way to a follower: frames, and heartbeats while a frame is held back. Pure.

use std::time::Instant;

use crate::wire::{self, FrameHead, HEAD};

/// What goes out: at most one frame, and before it at most one heartbeat.
#[derive(Default)]
pub(crate) struct Outgoing {
    heartbeat: Vec<u8>,
    frame: Vec<u8>,
    /// How much of the first of them is written.
    written: usize,
    /// The frame may go from then on; until then heartbeats may.
    pub held_until: Option<Instant>,
}

impl Outgoing {
    pub fn is_empty(&self) -> bool {
        self.heartbeat.is_empty() && self.frame.is_empty()
    }

    /// Says whether nothing is on its way now.
    pub fn is_quiet(&self) -> bool {
        self.unwritten().is_empty()
    }

    /// Makes a frame of what `read` appends to the buffer; none on error.
    pub fn fill<E>(
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
    pub fn beat(&mut self, next: u64) {
        let body = self.frame.len().saturating_sub(HEAD) as u64;
        self.heartbeat.extend_from_slice(&wire::encode_head(FrameHead { offset: next - body, size: 0 }));
    }

    pub fn unwritten(&self) -> &[u8] {
        if !self.heartbeat.is_empty() {
            &self.heartbeat[self.written..]
        } else if self.held_until.is_none() {
            &self.frame[self.written..]
        } else {
            &[]
        }
    }

    pub fn on_written(&mut self, n: usize) {
        self.written += n;
        let first = if self.heartbeat.is_empty() { &mut self.frame } else { &mut self.heartbeat };
        if self.written == first.len() {
            first.clear();
            self.written = 0;
        }
    }
}
