//! The manifest, the facts and the time at one place: what every decision and every object is made from.

use k8s_openapi::jiff::Timestamp;
use manifest::cluster::{ClusterSpec, Listener, ListenerType};
use manifest::{Effective, Validated, resolve};

use crate::facts::Facts;
use crate::labels::{FINALIZER, Part};
use crate::names::{INTERNAL, Names};

/// What is wanted, and what is known.
pub(crate) struct Desired<'a> {
    pub(crate) validated: &'a Validated,
    pub(crate) effective: Effective,
    pub(crate) names: Names,
    pub(crate) facts: &'a Facts,
    /// To the second: it goes into objects.
    pub(crate) now: Timestamp,
}

/// The ports of a broker's pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    /// For clients; the fast port is two below.
    pub(crate) listen: i32,
    pub(crate) ha: i32,
    pub(crate) health: i32,
    pub(crate) admin: i32,
}

/// Kubernetes' own finalizer of what was deleted with `--cascade=foreground`.
const FOREGROUND: &str = "foregroundDeletion";

const HA: i32 = 10_912;
pub(crate) const HEALTH: i32 = 5557;
const ADMIN: i32 = 5558;
/// The first listener's; each further one has the next, unless it says.
const NAME_SERVER: i32 = 9876;

impl<'a> Desired<'a> {
    pub(crate) fn new(validated: &'a Validated, facts: &'a Facts, now: Timestamp) -> Desired<'a> {
        let names = Names::of(validated, &facts.cluster.namespace);
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Desired { validated, effective: resolve(validated), names, facts, now }
    }

    pub(crate) fn spec(&self) -> &'a ClusterSpec {
        &self.validated.cluster().spec
    }

    /// Whether the cluster is deleted and ends. A protected one goes on as ever, because a deletion cannot be taken back;
    /// but not where Kubernetes itself takes its children away, and would again.
    pub(crate) fn ends(&self) -> bool {
        let cluster = &self.facts.cluster;
        let is_held = cluster.finalizers.contains(FINALIZER) && !cluster.finalizers.contains(FOREGROUND);
        cluster.deleting && !(self.spec().deletion.protection && is_held)
    }

    /// Whether nothing is to be written. Who deletes a cluster says so after whoever paused it, and nothing would ever go on
    /// that waited for the pause to end.
    pub(crate) fn is_paused(&self) -> bool {
        self.spec().paused && !self.ends()
    }

    pub(crate) fn replicas_per_group(&self) -> u32 {
        self.effective.brokers.replicas_per_group
    }

    pub(crate) fn internal(&self) -> Option<&'a Listener> {
        self.spec().listeners.iter().find(|listener| listener.name == INTERNAL)
    }

    pub(crate) fn on_host_network(&self) -> Option<&'a Listener> {
        self.spec().listeners.iter().find(|listener| listener.kind == ListenerType::HostNetwork)
    }

    /// Returns the ports of a group's brokers. A broker listens once; further listeners are addresses whose services
    /// lead to it. On the network of the node, groups keep out of each other's way.
    pub(crate) fn ports(&self, group: u32) -> Ports {
        let step = i32::try_from(group).unwrap_or(0);
        let port = |listener: Option<&Listener>| listener.map_or(10_911, |listener| listener.port);
        match self.on_host_network() {
            Some(listener) => Ports {
                listen: listener.port + 4 * step,
                ha: HA + 4 * step,
                health: HEALTH + 2 * step,
                admin: ADMIN + 2 * step,
            },
            None => Ports { listen: port(self.internal()), ha: HA, health: HEALTH, admin: ADMIN },
        }
    }

    /// Returns each listener with the name servers' port that answers with its addresses.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = (&'a Listener, i32)> {
        (NAME_SERVER..)
            .zip(&self.spec().listeners)
            .map(|(usual, listener)| (listener, listener.name_server_port.unwrap_or(usual)))
    }

    /// Returns the name servers' port for brokers and inside clients.
    pub(crate) fn name_server_port(&self) -> i32 {
        self.listeners().find(|(listener, _)| listener.name == INTERNAL).map_or(NAME_SERVER, |(_, port)| port)
    }

    pub(crate) fn labels(&self, part: Part) -> std::collections::BTreeMap<String, String> {
        crate::labels::labels(&self.names.cluster, part, &self.effective.version)
    }

    pub(crate) fn selector(&self, part: Part) -> std::collections::BTreeMap<String, String> {
        crate::labels::selector(&self.names.cluster, part)
    }
}
