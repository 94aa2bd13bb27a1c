//! The only access to files. The traits carry the promises; [`real`] keeps them on a file system, [`memory`] in
//! memory with power loss, [`faulty`] breaks them on demand.

use std::io;
use std::path::Path;
use std::sync::Arc;

pub mod faulty;
pub mod memory;
pub mod real;

/// A file system.
pub trait Disk: Send + Sync {
    /// Makes a folder and those above it; their names are durable on return, its own content is another matter.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Opens a file for reading and writing; makes it when `create` says so.
    fn open(&self, path: &Path, create: Create) -> io::Result<Arc<dyn File>>;
    /// Lists the names in a folder, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Removes a file. Open handles go on working.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Puts a file in another's place; after [`Disk::sync_dir`] this survives power loss.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes names made, changed or removed in a folder durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Tells the space of the file system that holds a folder.
    fn space(&self, dir: &Path) -> io::Result<Space>;
    /// Takes a lock that only one process can hold, until the guard is dropped or the process ends.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// An open file. Reads and writes at different positions may run at once.
#[expect(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty")]
pub trait File: Send + Sync {
    /// Writes all bytes at a position; visible to reads when it returns, durable only after [`File::sync`]. After
    /// an error any part of the range may have been written.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Reads until the buffer is full or the file ends; returns how much it read. May wait for the device.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
    /// Reads like [`File::read_at`], but fails with `WouldBlock` instead of waiting for the device.
    fn try_read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
    /// Makes all that was written durable, with the length. A failure means: what was written is lost or not,
    /// nobody knows; never go on.
    fn sync(&self) -> io::Result<()>;
    /// Reserves space up to `len` and makes the file that long; new bytes read as zeros.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Cuts or extends the file; new bytes read as zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Returns the length.
    fn len(&self) -> io::Result<u64>;
    /// Lets the kernel begin to write back a range. A hint.
    fn start_writeback(&self, _at: u64, _len: u64) {}
}

/// Whether [`Disk::open`] makes the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// It must be there.
    No,
    /// It is made if it is not there.
    IfMissing,
    /// It is made; content that was there goes.
    Fresh,
}

/// Space of a file system, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What is taken and what an ordinary user can still take.
    pub total: u64,
    /// What an ordinary user can still take.
    pub free: u64,
}

impl Space {
    /// Returns how full it is, 0 to 100.
    pub fn used_percent(&self) -> u8 {
        ((self.total - self.free.min(self.total)) * 100).checked_div(self.total).unwrap_or(0) as u8
    }
}

/// Writes a whole file so that after a crash either the old or the new content is there.
pub fn replace(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    put_in_place(disk, path, content)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// As [`replace`], but the new content is certain to be found only once the folder is synced.
pub(crate) fn put_in_place(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let temp = path.with_extension("tmp");
    let file = disk.open(&temp, Create::Fresh)?;
    file.write_at(content, 0)?;
    file.sync()?;
    disk.rename(&temp, path)
}

/// Removes a file that may not be there.
pub(crate) fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Reads a whole file; `None` when it is not there.
pub fn read_all(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, Create::No) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut content = vec![0; file.len()? as usize];
    let n = file.read_at(&mut content, 0)?;
    content.truncate(n);
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    //! One contract for every implementation.
    use super::*;
    use std::path::PathBuf;

    fn contract(disk: &dyn Disk, dir: PathBuf) {
        disk.create_dir_all(&dir.join("a/b")).unwrap();
        let path = dir.join("a/b/file");
        assert_eq!(disk.open(&path, Create::No).map(|_| ()).unwrap_err().kind(), io::ErrorKind::NotFound);
        let file = disk.open(&path, Create::IfMissing).unwrap();
        file.allocate(100).unwrap();
        assert_eq!(file.len().unwrap(), 100);
        file.write_at(b"hello", 10).unwrap();
        let mut buffer = [9; 20];
        assert_eq!(file.read_at(&mut buffer, 8).unwrap(), 20);
        assert_eq!(&buffer[..9], b"\0\0hello\0\0");
        assert_eq!(file.read_at(&mut buffer, 95).unwrap(), 5);
        assert_eq!(file.read_at(&mut buffer, 200).unwrap(), 0);
        file.sync().unwrap();
        file.set_len(12).unwrap();
        file.allocate(30).unwrap();
        assert_eq!(file.read_at(&mut buffer, 10).unwrap(), 20);
        assert_eq!(&buffer[..6], b"he\0\0\0\0", "what was cut reads as zeros again");
        disk.rename(&path, &dir.join("a/b/other")).unwrap();
        disk.sync_dir(&dir.join("a/b")).unwrap();
        assert_eq!(disk.list(&dir.join("a/b")).unwrap(), ["other"]);
        file.write_at(b"x", 0).unwrap();
        disk.remove(&dir.join("a/b/other")).unwrap();
        assert_eq!(file.read_at(&mut buffer[..1], 0).unwrap(), 1, "open handles survive removal");
        assert!(disk.list(&dir.join("a/b")).unwrap().is_empty());
        assert!(disk.space(&dir).unwrap().total > 0);
        let guard = disk.lock(&dir.join("lock")).unwrap();
        assert!(disk.lock(&dir.join("lock")).is_err(), "a lock is held once");
        drop(guard);
        disk.lock(&dir.join("lock")).unwrap();
        replace(disk, &dir.join("r.json"), b"1").unwrap();
        replace(disk, &dir.join("r.json"), b"22").unwrap();
        assert_eq!(read_all(disk, &dir.join("r.json")).unwrap().unwrap(), b"22");
        assert_eq!(read_all(disk, &dir.join("none")).unwrap(), None);
    }

    #[test]
    fn the_real_disk_keeps_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        contract(&real::RealDisk, dir.path().to_owned());
    }

    #[test]
    fn the_memory_disk_keeps_the_contract() {
        contract(&memory::MemoryDisk::new(1 << 30), PathBuf::from("/m"));
    }

    #[test]
    fn the_faulty_disk_without_faults_keeps_the_contract() {
        contract(&faulty::FaultyDisk::new(Arc::new(memory::MemoryDisk::new(1 << 30))), PathBuf::from("/m"));
    }
}
