//! `gantry plan` without a Kubernetes: what it says of a day's edits, as committed text and JSON. After a change that is
//! meant: `GOLDEN=write cargo test -p cli --test plan`, then read the difference.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

/// An edit: its name, the fields before, the fields changed, and the exit status.
struct Edit {
    name: &'static str,
    before: Value,
    after: Value,
    status: i32,
}

fn edit(name: &'static str, before: Value, after: Value, status: i32) -> Edit {
    Edit { name, before, after, status }
}

fn edits() -> Vec<Edit> {
    let brokers = |fields: Value| json!({ "brokers": fields });
    let storage = |fields: Value| brokers(json!({ "storage": fields }));
    let same = || json!({});
    let node_port = json!([
        { "name": "internal", "type": "PodService", "port": 10911 },
        { "name": "outside", "type": "NodePort", "port": 20911 },
    ]);
    vec![
        edit("nothing", same(), brokers(json!({ "flush": { "mode": "Async" } })), 0),
        edit("more-groups", same(), brokers(json!({ "groups": 3 })), 2),
        edit("more-replicas", same(), brokers(json!({ "replicasPerGroup": 3 })), 2),
        edit("fewer-groups", brokers(json!({ "groups": 3 })), brokers(json!({ "groups": 2 })), 2),
        edit("fewer-replicas", same(), brokers(json!({ "replicasPerGroup": 1 })), 2),
        edit("version", same(), json!({ "version": "0.1.1" }), 2),
        edit("restart-key", same(), brokers(json!({ "config": { "maxMessageSize": "8MiB" } })), 2),
        edit(
            "restart-key-of-one-group",
            brokers(json!({ "groups": 1 })),
            brokers(json!({ "config": { "maxMessageSize": "8MiB" } })),
            2,
        ),
        edit(
            "version-of-sync",
            brokers(json!({ "replication": { "mode": "Sync" } })),
            json!({ "version": "0.1.1" }),
            2,
        ),
        edit(
            "version-of-one-sync-group",
            brokers(json!({ "groups": 1, "replication": { "mode": "Sync" } })),
            json!({ "version": "0.1.1" }),
            2,
        ),
        edit("live-key", same(), brokers(json!({ "config": { "slaveTimeout": "5000" } })), 2),
        edit("async-to-sync", same(), brokers(json!({ "replication": { "mode": "Sync" } })), 2),
        edit("larger-volumes", same(), storage(json!({ "size": "20Gi" })), 2),
        edit("more-name-servers", same(), json!({ "nameServers": { "replicas": 3 } }), 2),
        edit("another-listener", same(), json!({ "listeners": node_port }), 2),
        edit("stop", same(), json!({ "stopped": true }), 2),
        edit("pause", same(), json!({ "paused": true }), 2),
        edit("monitoring", same(), json!({ "monitoring": { "podMonitor": { "enabled": true } } }), 2),
        edit("only-the-operator", same(), brokers(json!({ "scaleIn": { "drainTimeout": "1h" } })), 2),
        edit(
            "supervised",
            brokers(json!({ "rollout": { "approval": "Supervised" } })),
            json!({ "version": "0.1.1" }),
            2,
        ),
        edit("refused-shrink", same(), storage(json!({ "size": "5Gi" })), 1),
        edit("refused-immutable", same(), storage(json!({ "storageClassName": "fast" })), 1),
        edit("refused-field", same(), brokers(json!({ "replicasPerGroup": 9 })), 1),
        edit("refused-key", same(), brokers(json!({ "config": { "brokerId": "1" } })), 1),
        edit("refused-version", same(), json!({ "version": "0.3.0" }), 1),
        edit("refused-last-group", same(), brokers(json!({ "groups": 0 })), 1),
        edit(
            "refused-scale-in",
            brokers(json!({ "scaleIn": { "policy": "Refuse" } })),
            brokers(json!({ "groups": 1 })),
            1,
        ),
        edit("refused-group", same(), brokers(json!({ "remove": [7] })), 1),
    ]
}

/// Edits whose JSON is committed too.
const AS_JSON: [&str; 5] =
    ["nothing", "more-groups", "restart-key-of-one-group", "async-to-sync", "refused-shrink"];

fn document(edits: &[&Value]) -> Value {
    let mut document = json!({
        "apiVersion": "gantry.rs/v1alpha1", "kind": "RocketMQCluster", "metadata": { "name": "mq" },
        "spec": {
            "version": "0.1.0",
            "nameServers": { "replicas": 1 },
            "brokers": { "groups": 2, "replicasPerGroup": 2, "storage": { "size": "10Gi" } },
        },
    });
    edits.iter().for_each(|edit| merge(&mut document["spec"], edit));
    document
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, from) => *into = from.clone(),
    }
}

struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, document: &Value) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, document.to_string()).unwrap();
        path
    }

    /// Runs the command in the folder, so that no path of this machine is in what it says.
    fn plan(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
        command.arg("plan").args(arguments).current_dir(self.0.path());
        // No Kubernetes of whoever runs the tests.
        command.env("KUBECONFIG", "none").env_remove("KUBERNETES_SERVICE_HOST");
        command.output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// Hashes of settings and templates change with every default; what is said here does not.
fn without_hashes(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(place) = rest.find(['-', '=']) {
        let (before, after) = rest.split_at(place + 1);
        let hash = after.chars().take_while(|letter| letter.is_ascii_hexdigit()).count();
        let ends = !after[hash..].starts_with(|letter: char| letter.is_alphanumeric());
        out.push_str(before);
        rest = if hash == 8 && ends {
            out.push_str("HASH");
            &after[8..]
        } else {
            after
        };
    }
    out + rest
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan").join(name)
}

/// Returns the name of a file that is stale.
fn compare(name: &str, said: &str) -> Option<String> {
    let (path, said) = (golden(name), without_hashes(said));
    if std::env::var("GOLDEN").as_deref() == Ok("write") {
        std::fs::write(&path, &said).unwrap();
    }
    (std::fs::read_to_string(&path).unwrap_or_default() != said).then(|| name.to_owned())
}

#[test]
fn what_is_said_of_each_edit_is_committed() {
    let mut stale = Vec::new();
    for Edit { name, before, after, status } in edits() {
        let files = Files::new();
        files.write("old.yaml", &document(&[&before]));
        files.write("new.yaml", &document(&[&before, &after]));
        let output = files.plan(&["new.yaml", "--from", "old.yaml"]);
        assert_eq!(output.status.code(), Some(status), "{name}: {}", said(&output));
        stale.extend(compare(&format!("{name}.txt"), &said(&output)));
        if AS_JSON.contains(&name) {
            let output = files.plan(&["new.yaml", "--from", "old.yaml", "--output", "json"]);
            assert_eq!(output.status.code(), Some(status), "{name}");
            let json: Value = serde_json::from_slice(&output.stdout).unwrap();
            let pretty = format!("{}\n", serde_json::to_string_pretty(&json).unwrap());
            stale.extend(compare(&format!("{name}.json"), &pretty));
        }
    }
    assert_eq!(stale, Vec::<String>::new(), "run: GOLDEN=write cargo test -p cli --test plan");
}

#[test]
fn a_new_cluster_is_all_objects() {
    let files = Files::new();
    files.write("new.yaml", &document(&[]));
    let output = files.plan(&["new.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    let stale = compare("new.txt", &said(&output));
    assert_eq!(stale, None, "run: GOLDEN=write cargo test -p cli --test plan");
}

/// As it is applied and taken back.
#[test]
fn an_edit_and_back_is_no_edit() {
    let files = Files::new();
    files.write("old.yaml", &document(&[]));
    files.write("new.yaml", &document(&[&json!({ "brokers": { "flush": { "mode": "Sync" } } })]));
    for pair in [["old.yaml", "new.yaml"], ["new.yaml", "old.yaml"]] {
        assert_eq!(files.plan(&[pair[0], "--from", pair[1]]).status.code(), Some(2));
    }
    assert_eq!(files.plan(&["old.yaml", "--from", "old.yaml"]).status.code(), Some(0));
}

#[test]
fn a_stopped_cluster_starts_again() {
    let files = Files::new();
    files.write("old.yaml", &document(&[&json!({ "stopped": true })]));
    files.write("new.yaml", &document(&[]));
    let output = files.plan(&["new.yaml", "--from", "old.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("StatefulSet mq-broker-0 goes to 2 pods"), "{}", said(&output));
}

#[test]
fn whatever_cannot_be_planned_ends_with_1_and_says_why() {
    let files = Files::new();
    files.write("mq.yaml", &document(&[]));
    let mut other = document(&[]);
    other["metadata"]["name"] = json!("other");
    files.write("other.yaml", &other);
    files.write("bad.yaml", &document(&[&json!({ "brokers": { "groups": "many" } })]));
    let cases: [(&[&str], &str); 6] = [
        (&["none.yaml"], "gantry: read manifest none.yaml: No such file or directory"),
        (
            &["mq.yaml", "--from", "other.yaml"],
            "gantry: metadata.name: the manifests are of two clusters, other and mq",
        ),
        (
            &["mq.yaml", "--from", "bad.yaml"],
            "gantry: manifest bad.yaml cannot be used:\n  spec.brokers.groups: \"many\"",
        ),
        (&["bad.yaml"], "gantry: bad.yaml is refused:\n  spec.brokers.groups: \"many\": must be an integer"),
        (
            &["mq.yaml", "--live"],
            "gantry: --live asks Kubernetes, --from OLD would ask nobody: find a Kubernetes: failed to read kubeconfig from \
             '\"none\"': No such file or directory (os error 2); set KUBECONFIG to a kubeconfig, or choose one of its contexts \
             with --context\n",
        ),
        // 2 would be changes.
        (
            &["mq.yaml", "--from", "mq.yaml", "--live"],
            "error: the argument '--from <OLD>' cannot be used with '--live'",
        ),
    ];
    for (arguments, expected) in cases {
        let output = files.plan(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(said(&output).starts_with(expected), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn who_asks_for_json_gets_json_also_of_what_cannot_be_planned() {
    let output = Files::new().plan(&["none.yaml", "--output", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["refused"], json!(["read manifest none.yaml: No such file or directory (os error 2)"]));
}

#[test]
fn the_effective_manifest_is_a_manifest() {
    let files = Files::new();
    files.write("mq.yaml", &document(&[]));
    let output = files.plan(&["mq.yaml", "--effective"]);
    assert_eq!(output.status.code(), Some(0));
    std::fs::write(files.0.path().join("effective.yaml"), &output.stdout).unwrap();
    let again = files.plan(&["effective.yaml", "--from", "mq.yaml", "--output", "json"]);
    let json: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(
        (json["objects"].clone(), json["restarts"].clone()),
        (json!([]), json!([])),
        "{}",
        said(&again)
    );
}
