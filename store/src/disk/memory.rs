//! A disk in memory that can lose power: of what was not synced, any 4 KiB page may be there or not, and any name.
//! Pages are chosen by a seed, so a failure can be replayed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Create, Disk, File, Space};

const PAGE: usize = 4096;

/// A disk in memory; clones share it.
#[derive(Clone)]
pub struct MemoryDisk(Arc<Mutex<State>>);

struct State {
    capacity: u64,
    names: BTreeMap<PathBuf, Arc<MemoryFile>>,
    durable_names: BTreeMap<PathBuf, Arc<MemoryFile>>,
    locks: BTreeSet<PathBuf>,
}

struct MemoryFile(Mutex<Content>);

#[derive(Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
}

impl MemoryDisk {
    /// Makes an empty disk that holds `capacity` bytes.
    pub fn new(capacity: u64) -> MemoryDisk {
        MemoryDisk(Arc::new(Mutex::new(State {
            capacity,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            locks: BTreeSet::new(),
        })))
    }

    /// Changes the capacity.
    pub fn set_capacity(&self, capacity: u64) {
        self.0.lock().capacity = capacity;
    }

    /// Loses power: of unsynced changes of names and pages any are kept or lost, as `seed` decides. Handles opened
    /// before must not be used any more.
    pub fn lose_power(&self, mut seed: u64) {
        let mut state = self.0.lock();
        state.locks.clear();
        let names: BTreeSet<PathBuf> =
            state.names.keys().chain(state.durable_names.keys()).cloned().collect();
        let mut kept = BTreeMap::new();
        for name in names {
            let (now, durable) = (state.names.get(&name), state.durable_names.get(&name));
            let same = matches!((now, durable), (Some(a), Some(b)) if Arc::ptr_eq(a, b));
            let file = if same || random(&mut seed) { now } else { durable };
            if let Some(file) = file {
                kept.insert(name, file.clone());
            }
        }
        kept.values().for_each(|file| file.lose_power(&mut seed));
        state.durable_names.clone_from(&kept);
        state.names = kept;
    }
}

impl MemoryFile {
    fn lose_power(&self, seed: &mut u64) {
        let mut content = self.0.lock();
        let mut kept = content.durable.clone();
        if content.now.len() != kept.len() && random(seed) {
            kept.resize(content.now.len(), 0);
        }
        for at in (0..content.now.len().min(kept.len())).step_by(PAGE) {
            let end = (at + PAGE).min(content.now.len()).min(kept.len());
            if kept[at..end] != content.now[at..end] && random(seed) {
                kept[at..end].copy_from_slice(&content.now[at..end]);
            }
        }
        content.now.clone_from(&kept);
        content.durable = kept;
    }
}

fn random(seed: &mut u64) -> bool {
    *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    (*seed >> 33) & 1 == 0
}

impl State {
    fn used(&self) -> u64 {
        self.names.values().map(|f| f.0.lock().now.len() as u64).sum()
    }
}

impl Disk for MemoryDisk {
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path, create: Create) -> io::Result<Arc<dyn File>> {
        let mut state = self.0.lock();
        let file = match state.names.get(path) {
            Some(file) => file.clone(),
            None if create == Create::No => return Err(io::ErrorKind::NotFound.into()),
            None => {
                let file = Arc::new(MemoryFile(Mutex::default()));
                state.names.insert(path.to_owned(), file.clone());
                file
            }
        };
        if create == Create::Fresh {
            file.0.lock().now.clear();
        }
        Ok(Arc::new(Handle { disk: self.clone(), file }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        let inside = state.names.keys().filter(|p| p.parent() == Some(dir));
        Ok(inside.filter_map(|p| Some(p.file_name()?.to_str()?.to_owned())).collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.lock().names.remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.durable_names.retain(|p, _| p.parent() != Some(dir));
        let inside: Vec<_> = state
            .names
            .iter()
            .filter(|(p, _)| p.parent() == Some(dir))
            .map(|(p, f)| (p.clone(), f.clone()))
            .collect();
        state.durable_names.extend(inside);
        Ok(())
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        let state = self.0.lock();
        Ok(Space { total: state.capacity, free: state.capacity.saturating_sub(state.used()) })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        if !self.0.lock().locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Guard(self.clone(), path.to_owned())))
    }
}

struct Guard(MemoryDisk, PathBuf);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.lock().locks.remove(&self.1);
    }
}

struct Handle {
    disk: MemoryDisk,
    file: Arc<MemoryFile>,
}

impl Handle {
    fn extend(&self, len: usize) -> io::Result<()> {
        let state = self.disk.0.lock();
        let missing = len.saturating_sub(self.file.0.lock().now.len()) as u64;
        if missing > 0 && state.used() + missing > state.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut content = self.file.0.lock();
        if content.now.len() < len {
            content.now.resize(len, 0);
        }
        Ok(())
    }
}

impl File for Handle {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let at = at as usize;
        self.extend(at + bytes.len())?;
        self.file.0.lock().now[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let content = self.file.0.lock();
        let from = content.now.get(at as usize..).unwrap_or_default();
        let n = from.len().min(buffer.len());
        buffer[..n].copy_from_slice(&from[..n]);
        Ok(n)
    }

    fn try_read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.read_at(buffer, at)
    }

    fn sync(&self) -> io::Result<()> {
        let mut content = self.file.0.lock();
        let now = content.now.clone();
        content.durable = now;
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.extend(len as usize)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.0.lock().now.truncate(len as usize);
        self.extend(len as usize)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.0.lock().now.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_loss_keeps_what_was_synced_and_anything_of_the_rest() {
        let disk = MemoryDisk::new(1 << 20);
        let dir = Path::new("/d");
        let file = disk.open(&dir.join("kept"), Create::IfMissing).unwrap();
        file.write_at(&[1; 3 * PAGE], 0).unwrap();
        file.sync().unwrap();
        disk.sync_dir(dir).unwrap();
        file.write_at(&[2; PAGE], PAGE as u64).unwrap();
        let (mut outcomes, mut names) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..8 {
            let copy = disk.open(&dir.join("kept"), Create::No).unwrap();
            copy.write_at(&[2; PAGE], PAGE as u64).unwrap();
            disk.open(&dir.join("unsynced"), Create::IfMissing).unwrap().sync().unwrap();
            disk.lose_power(seed);
            names.insert(disk.list(dir).unwrap());
            disk.open(&dir.join("unsynced"), Create::IfMissing).unwrap();
            disk.remove(&dir.join("unsynced")).unwrap();
            disk.sync_dir(dir).unwrap();
            let mut page = [0; PAGE];
            let file = disk.open(&dir.join("kept"), Create::No).unwrap();
            file.read_at(&mut page, 0).unwrap();
            assert_eq!(page, [1; PAGE]);
            file.read_at(&mut page, PAGE as u64).unwrap();
            outcomes.insert(page[0]);
            file.write_at(&[1; PAGE], PAGE as u64).unwrap();
            file.sync().unwrap();
        }
        assert_eq!(outcomes, BTreeSet::from([1, 2]), "an unsynced page may be there or not");
        let both = [vec!["kept".to_owned()], vec!["kept".to_owned(), "unsynced".to_owned()]];
        assert_eq!(names, BTreeSet::from(both), "an unsynced name may be there or not");
    }
}
