//! What a test may want different about its cluster, and the manifest that follows.

/// What a test may want different from a name server and a broker with automatic topics.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// Name servers.
    pub name_servers: u32,
    /// Broker groups, one master each.
    pub groups: u32,
    /// `Async` or `Sync`.
    pub flush: &'a str,
    /// Entries of `brokers.config`.
    pub config: &'a [(&'a str, &'a str)],
    /// Settings of every server that no manifest carries, by their keys.
    pub settings: &'a [(&'a str, &'a str)],
    /// The data lies on a disk of its own with this many MiB, in memory.
    pub small_disk: Option<u32>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options { name_servers: 1, groups: 1, flush: "Async", config: &[], settings: &[], small_disk: None }
    }
}

impl Options<'_> {
    /// Returns the manifest of a cluster of this name.
    pub fn manifest(&self, name: &str) -> String {
        let Options { name_servers, groups, flush, config, .. } = self;
        let config: String =
            config.iter().map(|(key, value)| format!("      {key}: \"{value}\"\n")).collect();
        let config = if config.is_empty() { config } else { format!("    config:\n{config}") };
        format!(
            "apiVersion: gantry.rs/v1alpha1\nkind: RocketMQCluster\nmetadata:\n  name: {name}\nspec:\n  \
             version: \"{}\"\n  nameServers:\n    replicas: {name_servers}\n  brokers:\n    groups: {groups}\n    \
             replicasPerGroup: 1\n    autoCreateTopics: true\n    replication: {{ mode: Async }}\n    \
             flush: {{ mode: {flush} }}\n    storage: {{ size: 10Gi }}\n{config}",
            env!("CARGO_PKG_VERSION")
        )
    }
}
