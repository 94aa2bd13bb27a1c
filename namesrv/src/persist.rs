//! Replacing a small file so that a crash leaves the old or the new one, never a mixture.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file could not be replaced; the old one is untouched.
#[derive(Debug, thiserror::Error)]
#[error("replace {}: {source}", path.display())]
pub struct ReplaceError {
    /// The file.
    path: PathBuf,
    source: io::Error,
}

/// Replaces `path` by `content`: temporary file, fsync, rename, fsync of the folder. Durable on return. Blocks.
///
/// # Errors
/// [`ReplaceError`]; the caller keeps what it had and refuses the change.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), ReplaceError> {
    try_replace(path, content).map_err(|source| ReplaceError { path: path.to_owned(), source })
}

fn try_replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

/// Runs disk work from a handler without holding up the other connections of this thread.
pub fn blocking<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        // Tests on one thread, or no runtime at all: nobody else could run meanwhile.
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_created_with_its_folder_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/file.json");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let names: Vec<_> =
            fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["file.json"]);
    }

    #[test]
    fn a_failure_names_the_file_and_leaves_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, b"one").unwrap();
        fs::create_dir(folder.path().join("file.tmp")).unwrap();
        let error = replace(&path, b"two").unwrap_err().to_string();
        assert!(error.starts_with(&format!("replace {}: ", path.display())), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }
}
