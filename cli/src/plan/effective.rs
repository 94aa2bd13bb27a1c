//! A manifest with everything decided that it leaves open.

use manifest::{Validated, crd};
use serde_json::{Value, json};

use crate::output::{self, Format};

pub fn show(manifest: &Validated, format: Format) -> std::io::Result<()> {
    let effective = effective(manifest);
    match format {
        Format::Json => output::json(&effective),
        Format::Text => output::line(manifest::to_yaml(&effective).trim_end()),
    }
}

/// The manifest with the defaults of the schema, and those that depend on other fields.
fn effective(manifest: &Validated) -> Value {
    let mut json = crd::with_defaults(&json!(manifest.cluster()));
    let effective = manifest::resolve(manifest);
    let spec = &mut json["spec"];
    set(spec, "clusterName", json!(effective.cluster_name));
    set(spec, "serviceAccountName", json!(effective.name));
    if effective.brokers.required_acks > 1 {
        set(&mut spec["brokers"]["replication"], "requiredAcks", json!(effective.brokers.required_acks));
    }
    let listeners = spec["listeners"].as_array_mut().into_iter().flatten();
    for (port, listener) in (FIRST_NAME_SERVER_PORT..).zip(listeners) {
        set(listener, "nameServerPort", json!(port));
    }
    json["apiVersion"] = json!(manifest::API_VERSION);
    json["kind"] = json!(manifest::KIND);
    json
}

/// Of the first listener; each further one has the next.
const FIRST_NAME_SERVER_PORT: i32 = 9876;

fn set(object: &mut Value, name: &str, value: Value) {
    if object[name].is_null() {
        object[name] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_means_the_same_and_decides_what_was_left_open() {
        let text = "apiVersion: gantry.rs/v1alpha1\nkind: RocketMQCluster\nmetadata: { name: mq }\n\
                    spec: { version: 0.1.0, brokers: { replication: { mode: Sync }, storage: { size: 1Gi } } }\n";
        let manifest = manifest::load(text).unwrap();
        let shown = effective(&manifest);
        let read = manifest::load(&manifest::to_yaml(&shown)).unwrap();
        assert_eq!(manifest::resolve(&read), manifest::resolve(&manifest));
        let decided = [
            ("/spec/clusterName", json!("mq")),
            ("/spec/brokers/groups", json!(2)),
            ("/spec/brokers/replication/requiredAcks", json!(2)),
            ("/spec/listeners/0/nameServerPort", json!(9876)),
        ];
        for (path, value) in decided {
            assert_eq!(shown.pointer(path), Some(&value), "{path}");
        }
    }
}
