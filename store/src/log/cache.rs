//! The log's end in memory: what was appended last, for consumers that keep up and, later, for replicas. Whole runs
//! stand in one piece, so a record is one slice.

use std::collections::VecDeque;

/// Bytes of a piece, unless a run is larger.
const PIECE: usize = 1 << 20;

/// Runs from here on become pieces of their own.
const OWNED_FROM: usize = 16 << 10;

/// The log's last bytes.
pub(crate) struct TailCache {
    pieces: VecDeque<Piece>,
    bytes: usize,
    budget: usize,
}

struct Piece {
    base: u64,
    data: Vec<u8>,
}

impl TailCache {
    pub fn new(budget: usize) -> TailCache {
        TailCache { pieces: VecDeque::new(), bytes: 0, budget }
    }

    /// Adds a run that was written at a physical offset.
    pub fn append(&mut self, at: u64, run: &[u8]) {
        if let Some(last) = self.pieces.back_mut()
            && last.base + last.data.len() as u64 == at
            && last.data.capacity() - last.data.len() >= run.len()
        {
            last.data.extend_from_slice(run);
            return;
        }
        let size = PIECE.max(run.len());
        let mut data = self.evict(size);
        data.clear();
        data.reserve_exact(size);
        self.bytes += data.capacity();
        data.extend_from_slice(run);
        self.pieces.push_back(Piece { base: at, data });
    }

    /// Adds a run by taking its buffer instead of copying it; returns an empty one to be used in its place. Runs that
    /// would waste memory as a piece of their own are copied.
    pub fn append_owned(&mut self, at: u64, mut run: Vec<u8>) -> Vec<u8> {
        if run.len() < OWNED_FROM || run.len() < run.capacity() / 4 {
            self.append(at, &run);
            run.clear();
            return run;
        }
        let size = run.capacity();
        let mut reuse = self.evict(size);
        reuse.clear();
        // As large as the one that goes, so that the next batch need not grow its own.
        reuse.reserve_exact(size);
        self.bytes += size;
        self.pieces.push_back(Piece { base: at, data: run });
        reuse
    }

    /// Drops the oldest pieces until one more of a size fits; returns one of them to be used again.
    fn evict(&mut self, size: usize) -> Vec<u8> {
        let mut reuse = Vec::new();
        while self.bytes + size > self.budget {
            let Some(piece) = self.pieces.pop_front() else { break };
            self.bytes -= piece.data.capacity();
            if piece.data.capacity() <= PIECE {
                reuse = piece.data;
            }
        }
        reuse
    }

    /// Returns a range of the log if it is all here.
    pub fn get(&self, at: u64, len: usize) -> Option<&[u8]> {
        let i = self.pieces.partition_point(|p| p.base <= at).checked_sub(1)?;
        let piece = &self.pieces[i];
        let start = (at - piece.base) as usize;
        piece.data.get(start..start.checked_add(len)?)
    }

    /// Returns the piece of the log from a position on, as far as it stands in one piece here.
    pub fn rest(&self, at: u64) -> Option<&[u8]> {
        let i = self.pieces.partition_point(|p| p.base <= at).checked_sub(1)?;
        let piece = &self.pieces[i];
        piece.data.get((at - piece.base) as usize..).filter(|rest| !rest.is_empty())
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.bytes = 0;
    }

    /// Returns how many bytes it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_runs_are_taken_over_and_small_ones_copied() {
        let mut c = TailCache::new(3 * PIECE);
        let mut at = 0;
        for i in 0..500u32 {
            let len = if i % 3 == 0 { 100 } else { 20_000 };
            let mut run = Vec::with_capacity(30_000);
            run.resize(len, i as u8);
            assert!(c.append_owned(at, run).is_empty());
            assert_eq!(c.get(at, len).unwrap(), vec![i as u8; len]);
            assert!(c.bytes() <= 3 * PIECE);
            at += len as u64;
        }
        assert_eq!(c.bytes(), c.pieces.iter().map(|p| p.data.capacity()).sum::<usize>());
    }

    #[test]
    fn it_holds_the_end_within_its_budget() {
        let mut c = TailCache::new(3 * PIECE);
        let mut at = 0;
        for i in 0..5000u32 {
            let run = vec![i as u8; 1000];
            c.append(at, &run);
            assert_eq!(c.get(at, 1000).unwrap(), run);
            at += 1000;
            assert!(c.bytes() <= 3 * PIECE);
        }
        assert_eq!(c.get(0, 10), None);
        assert_eq!(c.get(at, 1), None);
        assert_eq!(c.get(at - 1, 1), Some(&[(4999u32 as u8)][..]));
        c.append(at + 500, &[7; 3]);
        assert_eq!(c.get(at, 1), None, "a gap is a gap");
        assert_eq!(c.get(at + 500, 3), Some(&[7; 3][..]));
        c.append(at + 503, &vec![8; 4 * PIECE]);
        assert_eq!(
            c.get(at + 503, 4 * PIECE).unwrap().len(),
            4 * PIECE,
            "one large run is kept, all else goes"
        );
        assert_eq!(c.pieces.len(), 1);
    }
}
