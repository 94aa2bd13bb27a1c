//! The commands that ask Kubernetes, against an API server that has one cluster.
#![allow(clippy::unwrap_used)]

mod api_server;

use std::process::Output;

use api_server::{ApiServer, CLUSTERS};
use planner::facts::{Facts, OperatorSettings};
use planner::rehearse::settled;
use serde_json::{Value, json};

fn document(edits: &[(&str, Value)]) -> Value {
    let mut document = json!({
        "apiVersion": "gantry.rs/v1alpha1", "kind": "RocketMQCluster", "metadata": { "name": "mq", "namespace": "messaging" },
        "spec": {
            "version": "0.1.0",
            "nameServers": { "replicas": 1 },
            "brokers": { "groups": 2, "replicasPerGroup": 2, "storage": { "size": "10Gi" } },
        },
    });
    for (path, value) in edits {
        *path.split('.').fold(&mut document["spec"], |place, name| &mut place[name]) = value.clone();
    }
    document
}

/// A complete cluster, made by an operator with a registry of its own.
fn complete() -> Facts {
    let operator = OperatorSettings {
        image_prefix: "registry.example.com/".to_owned(),
        namespace: "operators".to_owned(),
        ..OperatorSettings::default()
    };
    let manifest = manifest::load(&document(&[]).to_string()).unwrap();
    settled(&manifest, &operator, "2030-01-01T00:00:00Z".parse().unwrap())
}

