//! The index file of a segment, `index/<base>.idx`, written once and sequentially. All integers big-endian.
//!
//! | part | bytes | content |
//! |---|---|---|
//! | header | 64 | magic `GIDX`, version 1, segment base u64, covers u64, last store time i64, rows u32, keys u32, bytes of the directory u64, position of the entries u64, CRC-32 of the directory u32, CRC-32 of the header before it u32 |
//! | directory | | rows sorted by topic and queue: topic length u16, topic, queue u32, first offset u64, count u32, min and max store time i64, position of its entries u64 |
//! | entries | 20 each | physical offset u64, size u32, tags code i64 (P§5.3), grouped by queue |
//! | keys | 8 each | hash u32, relative position u32, sorted |
//!
//! `covers` is the physical offset up to which the log is indexed: the segment's end, or less when the store was
//! closed cleanly before that. Every queue has a row, also an idle one, so its next offset survives retention.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keys::KeyEntry;
use super::queue::{Entry, Row};
use crate::disk::{Create, Disk, File};

/// Bytes of an entry.
pub const ENTRY: usize = 20;
const KEY: usize = 8;
const HEADER: usize = 64;
const MAGIC: u32 = 0x4749_4458;
const VERSION: u32 = 1;
/// Directories larger than this are damage, not data: ten million queues.
const MAX_DIRECTORY: u64 = 4 << 30;

/// An index file, open.
pub struct IndexFile {
    file: Arc<dyn File>,
    /// Base of the segment.
    pub base: u64,
    /// Physical offset up to which the log is indexed.
    pub covers: u64,
    /// Store time of the last record.
    pub last_store_time: i64,
    keys_at: u64,
    keys: u32,
}

/// Why an index file cannot be used. It is derived data: the segment is scanned instead.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The content is no index of this segment.
    #[error("damaged: {0}")]
    Damaged(&'static str),
}

/// A directory row with its queue's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryRow {
    /// Topic.
    pub topic: String,
    /// Queue.
    pub queue: u32,
    /// The rest.
    pub row: Row,
}

/// An index file with its directory.
pub type Opened = (Arc<IndexFile>, Vec<DirectoryRow>);

/// Returns the path of a segment's index file.
pub fn path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}.idx"))
}

/// What goes into an index file.
pub struct Content {
    /// Base of the segment.
    pub base: u64,
    /// Physical offset up to which the log is indexed.
    pub covers: u64,
    /// Store time of the last record.
    pub last_store_time: i64,
    /// Rows in order, their positions not yet set.
    pub rows: Vec<DirectoryRow>,
    /// Keys, sorted.
    pub keys: Vec<KeyEntry>,
}

/// Writes an index file so that after a crash it is there as a whole or not at all; it is durable once the folder is
/// synced. `entries` appends some of the n-th row: from which queue offset on, and how many. Sets the rows' positions.
pub fn write(
    disk: &dyn Disk,
    dir: &Path,
    content: &mut Content,
    entries: impl FnMut(usize, u64, usize, &mut Vec<Entry>) -> io::Result<()>,
) -> io::Result<Arc<IndexFile>> {
    let final_path = path(dir, content.base);
    let temp = final_path.with_extension("tmp");
    let file = disk.open(&temp, Create::Fresh)?;
    // All of it is still in memory, so a failed sync here costs a retry, not the process.
    let written =
        write_all(file, content, entries).and_then(|file| disk.rename(&temp, &final_path).map(|()| file));
    written.inspect_err(|_| {
        // On a full disk half a file is in the way; if it cannot go now, the next start removes it.
        let _ = disk.remove(&temp);
    })
}

/// Entries that are copied at once: few, because the queue is locked meanwhile and may be appended to.
const CHUNK: usize = 8192;

