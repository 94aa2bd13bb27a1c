//! A disk that makes room for a race: something happens in the middle of a sync.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use store::disk::memory::MemoryDisk;
use store::disk::{Create, Disk, File, Space};

type Act = Box<dyn FnOnce() + Send>;

/// A disk in memory whose next sync of a file takes as long as something else does.
#[derive(Clone)]
pub struct Meanwhile {
    inner: MemoryDisk,
    act: Arc<Mutex<Option<Act>>>,
}

struct MeanwhileFile(Arc<dyn File>, Arc<Mutex<Option<Act>>>);

impl Meanwhile {
    pub fn new(inner: MemoryDisk) -> Meanwhile {
        Meanwhile { inner, act: Arc::default() }
    }

    /// Does something in the middle of the next sync.
    pub fn in_the_next_sync(&self, act: impl FnOnce() + Send + 'static) {
        *self.act.lock().unwrap() = Some(Box::new(act));
    }
}

impl Disk for Meanwhile {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }
    fn open(&self, path: &Path, create: Create) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(MeanwhileFile(self.inner.open(path, create)?, self.act.clone())))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }
    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.inner.space(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.inner.lock(path)
    }
}

impl File for MeanwhileFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_at(bytes, at)
    }
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buffer, at)
    }
    fn try_read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.try_read_at(buffer, at)
    }
    fn sync(&self) -> io::Result<()> {
        let act = self.1.lock().unwrap().take();
        act.into_iter().for_each(|act| act());
        self.0.sync()
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.0.allocate(len)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}
