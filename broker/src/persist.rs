//! A table on disk: one JSON line per change, `{"k":key,"v":value}`, a null value for a removal. Read from the front,
//! the last line of a key wins; a torn last line was never acknowledged. Rewritten when most of it is old.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Lines beyond twice the live ones after which the file is rewritten.
const SLACK: usize = 1000;

/// The file of a table.
pub struct Journal {
    path: PathBuf,
    file: File,
    lines: usize,
    /// Bytes of whole lines; what is behind them was written by an append that failed.
    good: u64,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Line<K, V> {
    k: K,
    v: Option<V>,
}

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder is another broker's.
    #[error(transparent)]
    Identity(#[from] crate::identity::IdentityError),
    /// A line in the middle is damaged.
    #[error("{path}, line {line}: {error}; mend or remove that line, the broker will not guess")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        error: String,
    },
}

impl Journal {
    /// Opens a table's file, made if it is not there, and reads it.
    pub fn open<V: DeserializeOwned + Serialize>(
        path: &Path,
    ) -> Result<(Journal, BTreeMap<String, V>), LoadError> {
        let fail = |source| LoadError::Io { path: path.to_owned(), source };
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(fail(e)),
        };
        // A last line without its end was never acknowledged, and nothing may be appended behind it.
        let good = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        if good < text.len() {
            tracing::warn!(path = %path.display(), "last line was not complete");
        }
        let mut table = BTreeMap::new();
        let mut lines = 0;
        for line in text[..good].split_inclusive(|b| *b == b'\n') {
            lines += 1;
            match serde_json::from_slice::<Line<String, V>>(line) {
                Ok(Line { k, v: Some(v) }) => _ = table.insert(k, v),
                Ok(Line { k, v: None }) => _ = table.remove(&k),
                Err(e) => {
                    return Err(LoadError::Damaged {
                        path: path.to_owned(),
                        line: lines,
                        error: e.to_string(),
                    });
                }
            }
        }
        let file = OpenOptions::new().append(true).create(true).open(path).map_err(fail)?;
        sync_folder(path).map_err(fail)?;
        let mut journal = Journal { path: path.to_owned(), file, lines, good: good as u64 };
        journal.cut().map_err(fail)?;
        // A broker must start on a full disk too: what cannot be rewritten now is later.
        if lines > table.len()
            && let Err(e) = journal.rewrite(&table)
        {
            tracing::warn!(path = %path.display(), "not rewritten: {e}");
        }
        Ok((journal, table))
    }

    /// Appends changes. Durable on return; on an error none of them counts.
    pub fn append<'c, V: Serialize + 'c>(
        &mut self,
        changes: impl Iterator<Item = (&'c str, Option<&'c V>)>,
    ) -> io::Result<()> {
        let mut text = Vec::new();
        let mut lines = 0;
        for (k, v) in changes {
            serde_json::to_writer(&mut text, &Line { k, v })?;
            text.push(b'\n');
            lines += 1;
        }
        if text.is_empty() {
            return Ok(());
        }
        self.cut()?;
        if let Err(e) = self.file.write_all(&text).and_then(|()| self.file.sync_data()) {
            // If this fails too, the next append tries again before it writes.
            let _ = self.cut();
            return Err(e);
        }
        self.good += text.len() as u64;
        self.lines += lines;
        Ok(())
    }

    /// Cuts what a failed append left: behind half a line nothing could be read again.
    fn cut(&self) -> io::Result<()> {
        if self.file.metadata()?.len() > self.good { self.file.set_len(self.good) } else { Ok(()) }
    }

    /// Says whether most lines are old, so that [`Journal::rewrite`] is due.
    pub fn is_stale(&self, live: usize) -> bool {
        self.lines > 2 * live + SLACK
    }

    /// Replaces the file by the live lines: temp, sync, rename, sync of the folder.
    pub fn rewrite<V: Serialize>(&mut self, table: &BTreeMap<String, V>) -> io::Result<()> {
        let mut text = Vec::new();
        for (k, v) in table {
            serde_json::to_writer(&mut text, &Line { k, v: Some(v) })?;
            text.push(b'\n');
        }
        let file = renamed(&self.path, &text)?;
        // From here on the old file is nobody's: the new one takes all appends, whatever else fails.
        (self.file, self.lines, self.good) = (file, table.len(), text.len() as u64);
        sync_folder(&self.path)
    }
}

/// Replaces a small file as a whole. Durable on return; after an error or a crash it is the old one or the new one.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    renamed(path, text)?;
    sync_folder(path)
}

/// Writes a file beside `path`, syncs it, and renames it to `path`; its name is durable once the folder is synced.
fn renamed(path: &Path, text: &[u8]) -> io::Result<File> {
    let temp = path.with_extension("tmp");
    File::create(&temp)?;
    let mut file = OpenOptions::new().append(true).open(&temp)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&temp, path)?;
    Ok(file)
}

/// Makes the name of a new file or folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    // A relative path of one name is in the current folder.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_key_wins_and_a_torn_line_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.jsonl");
        let (mut journal, table) = Journal::open::<i32>(&path).unwrap();
        assert!(table.is_empty());
        journal.append([("a", Some(&1)), ("b", Some(&2)), ("a", Some(&3)), ("b", None)].into_iter()).unwrap();
        drop(journal);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"k\":\"c\",\"v\":").unwrap();
        let (mut journal, table) = Journal::open::<i32>(&path).unwrap();
        assert_eq!(table, BTreeMap::from([("a".to_owned(), 3)]));
        journal.append([("d", Some(&4))].into_iter()).unwrap();
        drop(journal);
        let (_, table) = Journal::open::<i32>(&path).unwrap();
        assert_eq!(table.len(), 2);
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"k\":\"a\",\"v\":3}\n{\"k\":\"d\",\"v\":4}\n");
    }

    #[test]
    fn half_a_line_of_a_failed_append_does_not_spoil_what_comes_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.jsonl");
        let (mut journal, _) = Journal::open::<i32>(&path).unwrap();
        journal.append([("a", Some(&1))].into_iter()).unwrap();
        // What a full disk leaves of an append.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"k\":\"b\",\"v").unwrap();
        journal.append([("c", Some(&3))].into_iter()).unwrap();
        drop(journal);
        let (_, table) = Journal::open::<i32>(&path).unwrap();
        assert_eq!(table, BTreeMap::from([("a".to_owned(), 1), ("c".to_owned(), 3)]));
    }

    #[test]
    fn what_is_appended_after_a_rewrite_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.jsonl");
        let (mut journal, _) = Journal::open::<i32>(&path).unwrap();
        journal.rewrite(&BTreeMap::from([("a".to_owned(), 1)])).unwrap();
        journal.append([("b", Some(&2))].into_iter()).unwrap();
        let (_, table) = Journal::open::<i32>(&path).unwrap();
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_damaged_line_is_named_not_guessed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.jsonl");
        fs::write(&path, "{\"k\":\"a\",\"v\":1}\n#\n{\"k\":\"b\",\"v\":2}\n").unwrap();
        let Err(LoadError::Damaged { line, .. }) = Journal::open::<i32>(&path) else { panic!() };
        assert_eq!(line, 2);
    }
}