fn write_all(
    file: Arc<dyn File>,
    content: &mut Content,
    mut entries: impl FnMut(usize, u64, usize, &mut Vec<Entry>) -> io::Result<()>,
) -> io::Result<Arc<IndexFile>> {
    let directory_len: usize = content.rows.iter().map(|r| 2 + r.topic.len() + 4 + 8 + 4 + 8 + 8 + 8).sum();
    let entries_at = (HEADER + directory_len) as u64;
    let mut at = entries_at;
    for r in &mut content.rows {
        r.row.at = at;
        at += r.row.count as u64 * ENTRY as u64;
    }
    let keys_at = at;
    let mut directory = Vec::with_capacity(directory_len);
    content.rows.iter().for_each(|r| encode_row(r, &mut directory));
    let mut sink = Sink { file: &*file, at: 0, buffer: Vec::with_capacity(SINK) };
    sink.put(&header(content, directory_len as u64, entries_at, &directory))?;
    sink.put(&directory)?;
    let mut part = Vec::new();
    for (i, r) in content.rows.iter().enumerate() {
        let mut from = r.row.first;
        let end = r.row.first + r.row.count as u64;
        while from < end {
            part.clear();
            entries(i, from, CHUNK.min((end - from) as usize), &mut part)?;
            if part.first().is_none_or(|e| e.queue_offset != from) {
                return Err(io::Error::other(format!(
                    "{}/{} has no entry {from} to be sealed",
                    r.topic, r.queue
                )));
            }
            for e in &part {
                sink.put(&e.physical.to_be_bytes())?;
                sink.put(&e.size.to_be_bytes())?;
                sink.put(&e.tags_code.to_be_bytes())?;
            }
            from += part.len() as u64;
        }
    }
    for k in &content.keys {
        sink.put(&k.hash.to_be_bytes())?;
        sink.put(&k.relative.to_be_bytes())?;
    }
    sink.flush()?;
    file.sync()?;
    Ok(Arc::new(IndexFile {
        file,
        base: content.base,
        covers: content.covers,
        last_store_time: content.last_store_time,
        keys_at,
        keys: content.keys.len() as u32,
    }))
}

fn header(c: &Content, directory_len: u64, entries_at: u64, directory: &[u8]) -> Vec<u8> {
    let mut h = Vec::with_capacity(HEADER);
    h.extend_from_slice(&MAGIC.to_be_bytes());
    h.extend_from_slice(&VERSION.to_be_bytes());
    h.extend_from_slice(&c.base.to_be_bytes());
    h.extend_from_slice(&c.covers.to_be_bytes());
    h.extend_from_slice(&c.last_store_time.to_be_bytes());
    h.extend_from_slice(&(c.rows.len() as u32).to_be_bytes());
    h.extend_from_slice(&(c.keys.len() as u32).to_be_bytes());
    h.extend_from_slice(&directory_len.to_be_bytes());
    h.extend_from_slice(&entries_at.to_be_bytes());
    h.extend_from_slice(&crc32fast::hash(directory).to_be_bytes());
    let crc = crc32fast::hash(&h);
    h.extend_from_slice(&crc.to_be_bytes());
    h
}

fn encode_row(r: &DirectoryRow, out: &mut Vec<u8>) {
    out.extend_from_slice(&(r.topic.len() as u16).to_be_bytes());
    out.extend_from_slice(r.topic.as_bytes());
    out.extend_from_slice(&r.queue.to_be_bytes());
    out.extend_from_slice(&r.row.first.to_be_bytes());
    out.extend_from_slice(&r.row.count.to_be_bytes());
    out.extend_from_slice(&r.row.min_time.to_be_bytes());
    out.extend_from_slice(&r.row.max_time.to_be_bytes());
    out.extend_from_slice(&r.row.at.to_be_bytes());
}

const SINK: usize = 1 << 20;

struct Sink<'f> {
    file: &'f dyn File,
    at: u64,
    buffer: Vec<u8>,
}

