//! Message keys of one segment: hash of topic and key, and where the record is. Records are checked by whoever asks,
//! so equal hashes cost a read, not an error.

use std::io;
use std::sync::Arc;

use parking_lot::RwLock;

use super::sealed::IndexFile;

/// A key of a record: its hash, and the record's position within the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyEntry {
    /// Hash of topic and key.
    pub hash: u32,
    /// Position relative to the segment's base.
    pub relative: u32,
}

/// Returns the hash under which a key of a topic is found. It is on disk: never change it.
pub fn hash(topic: &str, key: &str) -> u32 {
    let h = mix(mix(0, topic.as_bytes()), key.as_bytes());
    (h ^ h >> 32) as u32
}

/// Eight bytes at a step; the length goes in, so that what is shorter differs from what is padded.
fn mix(mut h: u64, bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut step = |word: u64| h = (h ^ word).wrapping_mul(FACTOR).rotate_left(29);
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().for_each(|w| step(u64::from_le_bytes(*w)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    step(u64::from_le_bytes(last));
    step(bytes.len() as u64);
    h.wrapping_mul(FACTOR)
}

/// The keys a record is found by: the unique key and each of the user's.
pub fn of_record<'p>(uniq_key: Option<&'p str>, keys: Option<&'p str>) -> impl Iterator<Item = &'p str> {
    let more = keys.into_iter().flat_map(|keys| keys.split(' '));
    uniq_key.into_iter().chain(more).filter(|k| !k.is_empty())
}

const PIECE: usize = 4096;

/// Keys of the segment being written.
#[derive(Default)]
pub(crate) struct ActiveKeys(RwLock<Vec<Vec<KeyEntry>>>);

impl ActiveKeys {
    pub fn push_all(&self, keys: impl Iterator<Item = KeyEntry>) {
        let mut pieces = self.0.write();
        for key in keys {
            match pieces.last_mut() {
                Some(piece) if piece.len() < PIECE => piece.push(key),
                _ => {
                    let mut piece = Vec::with_capacity(if pieces.is_empty() { 64 } else { PIECE });
                    piece.push(key);
                    pieces.push(piece);
                }
            }
        }
    }

    /// Returns all keys, sorted by hash and then by position.
    pub fn sorted(&self) -> Vec<KeyEntry> {
        sort(self.0.read().iter().flatten().copied().collect())
    }

    fn find(&self, hash: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut at = 0;
        // Piece by piece, because appends wait meanwhile.
        while let Some(piece) = self.0.read().get(at) {
            found.extend(piece.iter().filter(|k| k.hash == hash).map(|k| k.relative));
            at += 1;
        }
        found
    }
}

/// Sorts by hash. Positions come in order and stay so, because every pass is stable: a byte of the hash at a time,
/// four passes whatever the number, which for millions of keys is a quarter of what comparing them costs.
fn sort(mut keys: Vec<KeyEntry>) -> Vec<KeyEntry> {
    let mut other = vec![KeyEntry { hash: 0, relative: 0 }; keys.len()];
    for shift in [0, 8, 16, 24] {
        let byte = |k: &KeyEntry| (k.hash >> shift) as usize & 0xff;
        let mut next = [0; 256];
        keys.iter().for_each(|k| next[byte(k)] += 1);
        let mut begin = 0;
        for n in &mut next {
            begin += std::mem::replace(n, begin);
        }
        for k in &keys {
            other[next[byte(k)]] = *k;
            next[byte(k)] += 1;
        }
        std::mem::swap(&mut keys, &mut other);
    }
    keys
}

/// Keys of a segment, wherever they are.
#[derive(Clone)]
pub(crate) enum Keys {
    Active(Arc<ActiveKeys>),
    Sealed(Arc<IndexFile>),
}

impl Keys {
    /// Returns the relative positions of the records with a hash, oldest first. May wait for the device.
    pub fn find(&self, hash: u32) -> io::Result<Vec<u32>> {
        match self {
            Keys::Active(keys) => Ok(keys.find(hash)),
            Keys::Sealed(file) => file.find_key(hash),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_by_hash_and_position() {
        let mut seed = 1u32;
        let mut keys = Vec::new();
        for relative in 0..10_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            keys.push(KeyEntry { hash: if relative % 7 == 0 { 5 } else { seed }, relative });
        }
        let mut expected = keys.clone();
        expected.sort();
        assert_eq!(sort(keys), expected);
        assert_eq!(sort(Vec::new()), []);
    }

    #[test]
    fn hashes_are_the_ones_on_disk_and_differ() {
        assert_eq!(
            [hash("T", "k"), hash("", ""), hash("BenchmarkTest", "0123456789ABCDEF0123456789ABCDEF")],
            HASHES
        );
        let all: std::collections::HashSet<u32> =
            (0..10_000).map(|i| hash("T", &format!("{i:032X}"))).collect();
        assert!(all.len() > 9_990, "{}", all.len());
        assert_ne!(hash("T", "k"), hash("Tk", ""));
    }

    const HASHES: [u32; 3] = [637_733_215, 0, 1_585_165_682];
}
