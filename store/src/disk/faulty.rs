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
    trouble: Arc<Mutex<Trouble>>,
}

#[derive(Default)]
struct Trouble {
    faults: Vec<Fault>,
    /// Changes that still happen before the process is dead.
    changes_left: Option<u64>,
}

impl Trouble {
    fn check(&self, fault: Fault, error: io::ErrorKind) -> io::Result<()> {
        if self.faults.contains(&fault) { Err(error.into()) } else { Ok(()) }
    }

    /// Counts a change. Returns false once the process is dead.
    fn change(&mut self) -> bool {
        match &mut self.changes_left {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

impl FaultyDisk {
    /// Wraps a disk; it has no faults yet.
    pub fn new(inner: Arc<dyn Disk>) -> FaultyDisk {
        FaultyDisk { inner, trouble: Arc::default() }
    }

    /// Begins a fault.
    pub fn begin(&self, fault: Fault) {
        self.trouble.lock().faults.push(fault);
    }

    /// Ends a fault.
    pub fn end(&self, fault: Fault) {
        self.trouble.lock().faults.retain(|f| *f != fault);
    }

    /// Ends all faults, also death.
    pub fn heal(&self) {
        *self.trouble.lock() = Trouble::default();
    }

    /// Lets `changes` more changes happen, the last by half if it is a write, and none after it, as if the process
    /// had been killed there.
    pub fn die_after(&self, changes: u64) {
        self.trouble.lock().changes_left = Some(changes);
    }

    fn change(&self, fault: Option<Fault>) -> io::Result<()> {
        let mut trouble = self.trouble.lock();
        if let Some(fault) = fault {
            trouble.check(fault, io::ErrorKind::Other)?;
        }
        if trouble.change() { Ok(()) } else { Err(dead()) }
    }
}

impl Disk for FaultyDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn open(&self, path: &Path, create: Create) -> io::Result<Arc<dyn File>> {
        if create != Create::No {
            self.change(None)?;
        }
        Ok(Arc::new(FaultyFile { inner: self.inner.open(path, create)?, trouble: self.trouble.clone() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(Some(Fault::FailedRemove))?;
        self.inner.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(Some(Fault::FailedRename))?;
        self.inner.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.change(Some(Fault::FailedSync))?;
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
    trouble: Arc<Mutex<Trouble>>,
}

impl FaultyFile {
    fn check(&self, fault: Fault, error: io::ErrorKind) -> io::Result<()> {
        self.trouble.lock().check(fault, error)
    }

    fn change(&self) -> io::Result<()> {
        if self.trouble.lock().change() { Ok(()) } else { Err(dead()) }
    }
}

impl File for FaultyFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.check(Fault::NoSpace, io::ErrorKind::StorageFull)?;
        if let Err(e) = self.check(Fault::ShortWrite, io::ErrorKind::WriteZero) {
            self.inner.write_at(&bytes[..bytes.len() / 2], at)?;
            return Err(e);
        }
        let last = self.trouble.lock().changes_left == Some(1);
        self.change()?;
        if last {
            self.inner.write_at(&bytes[..bytes.len() / 2], at)?;
            return Err(dead());
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
        self.change()?;
        self.inner.sync()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.check(Fault::NoSpace, io::ErrorKind::StorageFull)?;
        self.change()?;
        self.inner.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change()?;
        self.inner.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}
