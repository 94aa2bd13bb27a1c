//! What outlives the runner: everything that the planner needs to find again, as one JSON.

use std::collections::{BTreeMap, BTreeSet};

use manifest::cluster::RocketMQCluster;
use manifest::cluster::status::ClusterStatus;
use planner::facts::Observed;
use planner::object::{Kind, ObjectRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::UID;

/// Of the text; a later one is refused.
const FORMAT: u32 = 1;

/// What is kept of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The one that was followed last.
    pub(crate) manifest: Option<RocketMQCluster>,
    pub(crate) generation: i64,
    pub(crate) finalizers: BTreeSet<String>,
    pub(crate) status: ClusterStatus,
    pub(crate) objects: BTreeMap<ObjectRef, Observed>,
    /// Folders with stores, by the name of the volume claim they stand for.
    pub(crate) claims: BTreeMap<String, Claim>,
    /// Which of the places for ports a broker has.
    pub(crate) places: BTreeMap<String, u32>,
    /// What opens members' admin ports.
    pub(crate) token: String,
    /// The last number that was given to an object or a version.
    pub(crate) last: u64,
}

/// A volume claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) requested: String,
}

/// Why a text is not understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// A later version of ours wrote it.
    #[error("has format {0}, this gantry knows {FORMAT}")]
    Later(u32),
    #[error(transparent)]
    Broken(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Text {
    format: u32,
    manifest: Option<RocketMQCluster>,
    generation: i64,
    finalizers: BTreeSet<String>,
    status: ClusterStatus,
    objects: Vec<Value>,
    claims: BTreeMap<String, Claim>,
    places: BTreeMap<String, u32>,
    token: String,
    last: u64,
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

impl Kept {
    /// Writes it as a text.
    pub(crate) fn encode(&self) -> String {
        let text = Text {
            format: FORMAT,
            manifest: self.manifest.clone(),
            generation: self.generation,
            finalizers: self.finalizers.clone(),
            status: self.status.clone(),
            objects: self.objects.values().map(|observed| observed.json.clone()).collect(),
            claims: self.claims.clone(),
            places: self.places.clone(),
            token: self.token.clone(),
            last: self.last,
        };
        serde_json::to_string_pretty(&text).expect("plain data always has a JSON text")
    }

    /// Reads the text.
    ///
    /// # Errors
    /// A later version's text, or a broken one; the user takes the other version, or takes the file away.
    pub(crate) fn decode(text: &str) -> Result<Kept, StateError> {
        let head: Head = serde_json::from_str(text)?;
        if head.format > FORMAT {
            return Err(StateError::Later(head.format));
        }
        let text: Text = serde_json::from_str(text)?;
        let objects = text.objects.into_iter().filter_map(|json| {
            let kind = Kind::ALL.into_iter().find(|kind| json["kind"] == kind.as_str())?;
            let name = json.pointer("/metadata/name")?.as_str()?.to_owned();
            Some((ObjectRef { kind, name }, Observed::read(json, UID)))
        });
        Ok(Kept {
            manifest: text.manifest,
            generation: text.generation,
            finalizers: text.finalizers,
            status: text.status,
            objects: objects.collect(),
            claims: text.claims,
            places: text.places,
            token: text.token,
            last: text.last,
        })
    }

    /// Returns a number that was never given before.
    pub(crate) fn fresh(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}
