//! What a test may want different about its cluster, and the manifest that follows.

/// What a test may want different from a name server and a broker with automatic topics.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// Name servers.
    pub name_servers: u32,
    /// Broker groups, one master each.
    pub groups: u32,
    /// Members of each group: the master and its slaves.
    pub replicas: u32,
    /// `replication`: `mode: Async`, or `mode: Sync` with or without `requiredAcks`.
    pub replication: &'a str,
    /// `Async` or `Sync`.
    pub flush: &'a str,
    /// Entries of `brokers.config`.
    pub config: &'a [(&'a str, &'a str)],
    /// Entries of `nameServers.config`.
    pub name_server_config: &'a [(&'a str, &'a str)],
    /// The data lies on a disk of its own with this many MiB, in memory.
    pub small_disk: Option<u32>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        let (config, name_server_config): (&[_], &[_]) = (&[], &[]);
        Options {
            name_servers: 1,
            groups: 1,
            replicas: 1,
            replication: "mode: Async",
            flush: "Async",
            config,
            name_server_config,
            small_disk: None,
        }
    }
}

impl Options<'_> {
    /// Returns the manifest of a cluster of this name.
    pub fn manifest(&self, name: &str) -> String {
        let Options {
            name_servers, groups, replicas, replication, flush, config, name_server_config, ..
        } = self;
        let (config, name_server_config) = (flow_map(config), flow_map(name_server_config));
        format!(
            "apiVersion: gantry.rs/v1alpha1
kind: RocketMQCluster
metadata:
  name: {name}
spec:
  version: \"{version}\"
  nameServers:
    replicas: {name_servers}
    config: {name_server_config}
  brokers:
    groups: {groups}
    replicasPerGroup: {replicas}
    autoCreateTopics: true
    replication: {{ {replication} }}
    flush: {{ mode: {flush} }}
    storage: {{ size: 10Gi }}
    config: {config}
",
            version = env!("CARGO_PKG_VERSION")
        )
    }
}

fn flow_map(entries: &[(&str, &str)]) -> String {
    let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{key}: \"{value}\"")).collect();
    format!("{{ {} }}", entries.join(", "))
}
