//! The gRPC proxy.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kubernetes::{Object, Resources, Scheduling};
use super::schema;

/// The gRPC proxy, for clients of the 5.x generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Proxy {
    /// Whether there is one. Default: false. Live.
    pub enabled: bool,
    /// How many, 1 to 64. Default: 2. Live.
    #[schemars(range(min = 1, max = 64))]
    pub replicas: i32,
    /// Lets their number follow their load. Default: it does not. Live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// How they are reached.
    pub service: ProxyService,
    /// More settings of the proxy by key, at most 128. Live or restart, by key.
    #[schemars(extend("maxProperties" = 128))]
    pub config: BTreeMap<String, String>,
    /// CPU and memory of each proxy. Restart.
    pub resources: Resources,
    /// Where proxies run. Restart.
    pub scheduling: Scheduling,
    /// A partial PodTemplateSpec, merged last. Restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object")]
    pub pod_template: Option<Object>,
}

/// Lets the number of proxies follow their load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Autoscaling {
    /// The fewest, 1 to 64.
    #[schemars(range(min = 1, max = 64))]
    pub min: i32,
    /// The most, 1 to 64.
    #[schemars(range(min = 1, max = 64))]
    pub max: i32,
    /// The load aimed at, in percent of the requested CPU, 1 to 100. Default: 70.
    #[serde(default = "usual_load", rename = "targetCPUPercent")]
    #[schemars(range(min = 1, max = 100))]
    pub target_cpu_percent: i32,
}

fn usual_load() -> i32 {
    70
}

/// How proxies are reached.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyService {
    /// The type of their service. Default: `ClusterIP`. Live.
    #[serde(rename = "type")]
    pub kind: ServiceType,
    /// Annotations of their service. Live.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The type of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
}

impl Default for Proxy {
    fn default() -> Self {
        Proxy {
            enabled: false,
            replicas: 2,
            autoscaling: None,
            service: ProxyService::default(),
            config: BTreeMap::new(),
            resources: Resources::default(),
            scheduling: Scheduling::default(),
            pod_template: None,
        }
    }
}
