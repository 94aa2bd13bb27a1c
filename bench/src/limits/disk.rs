//! What writing costs: into pages that are resident and into new ones, and until the device has it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::fs::FallocateFlags;

use super::{EACH, Limit, time_each};

const RECORD: usize = 1152;
const BATCH: usize = 256 * 1024;
const MIB: usize = 1 << 20;
/// Size of the files; small enough to be thrown away at once, large enough not to fit a device's cache.
const FILE: usize = 256 * MIB;
const BLOCK: usize = 4096;

pub fn measure(directory: &Path) -> Result<Vec<Limit>> {
    let fresh = open(directory, "fresh")?;
    let new_pages = new_pages(&fresh)?;
    Ok(vec![
        new_pages,
        resident_pages(&fresh)?,
        Limit::of_median("pwrite of 1,152 B, resident", &write_records(&fresh)?),
        record_in_batch(&fresh)?,
        Limit::of_median("fdatasync 4 KiB, prewritten file", &sync_blocks(&prewritten(directory)?)?),
        Limit::of_median("fdatasync 4 KiB, fallocated file", &sync_blocks(&fallocated(directory)?)?),
        Limit::of_median("fdatasync 4 KiB, growing file", &sync_blocks(&open(directory, "growing")?)?),
    ])
}

// The name is gone at once, the space when the file is closed: nothing is left behind.
fn open(directory: &Path, name: &str) -> Result<File> {
    let path = directory.join(name);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).open(&path);
    let file = file.with_context(|| format!("create {}", path.display()))?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

// Written page by page: the page cache keeps a large write together, and a sync would write all of it.
fn prewritten(directory: &Path) -> Result<File> {
    let file = open(directory, "prewritten")?;
    for at in (0..FILE).step_by(BLOCK) {
        file.write_all_at(&[7; BLOCK], at as u64)?;
    }
    Ok(file)
}

fn fallocated(directory: &Path) -> Result<File> {
    let file = open(directory, "fallocated")?;
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, FILE as u64).context("fallocate")?;
    file.sync_all()?;
    Ok(file)
}

fn new_pages(file: &File) -> Result<Limit> {
    fill(file, "append to new pages, 1 MiB")
}

fn resident_pages(file: &File) -> Result<Limit> {
    file.sync_all()?;
    fill(file, "overwrite resident pages, 1 MiB")
}

fn fill(file: &File, operation: &'static str) -> Result<Limit> {
    let chunk = vec![7; MIB];
    let begin = Instant::now();
    for at in (0..FILE).step_by(MIB) {
        file.write_all_at(&chunk, at as u64)?;
    }
    Ok(Limit::of_mean(operation, (FILE / MIB) as u64, begin.elapsed()))
}

fn write_records(file: &File) -> Result<hdrhistogram::Histogram<u64>> {
    let record = [7; RECORD];
    let mut at = 0;
    time_each(|| {
        file.write_all_at(&record, at as u64)?;
        at = (at + RECORD) % (FILE - RECORD);
        Ok(())
    })
}

fn record_in_batch(file: &File) -> Result<Limit> {
    let batch = vec![7; BATCH];
    let mut count = 0_usize;
    let begin = Instant::now();
    while begin.elapsed() < EACH {
        file.write_all_at(&batch, (count * BATCH % FILE) as u64)?;
        count += 1;
    }
    let records = (count * BATCH / RECORD) as u64;
    Ok(Limit::of_mean("pwrite per 1,152 B in batches of 256 KiB, resident", records, begin.elapsed()))
}

fn sync_blocks(file: &File) -> Result<hdrhistogram::Histogram<u64>> {
    let block = [7; BLOCK];
    let mut at = 0;
    file.sync_all()?;
    time_each(|| {
        file.write_all_at(&block, at as u64)?;
        at += BLOCK;
        Ok(rustix::fs::fdatasync(file)?)
    })
}
