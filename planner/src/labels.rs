//! Labels and annotations: how children are found again, and what is noted on them.

use std::collections::BTreeMap;

/// Of the cluster that an object belongs to.
pub const CLUSTER: &str = "gantry.rs/cluster";
/// `broker` or `namesrv`.
pub const COMPONENT: &str = "gantry.rs/component";
/// The number of a broker's group.
pub const GROUP: &str = "gantry.rs/group";
/// On pods, `master` or `slave`: for people and selectors, never read by the planner.
pub const ROLE: &str = "gantry.rs/role";
/// On the operator's own pods and its lease, whatever its release is called: name and value.
pub const OPERATOR: (&str, &str) = ("app.kubernetes.io/name", "gantry-operator");
/// Kubernetes' own, on every pod of a StatefulSet.
pub const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

/// On children: a hash of what they should be.
pub const INTENT_HASH: &str = "gantry.rs/intent-hash";
/// On pod templates: a hash of the rest of it; a pod with another one has to restart.
pub const TEMPLATE_HASH: &str = "gantry.rs/template-hash";
/// On live settings: since when the group has its permission, and since when it knows these name servers.
pub const PERMISSION_SINCE: &str = "gantry.rs/permission-since";
pub const NAME_SERVERS_SINCE: &str = "gantry.rs/name-servers-since";
/// On volume claims: whose they are and which store is on them.
pub const CLUSTER_UID: &str = "gantry.rs/cluster-uid";
pub const STORE_ID: &str = "gantry.rs/store-id";

/// On the cluster, requests of a person: restart all members (any new text, such as the time), let masters of that
/// rollout restart, take over volumes of the cluster of that uid, give up the stores of these pods (`pod,pod`).
pub const RESTART: &str = "gantry.rs/restart";
pub const APPROVE: &str = "gantry.rs/approve";
pub const ADOPT: &str = "gantry.rs/adopt";
pub const REPLACE: &str = "gantry.rs/replace-store";

/// On the cluster: it goes when the planner has seen everything go that must not outlive it.
pub const FINALIZER: &str = "gantry.rs/cluster";

/// What a child belongs to within its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Cluster,
    NameServers,
    /// All brokers.
    Brokers,
    Group(u32),
}

impl Part {
    /// Returns the role in names of images, binaries and labels.
    pub fn component(self) -> &'static str {
        match self {
            Part::Cluster => "cluster",
            Part::NameServers => "namesrv",
            Part::Brokers | Part::Group(_) => "broker",
        }
    }
}

/// Returns the labels that select pods of a part; they never change.
pub fn selector(cluster: &str, part: Part) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([(CLUSTER.to_owned(), cluster.to_owned())]);
    if part != Part::Cluster {
        labels.insert(COMPONENT.to_owned(), part.component().to_owned());
    }
    if let Part::Group(group) = part {
        labels.insert(GROUP.to_owned(), group.to_string());
    }
    labels
}

/// Returns all labels of a child.
pub fn labels(cluster: &str, part: Part, version: &str) -> BTreeMap<String, String> {
    let mut labels = selector(cluster, part);
    // A label has no place for `+build`.
    let version = version.replace('+', "_");
    let usual = [
        ("name", "gantry"),
        ("instance", cluster),
        ("component", part.component()),
        ("managed-by", "gantry-operator"),
        ("version", version.as_str()),
    ];
    labels.extend(
        usual.map(|(name, value)| (format!("app.kubernetes.io/{name}"), value.chars().take(63).collect())),
    );
    labels
}
