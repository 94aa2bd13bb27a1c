//! Commit logs as they lie on the disk, byte by byte. Knows files named after the offset they begin at, which is all
//! that Java brokers and ours have in common there.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const CHUNK: usize = 1 << 20;

/// The commit log of a member and the range that it says it has.
#[derive(Clone, Debug)]
pub struct Log {
    /// Who has it, for messages.
    pub name: String,
    /// The folder with its segments.
    pub folder: PathBuf,
    /// First offset.
    pub begin: u64,
    /// Behind the last record; what files hold beyond it is not looked at.
    pub end: u64,
}

/// Compares two logs from the larger beginning to the end and returns how many bytes were compared.
///
/// # Errors
/// In words: where they differ first, or that one ends before the other, or cannot be read.
pub fn compare(a: &Log, b: &Log) -> Result<u64, String> {
    if a.end != b.end {
        return Err(format!("{} ends at {}, {} at {}", a.name, a.end, b.name, b.end));
    }
    let begin = a.begin.max(b.begin);
    let [mut from_a, mut from_b] = [a, b].map(|log| Segments::open(&log.folder));
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let mut at = begin;
    while at < a.end {
        let length = CHUNK.min((a.end - at) as usize);
        for (log, segments, bytes) in [(a, &mut from_a, &mut left), (b, &mut from_b, &mut right)] {
            bytes.resize(length, 0);
            segments.read(at, bytes).map_err(|e| format!("read {} at {at}: {e}", log.name))?;
        }
        if let Some(first) = (0..length).find(|i| left[*i] != right[*i]) {
            let around = |bytes: &[u8]| bytes[first..length.min(first + 16)].to_vec();
            return Err(format!(
                "{} and {} differ at {}: {:02x?} and {:02x?}",
                a.name,
                b.name,
                at + first as u64,
                around(&left),
                around(&right)
            ));
        }
        at += length as u64;
    }
    Ok(a.end.saturating_sub(begin))
}

/// The files of a log, with the one that was read last.
struct Segments {
    files: Vec<(u64, PathBuf)>,
    open: Option<(u64, File)>,
}

impl Segments {
    fn open(folder: &Path) -> Segments {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let based = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok().filter(|name| name.len() == 20)?;
            Some((name.parse().ok()?, entry.path()))
        });
        let mut files: Vec<(u64, PathBuf)> = based.collect();
        files.sort();
        Segments { files, open: None }
    }

    fn read(&mut self, mut at: u64, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            let index = self.files.partition_point(|(base, _)| *base <= at);
            let (base, path) = index
                .checked_sub(1)
                .and_then(|i| self.files.get(i))
                .ok_or_else(|| io::Error::other("no segment begins before it"))?;
            let next = self.files.get(index).map_or(u64::MAX, |(next, _)| *next);
            if self.open.as_ref().map(|(base, _)| base) != Some(base) {
                self.open = Some((*base, File::open(path)?));
            }
            let length = out.len().min((next - at).min(usize::MAX as u64) as usize);
            let (piece, rest) = out.split_at_mut(length);
            if let Some((base, file)) = &self.open {
                file.read_exact_at(piece, at - base)?;
            }
            (at, out) = (at + length as u64, rest);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: &str, segments: &[(u64, &[u8])], begin: u64, end: u64) -> (tempfile::TempDir, Log) {
        let folder = tempfile::tempdir().unwrap();
        for (base, bytes) in segments {
            fs::write(folder.path().join(format!("{base:020}")), bytes).unwrap();
        }
        let log = Log { name: name.into(), folder: folder.path().to_owned(), begin, end };
        (folder, log)
    }

    #[test]
    fn logs_cut_into_other_segments_are_the_same_up_to_their_end() {
        let (_a, a) = log("a", &[(0, b"abcd"), (4, b"efgh"), (8, b"ij\0\0")], 0, 10);
        let (_b, b) = log("b", &[(2, b"cdefghijXX")], 2, 10);
        assert_eq!(compare(&a, &b), Ok(8));
    }

    #[test]
    fn one_other_byte_another_end_and_a_missing_segment_are_found() {
        let (_a, a) = log("a", &[(0, b"abcdefgh")], 0, 8);
        let (_b, b) = log("b", &[(0, b"abcdefXh")], 0, 8);
        let (_c, c) = log("c", &[(0, b"abcdefgh")], 0, 7);
        let (_d, d) = log("d", &[(0, b"abcd")], 0, 8);
        assert!(compare(&a, &b).unwrap_err().contains("differ at 6"));
        assert!(compare(&a, &c).unwrap_err().contains("ends at 8"));
        assert!(compare(&a, &d).unwrap_err().contains("read d at 0"));
    }
}
