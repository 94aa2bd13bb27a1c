//! The file in the data folder that what is kept of a cluster stands in; what is found without one.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use manifest::Validated;

use crate::files::{DataFolder, failed};
use crate::start_error::StartError;
use crate::world::Kept;

/// Of random bytes in a word that opens admin ports.
const TOKEN_BYTES: usize = 32;

/// Reads what an earlier run kept. Without such a file the stores that are in the folder are taken as they are: an earlier
/// version kept nothing else. With them comes a note about those that the manifest has no place for.
pub(crate) fn load(data: &DataFolder, manifest: &Validated) -> Result<(Kept, Option<String>), StartError> {
    let path = path(data, manifest.name());
    match fs::read_to_string(&path) {
        Ok(text) => match Kept::decode(&text) {
            Ok(kept) => Ok((kept, None)),
            Err(why) => Err(StartError::Kept { path, why: why.to_string() }),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => found(&data.path, manifest),
        Err(source) => Err(failed("read", &path, source)),
    }
}

/// Replaces the file; durable on return. A temporary folder is read by nobody.
pub(crate) fn save(data: &DataFolder, cluster: &str, kept: &Kept) -> Result<(), StartError> {
    if data.temporary {
        return Ok(());
    }
    let path = path(data, cluster);
    let new = path.with_extension("new");
    let replaced = || {
        // It holds the word that opens the admin ports.
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(kept.encode().as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&data.path)?.sync_all()
    };
    replaced().map_err(|source| failed("write", &path, source))
}

fn path(data: &DataFolder, cluster: &str) -> PathBuf {
    data.path.join(format!("{cluster}-cluster.json"))
}

fn found(data: &Path, manifest: &Validated) -> Result<(Kept, Option<String>), StartError> {
    let mut kept = Kept { token: draw_token()?, ..Kept::default() };
    let mut groups = BTreeSet::new();
    let entries = fs::read_dir(data).map_err(|source| failed("read folder", data, source))?;
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        if let Some(group) =
            group_of(&name, manifest.name()).filter(|_| data.join(&name).join("store").is_dir())
        {
            groups.insert(group);
            kept.adopt(manifest.cluster(), &name, group);
        }
    }
    let wanted = usize::try_from(manifest.cluster().spec.brokers.groups).unwrap_or(0);
    let left: Vec<String> = groups.iter().skip(wanted).map(u32::to_string).collect();
    let note = (!left.is_empty()).then(|| {
        format!(
            "{} holds messages of groups that the manifest has no place for: {}; they stay and are not served. To serve \
             them stop this cluster, take {}-cluster.json away and raise spec.brokers.groups to {}",
            data.display(),
            left.join(", "),
            manifest.name(),
            groups.len()
        )
    });
    Ok((kept, note))
}

/// Returns the group in the name of a broker's folder.
fn group_of(folder: &str, cluster: &str) -> Option<u32> {
    let numbers = folder.strip_prefix(cluster)?.strip_prefix("-broker-")?;
    let (group, ordinal) = numbers.split_once('-')?;
    ordinal.parse::<u32>().ok()?;
    group.parse().ok()
}

fn draw_token() -> Result<String, StartError> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0; TOKEN_BYTES];
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| failed("read", source, error))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Validated {
        manifest::load(
            "{ apiVersion: gantry.rs/v1alpha1, kind: RocketMQCluster, metadata: { name: dev }, spec: { version: 0.1.0, \
             brokers: { groups: 1, storage: { size: 1Gi } } } }",
        )
        .unwrap()
    }

    #[test]
    fn what_is_kept_is_read_again_and_only_its_owner_may_read_it() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataFolder::open(Some(parent.path()), "dev").unwrap();
        let (mut kept, note) = load(&data, &manifest()).unwrap();
        assert_eq!((kept.token.len(), note), (64, None));
        kept.last = 7;
        save(&data, "dev", &kept).unwrap();
        let (read, _) = load(&data, &manifest()).unwrap();
        assert_eq!((read.last, &read.token), (7, &kept.token));
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&path(&data, "dev").metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn stores_of_an_earlier_version_are_found_and_those_without_a_place_are_named() {
        let parent = tempfile::tempdir().unwrap();
        for folder in
            ["dev-broker-0-0/store", "dev-broker-2-0/store", "dev-broker-4-0", "other-broker-0-0/store"]
        {
            fs::create_dir_all(parent.path().join(folder)).unwrap();
        }
        let data = DataFolder::open(Some(parent.path()), "dev").unwrap();
        let (kept, note) = load(&data, &manifest()).unwrap();
        assert_eq!(kept.claims.keys().collect::<Vec<_>>(), ["data-dev-broker-0-0", "data-dev-broker-2-0"]);
        let note = note.unwrap();
        assert!(
            note.contains("has no place for: 2; ") && note.ends_with("spec.brokers.groups to 2"),
            "{note}"
        );
    }

    #[test]
    fn a_file_that_is_not_understood_is_named_with_the_remedy() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataFolder::open(Some(parent.path()), "dev").unwrap();
        fs::write(path(&data, "dev"), "{\"format\": 9}").unwrap();
        let error = load(&data, &manifest()).unwrap_err().to_string();
        assert!(
            error.contains("dev-cluster.json: has format 9, this gantry knows 1; use the gantry that"),
            "{error}"
        );
    }
}
