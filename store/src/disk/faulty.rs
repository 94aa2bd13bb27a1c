//! A disk that breaks its promises on demand. Every fault has a name; tests ask for it and look what the store does.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Create, Disk, File, Space};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Writes and allocations find no space.
    NoSpace,
    /// A write writes its first half and fails.
    ShortWrite,
    /// A sync fails.
    FailedSync,
    /// Reads fail.
    FailedRead,
    /// A rename fails.
    FailedRename,
    /// Removing a file fails.
    FailedRemove,
    /// Reads would have to wait for the device.
    ColdReads,
}

/// A disk around another one.
#[derive(Clone)]
pub struct FaultyDisk {
    inner: Arc<dyn Disk>,
    faults: Arc<Mutex<Vec<Fault>>>,
}

impl FaultyDisk {
    /// Wraps a disk; it has no faults yet.
    pub fn new(inner: Arc<dyn Disk>) -> FaultyDisk {
        FaultyDisk { inner, faults: Arc::default() }
    }

    /// Begins a fault.
    pub fn begin(&self, fault: Fault) {
        self.faults.lock().push(fault);
    }

    /// Ends a fault.
    pub fn end(&self, fault: Fault) {
        self.faults.lock().retain(|f| *f != fault);
    }

    fn check(&self, fault: Fault, error: io::ErrorKind) -> io::Result<()> {
        check(&self.faults, fault, error)
    }
}

fn check(faults: &Mutex<Vec<Fault>>, fault: Fault, error: io::ErrorKind) -> io::Result<()> {
    if faults.lock().contains(&fault) { Err(error.into()) } else { Ok(()) }
}

impl Disk for FaultyDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn open(&self, path: &Path, create: Create) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(FaultyFile { inner: self.inner.open(path, create)?, faults: self.faults.clone() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check(Fault::FailedRemove, io::ErrorKind::Other)?;
        self.inner.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(Fault::FailedRename, io::ErrorKind::Other)?;
        self.inner.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.check(Fault::FailedSync, io::ErrorKind::Other)?;
        self.inner.sync_dir(dir)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.inner.space(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.inner.lock(path)
    }
}

struct FaultyFile {
    inner: Arc<dyn File>,
    faults: Arc<Mutex<Vec<Fault>>>,
}

impl FaultyFile {
    fn check(&self, fault: Fault, error: io::ErrorKind) -> io::Result<()> {
        check(&self.faults, fault, error)
    }
}

impl File for FaultyFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.check(Fault::NoSpace, io::ErrorKind::StorageFull)?;
        if let Err(e) = self.check(Fault::ShortWrite, io::ErrorKind::WriteZero) {
            self.inner.write_at(&bytes[..bytes.len() / 2], at)?;
            return Err(e);
        }
        self.inner.write_at(bytes, at)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.check(Fault::FailedRead, io::ErrorKind::Other)?;
        self.inner.read_at(buffer, at)
    }

    fn try_read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.check(Fault::ColdReads, io::ErrorKind::WouldBlock)?;
        self.check(Fault::FailedRead, io::ErrorKind::Other)?;
        self.inner.try_read_at(buffer, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.check(Fault::FailedSync, io::ErrorKind::Other)?;
        self.inner.sync()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.check(Fault::NoSpace, io::ErrorKind::StorageFull)?;
        self.inner.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}
