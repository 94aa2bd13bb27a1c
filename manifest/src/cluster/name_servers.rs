//! The name servers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kubernetes::{Object, Resources, Scheduling};
use super::schema;

/// The name servers: equal, independent, each with all routes in memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NameServers {
    /// How many, 1 to 9. Default: 3. Staged; no broker restarts.
    #[schemars(range(min = 1, max = 9))]
    pub replicas: i32,
    /// How long a name server that starts waits for brokers to register, at most, before it counts as ready; less when
    /// brokers have come and no more do. A duration up to `10m`. Default: `10s`. Restart.
    #[schemars(schema_with = "schema::duration")]
    pub warm_up: String,
    /// Other name servers, host:port, at most 9, that the brokers register at too: to adopt a running cluster. Live.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), inner(length(min = 3, max = 259)))]
    pub external: Vec<String>,
    /// More settings of the name server by key, at most 128. Live or restart, by key.
    #[schemars(extend("maxProperties" = 128))]
    pub config: BTreeMap<String, String>,
    /// CPU and memory of each name server. Restart.
    pub resources: Resources,
    /// Where name servers run. Restart.
    pub scheduling: Scheduling,
    /// A partial PodTemplateSpec, merged last. Restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object")]
    pub pod_template: Option<Object>,
}

const USUAL_WARM_UP: &str = "10s";

impl Default for NameServers {
    fn default() -> Self {
        NameServers {
            replicas: 3,
            warm_up: USUAL_WARM_UP.to_owned(),
            external: Vec::new(),
            config: BTreeMap::new(),
            resources: Resources::default(),
            scheduling: Scheduling::default(),
            pod_template: None,
        }
    }
}
