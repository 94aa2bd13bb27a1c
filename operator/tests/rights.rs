//! The rights that the chart gives the operator, and what it does with them: neither has more than the other. The kinds
//! are read off the code; what is done with each is said here.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use kube::api::ApiResource;
use operator::api;
use planner::object::Kind;

/// The chart with its default values, as `make generate` renders it.
const RENDERED: &str = include_str!("../../deploy/kubernetes/operator.yaml");

/// By API group and resource: the verbs.
type Rights = BTreeMap<(String, String), BTreeSet<String>>;

#[test]
fn the_chart_grants_what_the_operator_uses_and_nothing_else() {
    let watched = "list watch";
    let mut used = Rights::new();
    for kind in Kind::ALL {
        add(&mut used, &api::resource(kind), "", &format!("get {watched} create patch delete"));
    }
    add(&mut used, &api::clusters(), "", &format!("get {watched} patch"));
    add(&mut used, &api::clusters(), "/status", "update");
    // Children name the cluster as an owner that waits for them; some API servers ask for this right then.
    add(&mut used, &api::clusters(), "/finalizers", "update");
    add(&mut used, &api::pods(), "", &format!("{watched} patch delete"));
    add(&mut used, &api::pods(), "/eviction", "create");
    add(&mut used, &api::claims(), "", &format!("{watched} patch delete"));
    add(&mut used, &api::nodes(), "", watched);
    add(&mut used, &api::storage_classes(), "", watched);
    add(&mut used, &ApiResource::erase::<k8s_openapi::api::events::v1::Event>(&()), "", "create");
    let lease = ApiResource::erase::<k8s_openapi::api::coordination::v1::Lease>(&());
    add(&mut used, &lease, "", "create get update");
    assert_eq!(granted(), used);
}

fn add(rights: &mut Rights, resource: &ApiResource, below: &str, verbs: &str) {
    let place = (resource.group.clone(), format!("{}{below}", resource.plural));
    rights.entry(place).or_default().extend(verbs.split_whitespace().map(str::to_owned));
}

/// Reads the rules of all roles; each has its lists on one line each.
fn granted() -> Rights {
    let mut rights = Rights::new();
    let (mut groups, mut resources) = (Vec::new(), Vec::new());
    for line in RENDERED.lines() {
        if let Some(list) = line.strip_prefix("- apiGroups:") {
            groups = words(list);
        } else if let Some(list) = line.strip_prefix("  resources: [") {
            resources = words(list);
        } else if let Some(list) = line.strip_prefix("  verbs:") {
            for place in
                groups.iter().flat_map(|group| resources.iter().map(|name| (group.clone(), name.clone())))
            {
                rights.entry(place).or_default().extend(words(list));
            }
        }
    }
    rights
}

fn words(list: &str) -> Vec<String> {
    let list = list.trim().trim_start_matches('[').trim_end_matches(']');
    list.split(',').map(|word| word.trim().trim_matches('"').to_owned()).collect()
}
