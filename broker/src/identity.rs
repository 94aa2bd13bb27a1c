//! Whose messages a folder holds: `store.json`, written once, before anything else. It keeps a broker from serving or
//! following with another broker's data, on a volume that was attached to the wrong member say.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::broker::now_ms;
use crate::config::Config;
use crate::persist;

/// The owner of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// 128 random bits in hex: tells two folders of the same member apart.
    pub store_id: String,
    /// Cluster.
    pub cluster: String,
    /// Group of master and slaves.
    pub broker_name: String,
    /// Member of the group, 0 for the master.
    pub broker_id: i64,
    /// When the folder was taken, ms since 1970.
    pub created_at: i64,
}

/// Why a broker may not use a folder. Nothing was written to it.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The folder is another broker's.
    #[error(
        "{path}: this store belongs to {found}; configured is {configured}; attach the right volume or set storePathRootDir to the right folder, or, if this one is meant, remove {path}"
    )]
    Foreign {
        /// The file that says so.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who asks.
        configured: String,
    },
    /// The folder is this member's and not the one it must have.
    #[error(
        "{path}: this is store {found}, expected is {expected} (expectedStoreId); attach the right volume, or clear expectedStoreId if this one is meant"
    )]
    Other {
        /// The file that says so.
        path: PathBuf,
        /// Which it is.
        found: String,
        /// Which it must be.
        expected: String,
    },
    /// The folder is nobody's yet, where this member must have a certain one.
    #[error(
        "{path} is not there: the store is empty, expected is {expected} (expectedStoreId); attach the volume that has it, or clear expectedStoreId to begin with an empty one, which gives up what only this member had"
    )]
    Lost {
        /// The file that is not there.
        path: PathBuf,
        /// Which store it must be.
        expected: String,
    },
    /// The file is no identity.
    #[error("{path}: {error}; restore that file, or remove it if the folder is this broker's")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Names a member of a group, in words for people.
pub fn member(cluster: &str, broker_name: &str, broker_id: i64) -> String {
    format!("cluster {cluster}, group {broker_name} (member {broker_id})")
}

impl Identity {
    /// Checks that a broker's folder is its own. A folder that is nobody's yet, made by an earlier version or new, is
    /// taken: durable on return.
    ///
    /// # Errors
    /// [`IdentityError`]; the broker must not open its store.
    pub fn open(config: &Config) -> Result<Identity, IdentityError> {
        let (path, found) = (path(config), Identity::find(config)?);
        if let Some(identity) = check(&path, found, config)? {
            return Ok(identity);
        }
        let identity = Identity::new(config);
        fs::create_dir_all(&config.store_dir)
            .and_then(|()| persist::sync_folder(&config.store_dir))
            .and_then(|()| persist::replace(&path, &serde_json::to_vec(&identity)?))
            .map_err(|source| IdentityError::Io { path, source })?;
        Ok(identity)
    }

    /// Returns whose messages a broker's folder holds, if anybody's. Writes nothing.
    ///
    /// # Errors
    /// [`IdentityError::Damaged`] and [`IdentityError::Io`].
    pub fn find(config: &Config) -> Result<Option<Identity>, IdentityError> {
        let path = path(config);
        match fs::read(&path) {
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(identity) => Ok(Some(identity)),
                Err(e) => Err(IdentityError::Damaged { path, error: e.to_string() }),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(IdentityError::Io { path, source }),
        }
    }

    /// Says whether it is the identity of the member that is configured.
    pub fn is_of(&self, config: &Config) -> bool {
        self.cluster == config.cluster && self.broker_name == config.name && self.broker_id == config.id
    }

    fn new(config: &Config) -> Identity {
        // Seeded by the system's randomness; the time and the process make two processes differ even without it.
        let half = || RandomState::new().hash_one((now_ms(), std::process::id()));
        Identity {
            store_id: format!("{:016x}{:016x}", half(), half()),
            cluster: config.cluster.clone(),
            broker_name: config.name.clone(),
            broker_id: config.id,
            created_at: now_ms(),
        }
    }

    fn member(&self) -> String {
        member(&self.cluster, &self.broker_name, self.broker_id)
    }
}

fn path(config: &Config) -> PathBuf {
    config.store_dir.join("store.json")
}

/// Returns the identity if the member may have this store, and none if it may take the folder.
fn check(path: &Path, found: Option<Identity>, config: &Config) -> Result<Option<Identity>, IdentityError> {
    let path = || path.to_owned();
    match (found, config.live.expected_store_id.clone()) {
        (None, None) => Ok(None),
        (None, Some(expected)) => Err(IdentityError::Lost { path: path(), expected }),
        (Some(found), _) if !found.is_of(config) => Err(IdentityError::Foreign {
            path: path(),
            found: found.member(),
            configured: member(&config.cluster, &config.name, config.id),
        }),
        (Some(found), Some(expected)) if found.store_id != expected => {
            Err(IdentityError::Other { path: path(), found: found.store_id, expected })
        }
        (Some(found), _) => Ok(Some(found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path, cluster: &str, name: &str, id: i64) -> Config {
        let given = [("storePathRootDir", dir.to_str().unwrap())];
        let config = Config::from_properties(&given.map(|(k, v)| (k.to_owned(), v.to_owned()))).unwrap();
        Config { cluster: cluster.to_owned(), name: name.to_owned(), id, ..config }
    }

    #[test]
    fn a_folder_belongs_to_the_first_broker_that_uses_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("store");
        let first = Identity::open(&config(&folder, "C1", "G1", 0)).unwrap();
        assert_eq!((first.store_id.len(), first.broker_id), (32, 0));
        assert_eq!(Identity::open(&config(&folder, "C1", "G1", 0)).unwrap(), first, "kept by a restart");
        let other = tempfile::tempdir().unwrap();
        let second = Identity::open(&config(other.path(), "C1", "G1", 0)).unwrap();
        assert_ne!(second.store_id, first.store_id);
        for (cluster, name, id) in [("C2", "G1", 0), ("C1", "G2", 0), ("C1", "G1", 1)] {
            let error = Identity::open(&config(&folder, cluster, name, id)).unwrap_err().to_string();
            let words = format!(
                "this store belongs to cluster C1, group G1 (member 0); configured is cluster {cluster}, group {name} (member {id});"
            );
            assert!(error.contains(&words) && error.contains("storePathRootDir"), "{error}");
        }
    }

    #[test]
    fn only_the_expected_store_will_do() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("store");
        let expecting = |id: &str| {
            let mut config = config(&folder, "C1", "G1", 0);
            config.live.expected_store_id = Some(id.to_owned());
            config
        };
        let lost = Identity::open(&expecting("a")).unwrap_err().to_string();
        assert!(lost.contains("the store is empty, expected is a (expectedStoreId)"), "{lost}");
        assert!(!folder.exists(), "nothing is written where something else is expected");
        let own = Identity::open(&config(&folder, "C1", "G1", 0)).unwrap();
        let other = Identity::open(&expecting("a")).unwrap_err().to_string();
        assert!(other.contains(&format!("this is store {}, expected is a", own.store_id)), "{other}");
        assert_eq!(Identity::open(&expecting(&own.store_id)).unwrap(), own);
    }

    #[test]
    fn a_damaged_identity_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("store.json"), "{").unwrap();
        let error = Identity::open(&config(dir.path(), "C1", "G1", 0)).unwrap_err();
        assert!(matches!(error, IdentityError::Damaged { .. }), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join("store.json")).unwrap(), "{");
    }
}
