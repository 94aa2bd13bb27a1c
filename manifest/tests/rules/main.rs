//! Each rule of the definition accepts one manifest and refuses another, by itself, as an API server would evaluate it.
//! A real one is asked the same by `tests/e2e/rules.rs`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use kube_cel::{AdmissionRequest, Validator, VapEvaluator, VapExpression};
use manifest::crd;
use serde_json::{Value, json};

mod cases;

use cases::{cases, cluster};

fn schema() -> &'static Value {
    &crd::definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

/// What the rules say against a cluster: where, and the message.
fn complaints(new: &Value, old: Option<&Value>) -> Vec<(String, String)> {
    let (new, old) = (crd::with_defaults(new), old.map(crd::with_defaults));
    let result = Validator::new().validate(schema(), &new, old.as_ref());
    let errors = result.err().map(|errors| errors.into_vec()).unwrap_or_default();
    errors.into_iter().map(|error| (error.field_path, error.message)).collect()
}

fn all_rules(schema: &Value, found: &mut Vec<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        found.push(rule["message"].as_str().unwrap().to_owned());
    }
    for field in schema["properties"].as_object().into_iter().flatten().map(|(_, field)| field) {
        all_rules(field, found);
    }
    if schema["items"].is_object() {
        all_rules(&schema["items"], found);
    }
}

#[test]
fn each_rule_accepts_what_it_should_and_refuses_by_itself_what_it_should_not() {
    let mut refused = BTreeSet::new();
    for case in cases() {
        let old = case.accepts.old.map(|old| cluster("dev", &old));
        assert_eq!(complaints(&cluster("dev", &case.accepts.new), old.as_ref()), [], "{}", case.message);
        let old = case.refuses.old.map(|old| cluster("dev", &old));
        let found = complaints(&cluster("dev", &case.refuses.new), old.as_ref());
        let messages: Vec<&str> = found.iter().map(|(_, message)| message.as_str()).collect();
        assert_eq!(messages, [case.message], "{}", case.refuses.new);
        refused.extend(found);
    }
    let mut rules = Vec::new();
    all_rules(schema(), &mut rules);
    let tested: BTreeSet<&str> = refused.iter().map(|(_, message)| message.as_str()).collect();
    let untested: Vec<&String> = rules.iter().filter(|rule| !tested.contains(rule.as_str())).collect();
    assert!(untested.iter().all(|rule| rule.starts_with("metadata.name must")), "{untested:?}");
    assert_eq!(refused.len() + 1, rules.len(), "{refused:#?}");
}

/// The policy of `charts/gantry-crds`.
#[test]
fn a_protected_clusters_deletion_is_refused_with_the_field_and_the_remedy() {
    let text = include_str!("../../../deploy/kubernetes/crds.yaml");
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    let policy = documents.iter().find(|object| object["kind"] == "ValidatingAdmissionPolicy").unwrap();
    let asked: Vec<VapExpression> = serde_json::from_value(policy["spec"]["validations"].clone()).unwrap();
    let refusal = |deletion: Value| {
        let cluster = cluster("dev", &json!({ "deletion": deletion }));
        let request = AdmissionRequest { namespace: "orders".to_owned(), ..AdmissionRequest::default() };
        VapEvaluator::builder()
            .old_object(cluster)
            .request(request)
            .build()
            .evaluate(&asked)
            .remove(0)
            .message
    };
    for deletion in [Value::Null, json!({}), json!({ "policy": "Delete" }), json!({ "protection": false })] {
        assert_eq!(refusal(deletion.clone()), None, "{deletion}");
    }
    let words = "spec.deletion.protection is true: set it to false first: kubectl patch rktmq dev -n orders --type merge \
                 -p '{\"spec\":{\"deletion\":{\"protection\":false}}}'";
    assert_eq!(refusal(json!({ "protection": true })), Some(words.to_owned()));
}

#[test]
fn a_clusters_name_begins_every_members_name() {
    for name in ["dev", "a", "a-1", &"a".repeat(36)] {
        assert_eq!(complaints(&cluster(name, &json!({})), None), [], "{name}");
    }
    for name in ["1a", "a-", "a.b", &"a".repeat(37)] {
        assert_eq!(complaints(&cluster(name, &json!({})), None).len(), 1, "{name}");
    }
}

/// The committed definition is what everybody reads and applies.
#[test]
fn the_committed_definition_is_current() {
    let committed = include_str!("../../crds/rocketmqclusters.yaml");
    assert!(
        committed == crd::definition_yaml(),
        "manifest/crds/rocketmqclusters.yaml is stale: run make generate"
    );
    assert!(committed.len() < 200 << 10, "{} bytes are more than the API server likes", committed.len());
    let read: Value = serde_saphyr::from_str(committed).unwrap();
    assert_eq!(read, *crd::definition(), "what is written reads differently");
}

/// Who runs a manifest without an API server must hear of everything that the rules refuse.
#[test]
fn whatever_a_rule_refuses_at_first_sight_is_refused_here_too() {
    for case in cases().into_iter().filter(|case| case.refuses.old.is_none()) {
        let text = cluster("dev", &case.refuses.new).to_string();
        assert!(manifest::load(&text).is_err(), "{}: {text}", case.message);
    }
}
