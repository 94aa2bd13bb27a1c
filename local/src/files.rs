//! The data folder of a local cluster: one lock, a folder per member.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, statvfs};

use crate::placement::Placement;
use crate::settings::Settings;
use crate::start_error::StartError;

const LOCK: &str = "gantry.lock";

/// A data folder that is ours while this lives.
pub(crate) struct DataFolder {
    pub(crate) path: PathBuf,
    /// Whether it goes when the cluster stops.
    pub(crate) temporary: bool,
    _lock: File,
}

impl DataFolder {
    /// Creates and locks the folder; without a path, one in the system's temporary folder.
    pub(crate) fn open(path: Option<&Path>, cluster: &str) -> Result<DataFolder, StartError> {
        let (path, temporary) = match path {
            Some(path) => {
                fs::create_dir_all(path).map_err(|source| failed("create data folder", path, source))?;
                (path.to_owned(), false)
            }
            None => (create_temporary(cluster)?, true),
        };
        let path = fs::canonicalize(&path).map_err(|source| failed("find data folder", &path, source))?;
        let lock = lock(&path)?;
        Ok(DataFolder { path, temporary, _lock: lock })
    }

    /// Removes the folder if it was a temporary one.
    pub(crate) fn remove_if_temporary(&self) -> Option<PathBuf> {
        if !self.temporary {
            return None;
        }
        // What cannot be removed stays behind in the temporary folder; the caller names it.
        fs::remove_dir_all(&self.path).err().map(|_| self.path.clone())
    }

    /// Returns the bytes that are free for us on the folder's file system.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        statvfs(&self.path).ok().map(|space| space.f_bavail.saturating_mul(space.f_frsize))
    }
}

/// Makes the member's folder, empties what goes with the member, and writes its settings.
pub(crate) fn prepare(placement: &Placement) -> Result<(), StartError> {
    fs::create_dir_all(&placement.folder)
        .map_err(|source| failed("create folder", &placement.folder, source))?;
    remove_ephemeral(placement)?;
    write_settings(&placement.properties_file(), &placement.name, &placement.properties)?;
    write_live(placement)
}

/// Writes what a running member is to take over; it sees either all of it or what was before.
pub(crate) fn write_live(placement: &Placement) -> Result<(), StartError> {
    match &placement.live {
        Some(live) => write_settings(&placement.live_file(), &placement.name, live),
        None => Ok(()),
    }
}

fn write_settings(path: &Path, member: &str, settings: &Settings) -> Result<(), StartError> {
    let pairs: Vec<(String, String)> =
        settings.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let text = format!(
        "# {member}: written by gantry up; edit the manifest instead.\n{}",
        daemon::config::write(&pairs)
    );
    let new = path.with_extension("new");
    fs::write(&new, text).map_err(|source| failed("write", &new, source))?;
    fs::rename(&new, path).map_err(|source| failed("rename", &new, source))
}

/// Removes the storage that goes with the member.
pub(crate) fn remove_ephemeral(placement: &Placement) -> Result<(), StartError> {
    match placement.store.as_ref().filter(|_| placement.ephemeral) {
        Some(store) => remove_folder(store),
        None => Ok(()),
    }
}

/// Removes a folder, if it is there.
pub(crate) fn remove_folder(path: &Path) -> Result<(), StartError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(failed("remove folder", path, source)),
        _ => Ok(()),
    }
}

/// Writes the word that opens members' admin ports, for nobody else to read.
pub(crate) fn write_token(path: &Path, token: &str) -> Result<(), StartError> {
    let written = || {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
        file.write_all(token.as_bytes())
    };
    written().map_err(|source| failed("write", path, source))
}

fn create_temporary(cluster: &str) -> Result<PathBuf, StartError> {
    let parent = std::env::temp_dir();
    let process = std::process::id();
    let mut path = parent.join(format!("gantry-{cluster}-{process}"));
    for attempt in 1..1_000 {
        match fs::create_dir(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                path = parent.join(format!("gantry-{cluster}-{process}-{attempt}"));
            }
            Err(source) => return Err(failed("create temporary folder", &path, source)),
            Ok(()) => return Ok(path),
        }
    }
    Err(failed("create temporary folder", &path, ErrorKind::AlreadyExists.into()))
}

fn lock(folder: &Path) -> Result<File, StartError> {
    let path = folder.join(LOCK);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|source| failed("open lock", &path, source))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        let pid = file.read_to_string(&mut holder).ok().and_then(|_| holder.trim().parse().ok());
        return Err(StartError::DataInUse { path: folder.to_owned(), pid });
    }
    write_pid(&mut file).map_err(|source| failed("write lock", &path, source))?;
    Ok(file)
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

pub(crate) fn failed(what: &'static str, path: &Path, source: std::io::Error) -> StartError {
    StartError::Files { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_refused_while_another_cluster_holds_it() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("deep/data");
        let first = DataFolder::open(Some(&path), "dev").unwrap();
        match DataFolder::open(Some(&path), "dev") {
            Err(StartError::DataInUse { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{:?}", other.map(|folder| folder.path)),
        }
        drop(first);
        assert!(DataFolder::open(Some(&path), "dev").is_ok());
    }

    #[test]
    fn a_temporary_folder_goes_and_a_given_one_stays() {
        let temporary = DataFolder::open(None, "dev").unwrap();
        let path = temporary.path.clone();
        assert_eq!(temporary.remove_if_temporary(), None);
        assert!(!path.exists());
        let parent = tempfile::tempdir().unwrap();
        let given = DataFolder::open(Some(parent.path()), "dev").unwrap();
        assert_eq!(given.remove_if_temporary(), None);
        assert!(parent.path().exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        let error = DataFolder::open(Some(&file.join("data")), "dev").err().unwrap();
        assert!(error.to_string().starts_with("create data folder "), "{error}");
    }
}
