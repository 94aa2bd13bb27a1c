//! What a client needs to connect, as a ConfigMap that pods of applications can mount.

use std::collections::BTreeMap;

use serde_json::json;

use super::{endpoints, object};
use crate::desired::Desired;
use crate::labels::Part;
use crate::object::{Kind, Object};
use crate::shape::Shape;

/// Returns the settings: `namesrvAddr` by names, `namesrvAddr.ips` by addresses, `namesrvAddr.<listener>` for others.
pub(super) fn build(desired: &Desired, shape: &Shape) -> Object {
    let found = endpoints::endpoints(desired, shape.name_servers.listed);
    let mut data = BTreeMap::from([("clusterName".to_owned(), desired.effective.cluster_name.clone())]);
    let mut put = |key: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            data.insert(key.to_owned(), value);
        }
    };
    put("namesrvAddr", found.name_servers);
    put("namesrvAddr.ips", found.name_server_ips);
    for (listener, addresses) in found.by_listener {
        put(&format!("namesrvAddr.{listener}"), Some(addresses.join(";")));
    }
    let name = desired.names.client_config();
    object(desired, Part::Cluster, Kind::ConfigMap, &name, json!({ "data": data }))
}
