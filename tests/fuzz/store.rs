//! A store whose files were damaged: opening, reading, appending and opening again never panics, and what is appended
//! from then on is kept like anything else.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use protocol::message::NewRecord;
use store::disk::memory::MemoryDisk;
use store::disk::{Create, Disk, read_all};
use store::index::sealed::IndexFile;
use store::{Batch, Store, StoreConfig, Stored, check};

const SEGMENT: u64 = 16 * 1024;
const FOLDER: &str = "/store";

/// The files of a good store: two full segments, a third one begun, their indexes, and a deleted topic.
fn files() -> &'static [(PathBuf, Vec<u8>)] {
    static FILES: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let disk = MemoryDisk::new(1 << 30);
        let store = Store::open(config(), Arc::new(disk.clone())).expect("an empty disk");
        for number in 0..150 {
            append(&store, ["A", "B", "Gone"][number % 3], (number % 2) as u32).expect("a good disk");
        }
        store.delete_topic("Gone").expect("a good disk");
        append(&store, "Gone", 0).expect("a good disk");
        store.close();
        let folders = ["commitlog", "index", ""];
        let paths = folders.iter().flat_map(|folder| {
            let folder = Path::new(FOLDER).join(folder);
            disk.list(&folder).expect("a good disk").into_iter().map(move |name| folder.join(name))
        });
        let content = |path: PathBuf| Some((path.clone(), read_all(&disk, &path).ok()??));
        let mut files: Vec<_> = paths.filter_map(content).filter(|(_, bytes)| !bytes.is_empty()).collect();
        files.sort();
        files
    })
}

/// In the first byte of an input: the store was killed, so that it has no index yet and is scanned.
const KILLED: u8 = 0x80;

/// An input names a file by its first byte; the rest is what stands in it.
pub fn seeds() -> Vec<Vec<u8>> {
    let seed = |first: u8, bytes: &[u8]| {
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| (last + 100).min(bytes.len()));
        [&[first], &bytes[..used]].concat()
    };
    let numbered = || (0..).zip(files());
    let closed = numbered().map(|(number, (_, bytes))| seed(number, bytes));
    closed.chain(numbered().map(|(number, (_, bytes))| seed(number | KILLED, bytes))).collect()
}

/// Opens a store with one damaged file.
pub fn run_damaged(input: &[u8]) {
    let Some((number, content)) = input.split_first() else { return };
    let damaged = (*number & !KILLED) as usize % files().len();
    let disk = MemoryDisk::new(1 << 30);
    for (index, (path, bytes)) in files().iter().enumerate() {
        if *number & KILLED != 0 && path.extension().is_some_and(|extension| extension == "idx") {
            continue;
        }
        let bytes = if index == damaged { content } else { bytes };
        // What is behind a segment's data are zeros.
        let length = if path.parent().is_some_and(|p| p.ends_with("commitlog")) { SEGMENT } else { 0 };
        write(&disk, path, bytes, length);
    }
    let _ = check::check(&disk, Path::new(FOLDER));
    let Ok(store) = Store::open(config(), Arc::new(disk.clone())) else { return };
    read_everything(&store);
    let appended = append(&store, "A", 0);
    store.close();
    drop(store);
    let Ok(store) = Store::open(config(), Arc::new(disk)) else { panic!("cannot open what was just closed") };
    assert_eq!(store.opened().scanned, 0, "a clean close leaves nothing to scan");
    read_everything(&store);
    if let Some(stored) = appended {
        let queue = store.queue("A", 0).expect("the queue of a stored message");
        let last = queue.last_entry(true).expect("a good disk").expect("the entry of a stored message");
        assert_eq!((last.queue_offset, last.physical), (stored.queue_offset, stored.physical));
        store.read_entries(&[last], true, &mut Vec::new()).expect("a stored message");
    }
}

/// Opens an index file whose checksums are right, whatever it holds.
pub fn run_index(input: &[u8]) {
    const HEADER: usize = 64;
    let mut bytes = input.get(1..).unwrap_or_default().to_vec();
    if bytes.len() < HEADER {
        return;
    }
    let base = u64::from_be_bytes(bytes[8..16].try_into().expect("eight bytes"));
    let directory = u64::from_be_bytes(bytes[40..48].try_into().expect("eight bytes")) as usize;
    let end = HEADER.saturating_add(directory).min(bytes.len());
    let crc = crc32fast::hash(&bytes[HEADER..end]);
    bytes[56..60].copy_from_slice(&crc.to_be_bytes());
    let crc = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_be_bytes());
    let disk = MemoryDisk::new(1 << 30);
    write(&disk, &store::index::sealed::path(Path::new(FOLDER), base), &bytes, 0);
    let Ok(Some((file, rows))) = IndexFile::open(&disk, Path::new(FOLDER), base) else { return };
    let mut entries = Vec::new();
    for row in &rows {
        let _ = file.entries(row.row.at, row.row.first, row.row.count as usize, true, &mut entries);
    }
    let _ = (file.all_keys(), file.find_key(0), file.find_key(u32::MAX));
}

fn config() -> StoreConfig {
    StoreConfig {
        segment_bytes: SEGMENT,
        max_record_bytes: 8 * 1024,
        cache_bytes: 4096,
        ..StoreConfig::new(FOLDER)
    }
}

fn write(disk: &MemoryDisk, path: &Path, bytes: &[u8], length: u64) {
    disk.create_dir_all(path.parent().expect("a file in a folder")).expect("a good disk");
    let file = disk.open(path, Create::Fresh).expect("a good disk");
    file.write_at(bytes, 0).expect("a good disk");
    file.set_len(length.max(bytes.len() as u64)).expect("a good disk");
}

fn append(store: &Store, topic: &str, queue: u32) -> Option<Stored> {
    let host = ([127, 0, 0, 1], 10911).into();
    let record = NewRecord {
        topic,
        queue_id: queue as i32,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &[7; 200],
        properties: "KEYS\u{1}k\u{2}",
        more_properties: "",
    };
    let queue = store.queue_or_create(topic, queue)?;
    let mut batch = Batch::default();
    batch.push(queue, &record, 5, [store::index::keys::hash(topic, "k")].into_iter());
    store.append(&mut batch, 1_700_000_000_000).ok()?;
    batch.stored(0)
}

/// Reads every queue, by offset, time and key. Damage may make it fail, and nothing else.
fn read_everything(store: &Store) {
    for (topic, highest) in store.topics() {
        for queue in (0..=highest).filter_map(|id| store.queue(&topic, id)) {
            let (mut entries, mut records) = (Vec::new(), Vec::new());
            let _ = queue.entries(0, usize::MAX, true, &mut entries);
            for some in entries.chunks(32) {
                let _ = store.read_entries(some, true, &mut records);
            }
            let _ =
                (store.offset_at_or_after(&queue, 1_700_000_000_000), queue.last_entry(true), queue.bounds());
        }
        let _ = store.find_by_key(&topic, "k", 0..=i64::MAX, 32);
    }
}