impl Sink<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= SINK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl IndexFile {
    /// Opens an index file and reads its directory. `None` when there is no such file.
    pub fn open(disk: &dyn Disk, dir: &Path, base: u64) -> Result<Option<Opened>, IndexError> {
        let file = match disk.open(&path(dir, base), Create::No) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let len = file.len()?;
        let mut head = [0; HEADER];
        if file.read_at(&mut head, 0)? < HEADER {
            return Err(IndexError::Damaged("shorter than its header"));
        }
        let mut h = Fields(&head);
        if h.u32() != Some(MAGIC) || h.u32() != Some(VERSION) {
            return Err(IndexError::Damaged("magic or version"));
        }
        if crc32fast::hash(&head[..HEADER - 4]).to_be_bytes() != head[HEADER - 4..] {
            return Err(IndexError::Damaged("header checksum"));
        }
        let missing = || IndexError::Damaged("header");
        let stated_base = h.u64().ok_or_else(missing)?;
        let covers = h.u64().ok_or_else(missing)?;
        let last_store_time = h.u64().ok_or_else(missing)? as i64;
        let rows = h.u32().ok_or_else(missing)?;
        let keys = h.u32().ok_or_else(missing)?;
        let directory_len = h.u64().ok_or_else(missing)?;
        let entries_at = h.u64().ok_or_else(missing)?;
        let directory_crc = h.u32().ok_or_else(missing)?;
        if stated_base != base || covers < base {
            return Err(IndexError::Damaged("not of this segment"));
        }
        if directory_len > MAX_DIRECTORY || HEADER as u64 + directory_len != entries_at || entries_at > len {
            return Err(IndexError::Damaged("length of the directory"));
        }
        let mut directory = vec![0; directory_len as usize];
        file.read_at(&mut directory, HEADER as u64)?;
        if crc32fast::hash(&directory) != directory_crc {
            return Err(IndexError::Damaged("directory checksum"));
        }
        let rows = decode_rows(&directory, rows, entries_at).ok_or(IndexError::Damaged("directory"))?;
        let entries: u64 = rows.iter().map(|r| r.row.count as u64 * ENTRY as u64).sum();
        let keys_at = entries_at + entries;
        if keys_at + keys as u64 * KEY as u64 != len {
            return Err(IndexError::Damaged("length"));
        }
        Ok(Some((Arc::new(IndexFile { file, base, covers, last_store_time, keys_at, keys }), rows)))
    }

    /// Appends `n` entries that stand at a position; `first` is the queue offset of the first.
    pub fn entries(&self, at: u64, first: u64, n: usize, wait: bool, out: &mut Vec<Entry>) -> io::Result<()> {
        let mut bytes = vec![0; n * ENTRY];
        let read =
            if wait { self.file.read_at(&mut bytes, at)? } else { self.file.try_read_at(&mut bytes, at)? };
        if read < bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.extend(bytes.chunks_exact(ENTRY).zip(first..).filter_map(|(entry, queue_offset)| {
            let mut f = Fields(entry);
            Some(Entry { queue_offset, physical: f.u64()?, size: f.u32()?, tags_code: f.u64()? as i64 })
        }));
        Ok(())
    }

    /// Returns all keys, sorted. May wait for the device.
    pub fn all_keys(&self) -> io::Result<Vec<KeyEntry>> {
        self.read_keys(0, self.keys as usize)
    }

    /// Returns the relative positions of the records with a hash, oldest first. May wait for the device.
    pub fn find_key(&self, hash: u32) -> io::Result<Vec<u32>> {
        let (mut low, mut high) = (0usize, self.keys as usize);
        while low < high {
            let middle = (low + high) / 2;
            match self.read_keys(middle, 1)?.first() {
                Some(k) if k.hash < hash => low = middle + 1,
                _ => high = middle,
            }
        }
        let mut found = Vec::new();
        while low < self.keys as usize {
            let some = self.read_keys(low, 64.min(self.keys as usize - low))?;
            low += some.len();
            let before = found.len();
            found.extend(some.iter().filter(|k| k.hash == hash).map(|k| k.relative));
            if found.len() - before < some.len() {
                break;
            }
        }
        Ok(found)
    }

    fn read_keys(&self, from: usize, n: usize) -> io::Result<Vec<KeyEntry>> {
        let mut bytes = vec![0; n * KEY];
        let read = self.file.read_at(&mut bytes, self.keys_at + (from * KEY) as u64)?;
        let whole = bytes[..read].chunks_exact(KEY);
        Ok(whole
            .filter_map(|k| Fields(k).u64())
            .map(|w| KeyEntry { hash: (w >> 32) as u32, relative: w as u32 })
            .collect())
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }
    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}

