//! The mock's log: records of P§4.1 in a file that is written over and over.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;

use super::request::Send;

const QUEUES: usize = 64;
const LAP_GAP: u64 = 4 << 20;
const MAGIC_V1: i32 = -626_843_481;

/// 127.0.0.1 and a port, as records and message ids carry it.
pub const HOST: [u8; 8] = [127, 0, 0, 1, 0, 0, 0x2A, 0x9F];

/// A file of fixed size and what was written to it.
pub struct Ring {
    file: File,
    size: u64,
    tail: Mutex<Tail>,
}

/// Bytes of one write that fills the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pieces {
    /// One page.
    Small = 4096,
    /// As much as the page cache keeps together.
    Large = 1 << 20,
}

struct Tail {
    position: u64,
    queue_offsets: [i64; QUEUES],
    record_size: u64,
    batch: Vec<u8>,
}

/// Where a record was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Position in the log, were it no ring.
    pub physical: i64,
    /// Position in the queue.
    pub queue_offset: i64,
}

impl Ring {
    /// Creates the file and writes all of it, so that its pages are resident and its blocks allocated.
    /// The page cache keeps it in pieces of the size of these writes: `Large` ones are cheapest to write
    /// to, but a sync writes back whole pieces.
    pub fn create(path: &Path, size: u64, pieces: Pieces) -> Result<Arc<Self>> {
        let named = || format!("create the ring {}", path.display());
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(true).open(path).with_context(named)?;
        let chunk = vec![0; pieces as usize];
        for _ in 0..size / chunk.len() as u64 {
            file.write_all(&chunk).with_context(named)?;
        }
        file.sync_all().with_context(named)?;
        let tail = Tail {
            position: 0,
            queue_offsets: [0; QUEUES],
            record_size: 0,
            batch: Vec::with_capacity(1 << 20),
        };
        Ok(Arc::new(Self { file, size, tail: Mutex::new(tail) }))
    }

    /// Appends the records of one read under one lock and with one write; `placed` gets one entry each.
    pub fn append(&self, sends: &[Send<'_>], placed: &mut Vec<Placed>) -> Result<()> {
        let mut tail = self.tail.lock();
        let tail = &mut *tail;
        tail.batch.clear();
        let length = sends.iter().map(|send| record_size(send) as u64).sum::<u64>();
        if tail.position % self.size + length > self.size {
            tail.position += self.size - tail.position % self.size;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        for send in sends {
            let queue = send.queue_id.rem_euclid(QUEUES as i32) as usize;
            let physical = (tail.position + tail.batch.len() as u64) as i64;
            let at = Placed { physical, queue_offset: tail.queue_offsets[queue] };
            tail.queue_offsets[queue] += 1;
            tail.record_size = record_size(send) as u64;
            encode(&mut tail.batch, send, at, now);
            placed.push(at);
        }
        self.file.write_all_at(&tail.batch, tail.position % self.size).context("write to the ring")?;
        tail.position += length;
        Ok(())
    }

    /// Appends `count` neighbouring records to `out`, all of the size of the last one sent; which ones
    /// depends on queue and offset, but they are some other queue's as well. Returns how many.
    pub fn read(&self, queue: i32, offset: i64, count: u64, out: &mut Vec<u8>) -> Result<u64> {
        let (size, position) = {
            let tail = self.tail.lock();
            // A batch that does not fit begins the next lap, so the ring's end may hold no records.
            (tail.record_size, tail.position.min(self.size - LAP_GAP))
        };
        let stored = position.checked_div(size).unwrap_or(0);
        let count = count.min(stored);
        let choice = (queue as u64).wrapping_mul(stored / 8).wrapping_add(offset as u64);
        let first = choice % (stored - count + 1);
        let start = out.len();
        out.resize(start + (count * size) as usize, 0);
        self.file.read_exact_at(&mut out[start..], first * size).context("read from the ring")?;
        Ok(count)
    }

    /// Returns where the log ends, were it no ring.
    pub fn end(&self) -> u64 {
        self.tail.lock().position
    }

    /// Appends the log from `at` on to `out`: at most `max` bytes, none if `at` is the end, and never past
    /// the end of a lap. Returns how many.
    pub fn read_log(&self, at: u64, max: usize, out: &mut Vec<u8>) -> Result<usize> {
        let lap_end = (at / self.size + 1) * self.size;
        let count = self.end().min(lap_end).min(at + max as u64).saturating_sub(at) as usize;
        let start = out.len();
        out.resize(start + count, 0);
        self.file.read_exact_at(&mut out[start..], at % self.size).context("read from the ring")?;
        Ok(count)
    }

    /// Appends bytes that another ring's [`Ring::read_log`] gave, at the same position as there.
    pub fn append_log(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let mut tail = self.tail.lock();
        ensure!(tail.position == at, "append to the ring at {at}, which ends at {}", tail.position);
        self.file.write_all_at(bytes, at % self.size).context("write to the ring")?;
        tail.position += bytes.len() as u64;
        Ok(())
    }

    /// Waits until everything written so far is on the device.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().context("sync the ring")
    }
}

fn record_size(send: &Send<'_>) -> usize {
    91 + send.body.len() + send.topic.len() + send.properties.len()
}

fn encode(out: &mut Vec<u8>, send: &Send<'_>, at: Placed, now: i64) {
    let size = record_size(send);
    let mut head = [0; 88];
    let mut field = |offset: usize, bytes: &[u8]| head[offset..offset + bytes.len()].copy_from_slice(bytes);
    field(0, &(size as u32).to_be_bytes());
    field(4, &MAGIC_V1.to_be_bytes());
    field(8, &(crc32fast::hash(send.body) & 0x7FFF_FFFF).to_be_bytes());
    field(12, &send.queue_id.to_be_bytes());
    field(16, &send.flag.to_be_bytes());
    field(20, &at.queue_offset.to_be_bytes());
    field(28, &at.physical.to_be_bytes());
    field(36, &send.sys_flag.to_be_bytes());
    field(40, &send.born_timestamp.to_be_bytes());
    field(48, &HOST);
    field(56, &now.to_be_bytes());
    field(64, &HOST);
    field(72, &send.reconsume_times.to_be_bytes());
    field(84, &(send.body.len() as u32).to_be_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(send.body);
    out.push(send.topic.len() as u8);
    out.extend_from_slice(&send.topic);
    out.extend_from_slice(&(send.properties.len() as u16).to_be_bytes());
    out.extend_from_slice(&send.properties);
}
