//! Where clients reach brokers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kubernetes::Object;
use super::schema;

/// One way for clients to reach every broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Its name, a lower-case letter and up to 11 letters and digits.
    #[schemars(regex(pattern = "^[a-z][a-z0-9]{0,11}$"), length(max = 12))]
    pub name: String,
    /// How a broker is reached: at its pod (`PodIP`), a service of its own (`PodService`), a port of its node
    /// (`NodePort`), a load balancer of its own (`LoadBalancer`), on the node's network (`HostNetwork`) or at an
    /// address made from a pattern (`Template`). Live, but to or from `HostNetwork` restart.
    #[serde(rename = "type")]
    pub kind: ListenerType,
    /// The port, 1024 to 65535; the port two below it opens too. Restart of brokers for `internal`
    /// and with type `HostNetwork`, else live.
    #[schemars(range(min = 1024, max = 65535))]
    pub port: i32,
    /// The port of the name servers that answers with this listener's addresses. Default: 9876 plus the place in the
    /// list. Restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 65535))]
    pub name_server_port: Option<i32>,
    /// The address that clients are told, instead of the one found. Live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertised: Option<Advertised>,
    /// Encryption of its connections.
    #[serde(default)]
    pub tls: ListenerTls,
    /// With type `LoadBalancer`.
    #[serde(default)]
    pub load_balancer: LoadBalancer,
    /// With type `NodePort`.
    #[serde(default)]
    pub node_port: NodePort,
    /// NetworkPolicyPeers that may connect. All listeners lead to one port of a broker: it is open to the peers of any of
    /// them, and to anyone while one listener has none; ports of name servers are each listener's own. Default: any. Live.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::objects")]
    pub network_policy_peers: Vec<Object>,
}

/// How a broker is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ListenerType {
    PodIP,
    PodService,
    NodePort,
    LoadBalancer,
    HostNetwork,
    Template,
}

/// An address made from a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Advertised {
    /// The host, with `{cluster}`, `{group}`, `{ordinal}`, `{pod}`, `{node}` and `{zone}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub host_template: Option<String>,
    /// The port, with `{group}` and `{ordinal}`. Default: the listener's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub port_template: Option<String>,
}

/// Encryption of a listener's connections.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerTls {
    /// Whether clients may or must use TLS. Default: `Disabled`. Live.
    pub mode: TlsMode,
}

/// Whether clients may or must use TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    #[default]
    Disabled,
    Permissive,
    Required,
}

/// The load balancer of each broker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancer {
    /// Its class. Default: the Kubernetes cluster's. Fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class: Option<String>,
    /// The addresses that may connect, such as `203.0.113.0/24`. Default: any. Live.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1, max = 64)))]
    pub source_ranges: Vec<String>,
    /// Annotations of its service, with the words of `advertised.hostTemplate`. Live.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The node ports of the brokers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodePort {
    /// The first; a broker has this plus 10 times its group plus its ordinal. Default: allocated by Kubernetes. Live.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 65535))]
    pub base: Option<i32>,
    /// Which of a node's addresses clients are told. Default: `ExternalIP`. Live.
    pub address_type: AddressType,
}

/// Which of a node's addresses clients are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum AddressType {
    #[default]
    ExternalIP,
    InternalIP,
}

/// Returns the listener of a cluster that names none.
pub(super) fn internal() -> Vec<Listener> {
    vec![Listener {
        name: "internal".to_owned(),
        kind: ListenerType::PodService,
        port: 10911,
        name_server_port: None,
        advertised: None,
        tls: ListenerTls::default(),
        load_balancer: LoadBalancer::default(),
        node_port: NodePort::default(),
        network_policy_peers: Vec::new(),
    }]
}