fn decode_rows(bytes: &[u8], n: u32, entries_at: u64) -> Option<Vec<DirectoryRow>> {
    let mut f = Fields(bytes);
    let mut rows = Vec::with_capacity((n as usize).min(bytes.len() / 42 + 1));
    let mut at = entries_at;
    for _ in 0..n {
        let topic_len = u16::from_be_bytes(f.array()?) as usize;
        let (topic, rest) = f.0.split_at_checked(topic_len)?;
        f.0 = rest;
        let topic = std::str::from_utf8(topic).ok()?.to_owned();
        let queue = f.u32()?;
        let row = Row {
            first: f.u64()?,
            count: f.u32()?,
            min_time: f.u64()? as i64,
            max_time: f.u64()? as i64,
            at: f.u64()?,
        };
        if row.at != at || row.first.checked_add(row.count as u64).is_none() {
            return None;
        }
        at = at.checked_add(row.count as u64 * ENTRY as u64)?;
        rows.push(DirectoryRow { topic, queue, row });
    }
    f.0.is_empty().then_some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDisk;

    fn written(disk: &MemoryDisk) -> Arc<IndexFile> {
        let row = |first, count| Row { first, count, min_time: 5, max_time: 9, at: 0 };
        let mut content = Content {
            base: 1 << 30,
            covers: (1 << 30) + 500,
            last_store_time: 9,
            rows: vec![
                DirectoryRow { topic: "A".into(), queue: 0, row: row(10, 3) },
                DirectoryRow { topic: "A".into(), queue: 1, row: row(7, 0) },
                DirectoryRow { topic: "B".into(), queue: 0, row: row(0, 1) },
            ],
            keys: (0..200).map(|i| KeyEntry { hash: i / 100, relative: i }).collect(),
        };
        write(disk, Path::new("/i"), &mut content, |i, from, n, out| {
            let first = [10, 7, 0][i];
            let relative = from - first..from - first + n as u64;
            out.extend(relative.map(|k| Entry {
                queue_offset: first + k,
                physical: (1 << 30) + k * 100,
                size: 100,
                tags_code: -(k as i64),
            }));
            Ok(())
        })
        .unwrap()
    }

    #[test]
    fn what_is_sealed_reads_back() {
        let disk = MemoryDisk::new(1 << 20);
        written(&disk);
        let (file, rows) = IndexFile::open(&disk, Path::new("/i"), 1 << 30).unwrap().unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!((file.covers, file.last_store_time), ((1 << 30) + 500, 9));
        let mut out = Vec::new();
        file.entries(rows[0].row.at + ENTRY as u64, 11, 2, false, &mut out).unwrap();
        assert_eq!(out[1], Entry { queue_offset: 12, physical: (1 << 30) + 200, size: 100, tags_code: -2 });
        assert_eq!(file.find_key(1).unwrap(), (100..200).collect::<Vec<_>>());
        assert_eq!(file.find_key(2).unwrap(), Vec::<u32>::new());
        assert!(IndexFile::open(&disk, Path::new("/i"), 0).unwrap().is_none());
    }

    #[test]
    fn any_changed_byte_of_header_or_directory_and_any_cut_is_damage() {
        let disk = MemoryDisk::new(1 << 20);
        written(&disk);
        let path = path(Path::new("/i"), 1 << 30);
        let file = disk.open(&path, Create::No).unwrap();
        let mut byte = [0];
        for at in 0..(HEADER as u64 + 3 * 43) {
            file.read_at(&mut byte, at).unwrap();
            file.write_at(&[byte[0] ^ 0x40], at).unwrap();
            assert!(IndexFile::open(&disk, Path::new("/i"), 1 << 30).is_err(), "byte {at}");
            file.write_at(&byte, at).unwrap();
        }
        let len = file.len().unwrap();
        for cut in [len - 1, len / 2, 70, 10, 0] {
            file.set_len(cut).unwrap();
            assert!(IndexFile::open(&disk, Path::new("/i"), 1 << 30).is_err(), "cut at {cut}");
        }
    }
}
