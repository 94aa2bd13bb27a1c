//! A member on this machine, pure: its folder, its ports and its files of settings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use manifest::cluster::StorageType;
use manifest::{Role, Validated};
use members::Answers;
use planner::Timestamp;
use planner::facts::PodFacts;
use planner::names::ordinal_of;

use crate::ports::{PortTooLarge, Ports, Seat, ports};
use crate::settings::{Settings, Whereabouts, live_settings, static_settings};
use crate::world::{Kept, Refused, World, is_broker, ordinal};

/// A member with its place on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// `<cluster>-namesrv-<ordinal>` or `<cluster>-broker-<group>-<ordinal>`.
    pub name: String,
    pub role: Role,
    /// The place in its group, or among the name servers, from 0.
    pub ordinal: u32,
    pub ports: Ports,
    /// Everything the member writes is below it.
    pub folder: PathBuf,
    /// The settings it starts with.
    pub properties: Settings,
    /// The settings it takes over while it runs; name servers have none.
    pub live: Option<Settings>,
    /// A broker's store.
    pub store: Option<PathBuf>,
    /// Whether the store goes with the member.
    pub ephemeral: bool,
}

impl Placement {
    /// Returns the file its settings are written to.
    pub fn properties_file(&self) -> PathBuf {
        self.folder.join(format!("{}.properties", self.role.as_str()))
    }

    /// Returns the file with the settings it takes over while it runs.
    pub fn live_file(&self) -> PathBuf {
        self.folder.join("live.properties")
    }

    /// Returns the file its log lines are appended to.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Whether the member follows its group's first member, which is the master.
    pub fn is_slave(&self) -> bool {
        self.role == Role::Broker && self.ordinal > 0
    }

    /// Returns what the member is in its cluster, for people: `name server`, `master`, `slave`.
    pub fn duty(&self) -> &'static str {
        self.role.duty(self.ordinal)
    }
}

/// Returns the members of a new cluster, name servers first, as they would be below the data folder. For people and
/// tests: what runs follows from what the folder holds.
///
/// # Errors
/// The manifest cannot be a cluster here, in words.
pub fn of_new_cluster(manifest: &Validated, data: &Path, offset: u16) -> anyhow::Result<Vec<Placement>> {
    let manifest = manifest.elsewhere()?;
    let mut world = World::new(manifest, Kept::default(), Timestamp::UNIX_EPOCH)
        .map_err(|Refused(problems)| anyhow::anyhow!("{}", problems.join("; ")))?;
    world.settle(&Answers::default(), Timestamp::UNIX_EPOCH);
    let site = Site { data: data.to_owned(), offset, stops_within: Duration::from_secs(30) };
    let placed = world.pods_in_order().into_iter().map(|pod| Ok(site.place(&world, pod)?));
    placed.collect()
}

/// Where members are put.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The data folder.
    pub(crate) data: PathBuf,
    /// Added to every port.
    pub(crate) offset: u16,
    /// How long a broker may take to stop.
    pub(crate) stops_within: Duration,
}

impl Site {
    /// Returns where the word is kept that opens the admin ports of a cluster's members.
    pub(crate) fn token_file(&self, cluster: &str) -> PathBuf {
        self.data.join(format!("{cluster}-token"))
    }

    /// Returns what a member is on this machine.
    ///
    /// # Errors
    /// A port past 65535.
    pub(crate) fn place(&self, world: &World, pod: &PodFacts) -> Result<Placement, PortTooLarge> {
        let role = if is_broker(pod) { Role::Broker } else { Role::NameServer };
        let ports_of = |member: &str| self.ports(world, member);
        let seat = seat(world, &pod.name).unwrap_or(Seat::NameServer(u32::MAX));
        let ports = ports(seat, self.offset)?;
        let folder = self.folder(&pod.name);
        let whereabouts = Whereabouts {
            ports,
            ports_of: &ports_of,
            folder: &folder,
            token_file: &self.token_file(world.manifest().name()),
            stops_within: self.stops_within,
        };
        let properties = static_settings(&world.static_settings(pod).unwrap_or_default(), &whereabouts);
        let live = world.live_settings(pod).map(|text| live_settings(&text, &whereabouts));
        let ephemeral = world.manifest().cluster().spec.brokers.storage.kind == StorageType::EmptyDir;
        let store = (role == Role::Broker).then(|| store(&folder, ephemeral));
        let ordinal = ordinal(pod);
        let name = pod.name.clone();
        Ok(Placement { name, role, ordinal, ports, folder, properties, live, store, ephemeral })
    }

    /// Returns a member's ports, if it has any.
    pub(crate) fn ports(&self, world: &World, member: &str) -> Option<Ports> {
        ports(seat(world, member)?, self.offset).ok()
    }

    /// Returns a member's folder.
    pub(crate) fn folder(&self, member: &str) -> PathBuf {
        self.data.join(member)
    }
}

/// Returns where a member's store is. Another name than the kept one's: nothing that is kept is ever removed as what goes
/// with the member.
pub(crate) fn store(folder: &Path, ephemeral: bool) -> PathBuf {
    folder.join(if ephemeral { "ephemeral-store" } else { "store" })
}

fn seat(world: &World, member: &str) -> Option<Seat> {
    let of_broker = || world.kept.places.get(member).map(|place| Seat::Broker(*place));
    let name_servers = format!("{}-", world.names().name_servers());
    match member.strip_prefix(&name_servers) {
        Some(_) => Some(Seat::NameServer(ordinal_of(member)?)),
        None => of_broker(),
    }
}
