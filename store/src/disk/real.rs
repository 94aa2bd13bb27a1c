//! Files of the operating system. `fallocate` may be missing (some network file systems): then space is not
//! reserved and a full disk shows at the write.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, fdatasync, flock, statvfs};
use rustix::io::{Errno, ReadWriteFlags, preadv2, retry_on_intr};

use super::{Create, Disk, File, Space};

/// The file system of this machine.
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<&Path> =
            dir.ancestors().take_while(|d| !d.as_os_str().is_empty() && !d.exists()).collect();
        fs::create_dir_all(dir)?;
        for parent in missing.iter().filter_map(|d| d.parent()) {
            self.sync_dir(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
        }
        Ok(())
    }

    fn open(&self, path: &Path, create: Create) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(create != Create::No)
            .truncate(create == Create::Fresh)
            .open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let s = statvfs(dir)?;
        Ok(usable(s.f_blocks, s.f_bfree, s.f_bavail, s.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }
}

/// What is kept back for root counts neither as taken nor as free, as `df` and Java's `getDiskPartitionSpaceUsedPercent`
/// have it.
fn usable(blocks: u64, free: u64, available: u64, size: u64) -> Space {
    let taken = blocks.saturating_sub(free);
    Space { total: (taken + available) * size, free: available * size }
}

struct RealFile(fs::File);

impl File for RealFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], at + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn try_read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let wanted = buffer.len();
        let mut slices = [io::IoSliceMut::new(buffer)];
        let read = retry_on_intr(|| preadv2(self.0.as_fd(), &mut slices, at, ReadWriteFlags::NOWAIT));
        match read {
            Ok(n) if n == wanted => Ok(n),
            // Short: the rest is not in memory, or the file ends; the waiting read tells which.
            Ok(_) | Err(Errno::AGAIN) => Err(io::ErrorKind::WouldBlock.into()),
            // The file system has no such read; an ordinary one has to do.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.read_at(buffer, at),
            Err(e) => Err(e.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        Ok(fdatasync(&self.0)?)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match retry_on_intr(|| fallocate(&self.0, FallocateFlags::empty(), 0, len)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.0.set_len(len.max(self.0.metadata()?.len())),
            other => Ok(other?),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn start_writeback(&self, at: u64, len: u64) {
        writeback::start(&self.0, at, len);
    }
}

mod writeback {
    //! `sync_file_range`, which rustix does not offer; the nearest safe call is `posix_fadvise`, which on Linux
    //! begins writing back dirty pages of the range before it drops the clean ones.
    use std::fs::File;

    use rustix::fs::{Advice, fadvise};

    pub(super) fn start(file: &File, at: u64, len: u64) {
        // A hint: an error costs nothing but speed.
        let _ = fadvise(file, at, std::num::NonZeroU64::new(len), Advice::DontNeed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_kept_for_root_do_not_make_a_disk_look_full() {
        let space = usable(1_000, 780, 140, 4_096);
        assert_eq!(space, Space { total: 360 * 4_096, free: 140 * 4_096 });
        assert_eq!(space.used_percent(), 61);
        assert_eq!(usable(1_000, 0, 0, 4_096).used_percent(), 100);
    }
}
