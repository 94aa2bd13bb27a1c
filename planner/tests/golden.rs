//! The objects of each example, as committed YAML. After a change that is meant:
//! `GOLDEN=write cargo test -p planner --test golden`, then read the difference.
#![allow(clippy::unwrap_used)]

mod world;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use planner::object::{Kind, Object};
use serde_json::{Value, json};

use world::{find, known_addresses, now};

#[test]
fn the_objects_of_every_example_are_the_committed_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = Vec::new();
    let mut stale = Vec::new();
    for path in examples() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let golden = folder.join("tests/golden").join(name);
        let text = objects_as_yaml(&fs::read_to_string(&path).unwrap());
        seen.push(golden.clone());
        if std::env::var("GOLDEN").as_deref() == Ok("write") {
            fs::write(&golden, &text).unwrap();
        }
        if fs::read_to_string(&golden).unwrap_or_default() != text {
            stale.push(golden.display().to_string());
        }
    }
    let there = fs::read_dir(folder.join("tests/golden")).unwrap().map(|entry| entry.unwrap().path());
    stale.extend(there.filter(|path| !seen.contains(path)).map(|path| path.display().to_string()));
    assert_eq!(stale, Vec::<String>::new(), "run: GOLDEN=write cargo test -p planner --test golden");
}

#[test]
fn every_object_is_what_kubernetes_own_types_read() {
    for path in examples() {
        for object in objects(&fs::read_to_string(&path).unwrap()) {
            if let Some(read) = through_types(object.reference.kind, &object.json) {
                assert_eq!(read, object.json, "{}", object.reference);
            }
        }
    }
}

#[test]
fn a_missing_name_server_is_an_alert_also_without_any_pod_and_not_of_a_stopped_cluster() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/production.yaml")).unwrap();
    let expression = |text: &str| {
        let objects = objects(text);
        let rules = find(&objects, Kind::PrometheusRule, "orders").json["spec"]["groups"][0]["rules"].clone();
        let alert =
            rules.as_array().unwrap().iter().find(|rule| rule["alert"] == "GantryNoNameServer").cloned();
        alert.map(|alert| alert["expr"].as_str().unwrap().to_owned())
    };
    assert!(expression(&text).unwrap().ends_with(" or vector(0)) == 0"));
    assert_eq!(expression(&text.replace("\nspec:\n", "\nspec:\n  stopped: true\n")), None);
}

#[test]
fn clients_are_told_addresses_of_name_servers_that_lead_there() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/outside.yaml"));
    let objects = objects(&text.unwrap());
    let told = &find(&objects, Kind::ConfigMap, "outside-client").json["data"];
    // Where a node's port leads is Kubernetes' decision; the world knows it when the objects are made again.
    let port = told["namesrvAddr.node"].as_str().unwrap().rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
    assert!((30_000..32_768).contains(&port), "a port of the node, not the name server's own: {port}");
    assert_eq!(told["namesrvAddr.named"], "outside-namesrv-0.a.example.com:19876", "not a broker's port");
    let leads_there = &find(&objects, Kind::Service, "outside-namesrv-0-named").json["spec"]["ports"][0];
    assert_eq!((&leads_there["port"], &leads_there["targetPort"]), (&json!(19876), &json!(19876)));
}

/// The manifests in `deploy/`, and those of the tests.
fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for place in ["../deploy", "tests/manifests"] {
        let entries = fs::read_dir(folder.join(place)).unwrap().map(|entry| entry.unwrap().path());
        files.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")));
    }
    files.sort();
    files
}

fn objects(manifest: &str) -> Vec<Object> {
    let validated = manifest::load(manifest).unwrap();
    let mut facts = world::new_cluster(&validated);
    facts.operator.monitoring_kinds = true;
    let first = planner::objects(&validated, &facts, now());
    known_addresses(&mut facts, &first);
    planner::objects(&validated, &facts, now())
}

fn objects_as_yaml(manifest: &str) -> String {
    let documents = objects(manifest).into_iter().map(|object| manifest::to_yaml(&in_order(&object.json)));
    documents.collect::<Vec<_>>().join("---\n")
}

/// What an object is, first.
fn in_order(json: &Value) -> Value {
    let sorted: BTreeMap<&String, &Value> = json.as_object().unwrap().iter().collect();
    json!(sorted)
}

fn through_types(kind: Kind, json: &Value) -> Option<Value> {
    use k8s_openapi::api::{apps, core, networking, policy};
    fn through<T: serde::Serialize + serde::de::DeserializeOwned>(json: &Value) -> Option<Value> {
        Some(serde_json::to_value(serde_json::from_value::<T>(json.clone()).unwrap()).unwrap())
    }
    match kind {
        Kind::ServiceAccount => through::<core::v1::ServiceAccount>(json),
        Kind::Secret => through::<core::v1::Secret>(json),
        Kind::ConfigMap => through::<core::v1::ConfigMap>(json),
        Kind::Service => through::<core::v1::Service>(json),
        Kind::StatefulSet => through::<apps::v1::StatefulSet>(json),
        Kind::PodDisruptionBudget => through::<policy::v1::PodDisruptionBudget>(json),
        Kind::NetworkPolicy => through::<networking::v1::NetworkPolicy>(json),
        Kind::PodMonitor | Kind::PrometheusRule => None,
    }
}