fn server() -> ApiServer {
    ApiServer::start(&document(&[]), &complete())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_live_plan_says_what_a_plan_from_the_old_manifest_says() {
    let server = server();
    server.file("old.yaml", &document(&[]));
    let edits: [&[(&str, Value)]; 6] = [
        &[],
        &[("brokers.groups", json!(3))],
        &[("brokers.groups", json!(1))],
        &[("brokers.config", json!({ "maxMessageSize": "8MiB" }))],
        &[("brokers.replication", json!({ "mode": "Sync" })), ("nameServers.replicas", json!(2))],
        &[("brokers.storage", json!({ "size": "20Gi" }))],
    ];
    for edit in edits {
        server.file("new.yaml", &document(edit));
        let json = |arguments: &[&str]| -> (Option<i32>, Value) {
            let output = server.gantry(&[&["plan", "new.yaml", "--output", "json"], arguments].concat());
            let json: Value =
                serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
            (output.status.code(), json)
        };
        let (offline, live) = (json(&["--from", "old.yaml"]), json(&["--live"]));
        assert_eq!(live.0, offline.0, "{edit:?}: {}", live.1);
        for part in ["fields", "objects", "restarts", "writePauses", "steps", "refused", "waits"] {
            // Objects that differ by the registry's name have other hashes in their names.
            assert_eq!(live.1[part], offline.1[part], "{edit:?} {part}");
        }
    }
    let asked = server.asked.lock().unwrap();
    assert!(asked.iter().all(|(request, _)| request.starts_with("GET ")), "a plan only reads");
    let of_secrets = || asked.iter().filter(|(request, _)| request.contains("/secrets"));
    assert!(of_secrets().count() > 0);
    assert!(
        of_secrets().all(|(_, what)| what.contains("PartialObjectMetadata")),
        "nobody looks into secrets"
    );
}

#[test]
fn a_live_plan_refuses_what_the_api_server_would() {
    let server = server();
    server.file("new.yaml", &document(&[("brokers.storage", json!({ "size": "5Gi" }))]));
    let output = server.gantry(&["plan", "new.yaml", "--live"]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "gantry: new.yaml is refused:\n  spec.brokers.storage.size: \"5Gi\": cannot shrink: volumes only grow; \
                    set it back to \"10Gi\"\n";
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn an_object_of_someone_else_is_in_the_way() {
    let server = server();
    let services = "/api/v1/namespaces/messaging/services/mq-broker-2-0";
    server
        .objects
        .lock()
        .unwrap()
        .insert(services.to_owned(), json!({ "metadata": { "name": "mq-broker-2-0" } }));
    server.file("new.yaml", &document(&[("brokers.groups", json!(3))]));
    let output = server.gantry(&["plan", "new.yaml", "--live"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("Service mq-broker-2-0 exists and belongs to someone else"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_cluster_that_is_not_there_is_a_new_one() {
    let server = server();
    let mut new = document(&[]);
    new["metadata"]["name"] = json!("other");
    server.file("new.yaml", &new);
    let output = server.gantry(&["plan", "new.yaml", "--live"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(text(&output.stdout).contains("there is no cluster other in namespace messaging yet"));
}

#[test]
fn status_shows_conditions_groups_and_members() {
    let server = server();
    let output = server.gantry(&["status", "mq"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let shown = text(&output.stdout);
    assert!(shown.starts_with("mq in messaging: AllInSync: everything is as the manifest says"), "{shown}");
    let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(
        lines.contains(&vec!["0", "mq-broker-0", "Active", "mq-broker-0-1", "slave", "yes", "0", "B", "-"]),
        "{shown}"
    );
    let json = server.gantry(&["status", "mq", "-n", "messaging", "--output", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((json["ready"].clone(), json["status"]["brokers"]["groups"].clone()), (json!(true), json!(2)));
    let all = server.gantry(&["status", "-n", "messaging"]);
    assert_eq!(all.status.code(), Some(0));
    assert!(text(&all.stdout).lines().nth(1).unwrap().starts_with("mq"), "{}", said(&all));
}

/// The chart names the lease after its release.
#[test]
fn an_operator_that_is_down_is_found_by_its_lease_whatever_its_name() {
    const EVERYWHERE: &str = "/apis/coordination.k8s.io/v1/leases";
    const HERE: &str = "/apis/coordination.k8s.io/v1/namespaces/messaging/leases";
    let lease = |name: &str, labels: Value, renewed: &str| {
        json!({ "metadata": { "name": name, "namespace": "operators", "labels": labels }, "spec": {
            "holderIdentity": "x", "leaseDurationSeconds": 15, "renewTime": format!("{renewed}T00:00:00.000000Z"),
        } })
    };
    let operators = json!({ "app.kubernetes.io/name": "gantry-operator" });
    let of_others = lease("kube-scheduler", json!({}), "2001-01-01");
    let old = lease("rocketmq", operators.clone(), "2001-01-01");
    let new = lease("rocketmq-2", operators, "2999-01-01");
    let down = "Lease operators/rocketmq OperatorDown";
    let cases = [
        ("it is down", EVERYWHERE, vec![of_others.clone(), old.clone()], Some(down)),
        ("an old one is left, and another works", EVERYWHERE, vec![old.clone(), new], None),
        (
            "without a label",
            EVERYWHERE,
            vec![lease("gantry-operator", json!({}), "2001-01-01")],
            Some("OperatorDown"),
        ),
        ("it is nowhere", EVERYWHERE, vec![of_others], None),
        ("the user may look only here", HERE, vec![old], Some(down)),
    ];
    for (name, place, leases, expected) in cases {
        let server = server();
        let forbidden = json!({ "kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "no" });
        let mut objects = server.objects.lock().unwrap();
        objects.insert(EVERYWHERE.to_owned(), forbidden);
        objects.insert(place.to_owned(), json!({ "kind": "List", "metadata": {}, "items": leases }));
        drop(objects);
        let words = said(&server.gantry(&["explain", "mq"]));
        assert_eq!(words.contains("OperatorDown"), expected.is_some(), "{name}: {words}");
        assert!(words.contains(expected.unwrap_or_default()), "{name}: {words}");
    }
}

#[test]
fn a_cluster_that_is_not_ready_is_shown_and_explained_and_ends_with_6() {
    let mut facts = complete();
    let why = "the master of group 0 is not ready: ImagePullBackOff";
    for condition in &mut facts.cluster.status.conditions {
        if ["Ready", "Available"].contains(&condition.kind.as_str()) {
            condition.status = "False".to_owned();
            condition.reason =
                if condition.kind == "Ready" { "Unavailable" } else { "GroupWithoutMaster" }.to_owned();
            condition.message = why.to_owned();
        }
    }
    let server = ApiServer::start(&document(&[]), &facts);
    let status = server.gantry(&["status", "mq"]);
    assert_eq!(status.status.code(), Some(6));
    let expected = format!(
        "gantry: not all is as it should be:\n  mq: Unavailable: {why} (gantry explain mq says more)\n"
    );
    assert_eq!(text(&status.stderr), expected);
    let explained = server.gantry(&["explain", "mq"]);
    assert_eq!(explained.status.code(), Some(6));
    let words = text(&explained.stdout);
    assert!(
        words.starts_with(&format!(
            "mq: it is not ready (Unavailable): {why}\n\nAvailable=False GroupWithoutMaster\n"
        )),
        "{words}"
    );
    assert!(words.contains("\n  do:    `gantry explain mq` says why"), "{words}");
}

#[test]
fn a_cluster_that_is_well_is_said_to_be() {
    // It is the only one.
    for arguments in [&["explain", "mq"][..], &["explain"]] {
        let output = server().gantry(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_eq!(text(&output.stdout), "mq: it is ready: everything is as the manifest says and in sync\n");
    }
}

#[test]
fn who_names_no_cluster_is_told_which_there_are() {
    let server = server();
    let of = |name: &str| json!({ "apiVersion": "gantry.rs/v1alpha1", "kind": "RocketMQCluster", "metadata": { "name": name } });
    let cases = [
        (vec![], "gantry: there is no cluster in namespace messaging (-n names another)\n"),
        (vec![of("a"), of("b")], "gantry: name one of the clusters in namespace messaging: a, b\n"),
    ];
    for (clusters, expected) in cases {
        let list = json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": clusters });
        server.objects.lock().unwrap().insert(CLUSTERS.to_owned(), list);
        let output = server.gantry(&["explain"]);
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(1), expected));
    }
}

#[test]
fn what_cannot_be_found_is_said_with_what_is_there() {
    let server = server();
    let cases: [(&[&str], &str); 3] = [
        (
            &["explain", "other"],
            "gantry: there is no cluster other in namespace messaging; there: mq (-n names another)\n",
        ),
        (
            &["status", "mq", "--context", "other"],
            "gantry: read cluster mq in namespace other: this Kubernetes does not know the kind RocketMQCluster: is the \
             operator installed?: mq not found\n",
        ),
        (
            &["status", "mq", "--context", "none"],
            "gantry: there is no context none in the kubeconfig; there: usual, other\n",
        ),
    ];
    for (arguments, expected) in cases {
        let output = server.gantry(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).starts_with(expected), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn requests_are_annotations_of_the_cluster() {
    let server = server();
    let restart = server.gantry(&["restart", "mq"]);
    assert_eq!(restart.status.code(), Some(0), "{}", said(&restart));
    let replace = server.gantry(&["replace-store", "mq", "mq-broker-0-1", "--yes"]);
    assert_eq!(replace.status.code(), Some(0), "{}", said(&replace));
    assert_eq!(server.gantry(&["replace-store", "mq", "--clear"]).status.code(), Some(0));
    let approve = server.gantry(&["approve", "mq"]);
    assert_eq!(text(&approve.stderr), "gantry: mq has no rollout: nothing waits for approval\n");
    let asked = server.asked.lock().unwrap();
    let write = format!("PATCH {CLUSTERS}/mq");
    let patches: Vec<Value> = asked
        .iter()
        .filter(|(request, _)| *request == write)
        .map(|(_, body)| serde_json::from_str(body).unwrap())
        .collect();
    assert_eq!(patches.len(), 3);
    let annotation = |patch: &Value, key: &str| patch["metadata"]["annotations"][key].clone();
    let time: planner::Timestamp =
        annotation(&patches[0], "gantry.rs/restart").as_str().unwrap().parse().unwrap();
    assert!(time.as_second() > 0);
    let given_up = annotation(&patches[1], "gantry.rs/replace-store");
    assert!(given_up.as_str().is_some_and(|text| text.starts_with("mq-broker-0-1=store-")), "{given_up}");
    assert_eq!(patches[2], json!({ "metadata": { "annotations": { "gantry.rs/replace-store": null } } }));
}

/// kubectl runs a file `kubectl-gantry` for `kubectl gantry`.
#[test]
fn as_a_plugin_of_kubectl_status_is_of_kubernetes() {
    let server = server();
    let plugin = server.folder().join("kubectl-gantry");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_gantry"), &plugin).unwrap();
    let output = server.command(plugin.clone(), &["status"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(text(&output.stdout).starts_with("NAME"), "{}", said(&output));
    let help = server.command(plugin, &["status", "--help"]);
    assert!(text(&help.stdout).contains("Usage: kubectl gantry status"), "{}", said(&help));
}
