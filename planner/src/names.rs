//! What everything is called: objects, pods, addresses. Names are a function of the cluster's, so that they stay.

use manifest::Validated;

/// Names of one cluster's things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub cluster: String,
    pub namespace: String,
    /// Such as `cluster.local`.
    pub domain: String,
}

/// Returns groups in words: `group 0`, `groups 0, 1`.
pub fn groups_in_words(groups: &[u32]) -> String {
    let numbers = groups.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let plural = if groups.len() == 1 { "" } else { "s" };
    format!("group{plural} {numbers}")
}

impl Names {
    /// Returns the names of a manifest's cluster in this namespace.
    pub fn of(validated: &Validated, namespace: &str) -> Names {
        Names {
            cluster: validated.name().to_owned(),
            namespace: namespace.to_owned(),
            domain: validated.cluster().spec.dns.cluster_domain.clone(),
        }
    }

    pub fn internal_secret(&self) -> String {
        format!("{}-internal", self.cluster)
    }

    pub fn client_config(&self) -> String {
        format!("{}-client", self.cluster)
    }

    pub fn dashboards(&self) -> String {
        format!("{}-dashboards", self.cluster)
    }

    /// Returns the name of the name servers' StatefulSet, of the service over all of them, and of their policies.
    pub fn name_servers(&self) -> String {
        format!("{}-namesrv", self.cluster)
    }

    pub fn name_server(&self, ordinal: u32) -> String {
        format!("{}-namesrv-{ordinal}", self.cluster)
    }

    pub fn name_server_listener(&self, ordinal: u32, listener: &str) -> String {
        format!("{}-namesrv-{ordinal}-{listener}", self.cluster)
    }

    /// Returns the name of the service that gives name servers their names, also those that are not ready.
    pub fn name_servers_headless(&self) -> String {
        format!("{}-namesrv-hl", self.cluster)
    }

    /// Returns the name of a group's StatefulSet and of its policies.
    pub fn group(&self, group: u32) -> String {
        format!("{}-broker-{group}", self.cluster)
    }

    pub fn broker(&self, group: u32, ordinal: u32) -> String {
        format!("{}-broker-{group}-{ordinal}", self.cluster)
    }

    pub fn broker_listener(&self, group: u32, ordinal: u32, listener: &str) -> String {
        match listener {
            INTERNAL => self.broker(group, ordinal),
            other => format!("{}-broker-{group}-{ordinal}-{other}", self.cluster),
        }
    }

    pub fn master_service(&self, group: u32) -> String {
        format!("{}-broker-{group}-master", self.cluster)
    }

    pub fn brokers_headless(&self) -> String {
        format!("{}-broker-hl", self.cluster)
    }

    pub fn live_config(&self, group: u32) -> String {
        format!("{}-broker-{group}-live", self.cluster)
    }

    /// Returns the name of a member's volume claim.
    pub fn claim(&self, group: u32, ordinal: u32) -> String {
        format!("{DATA}-{}", self.broker(group, ordinal))
    }

    /// Returns the name under which a service is found from anywhere in the Kubernetes cluster.
    pub fn service_host(&self, service: &str) -> String {
        format!("{service}.{}.svc.{}", self.namespace, self.domain)
    }

    /// Returns the name of a pod below its headless service.
    pub fn pod_host(&self, pod: &str, headless: &str) -> String {
        self.service_host(&format!("{pod}.{headless}"))
    }
}

/// The volume with a broker's store.
pub const DATA: &str = "data";
/// The listener that brokers and clients inside use; the one that always is.
pub const INTERNAL: &str = "internal";

/// Returns the number at the end of a pod's or claim's name.
pub fn ordinal_of(name: &str) -> Option<u32> {
    name.rsplit_once('-')?.1.parse().ok()
}
