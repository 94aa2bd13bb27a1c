//! What was decided about the cluster for now: on the way from one state to another it is neither the old one nor the
//! new one. Objects are built from the manifest and the shape.

use std::collections::BTreeMap;

use crate::desired::Desired;

/// The numbers that change step by step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Groups that have objects, by number.
    pub(crate) groups: BTreeMap<u32, GroupShape>,
    pub(crate) name_servers: NameServersShape,
}

/// A group for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupShape {
    /// Of its StatefulSet.
    pub(crate) replicas: u32,
    /// Members that have addresses and settings: those above and those still on their way out.
    pub(crate) addressed: u32,
    /// `brokerPermission`.
    pub(crate) permission: u8,
    /// The store that each member must have, by ordinal; others may have any.
    pub(crate) stores: BTreeMap<u32, String>,
    /// What its StatefulSet says of volumes.
    pub(crate) volume: VolumeShape,
}

/// The part of a claim template that a manifest can change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct VolumeShape {
    pub(crate) size: Option<String>,
    pub(crate) attributes_class: Option<String>,
}

/// The name servers for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NameServersShape {
    pub(crate) replicas: u32,
    /// Those that brokers and clients are told of.
    pub(crate) listed: u32,
    /// Those that have addresses.
    pub(crate) addressed: u32,
}

/// Takes messages, serves them.
pub(crate) const READ_WRITE: u8 = 6;
/// Serves messages only.
pub(crate) const READ_ONLY: u8 = 4;
/// Known to name servers, led to by no route.
pub(crate) const HIDDEN: u8 = 0;

impl Shape {
    /// Returns the shape that a new cluster gets at once.
    pub(crate) fn fresh(desired: &Desired) -> Shape {
        let replicas = desired.replicas_per_group();
        let storage = &desired.spec().brokers.storage;
        let group = GroupShape {
            replicas,
            addressed: replicas,
            permission: READ_WRITE,
            stores: BTreeMap::new(),
            volume: VolumeShape {
                size: storage.size.clone(),
                attributes_class: storage.volume_attributes_class_name.clone(),
            },
        };
        let groups = 0..u32::try_from(desired.effective.brokers.group_names.len()).unwrap_or(0);
        let name_servers = desired.effective.name_servers.replicas;
        Shape {
            groups: groups.map(|index| (index, group.clone())).collect(),
            name_servers: NameServersShape {
                replicas: name_servers,
                listed: name_servers,
                addressed: name_servers,
            },
        }
    }
}
