//! The command line against a cluster on Kubernetes: what would happen, how it is, and why it is not as it should be.

use std::fs;
use std::process::{Command, Output};

use crate::cluster::{Cluster, LONG, Manifest};
use crate::install::binaries;
use crate::kube::{Kube, run, script};
use crate::say;

/// `gantry plan --live`, `status` and `explain`.
pub fn tools(kube: &Kube, namespace: &str) -> String {
    let manifest = Manifest { groups: 2, replicas: 1, ..Manifest::named("tools") };
    let cluster = Cluster::ready(kube, namespace, &manifest);
    let manifest = manifest.text();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = |text: &str| {
        let file = folder.path().join("cluster.yaml");
        fs::write(&file, text).expect("a file in our own folder");
        gantry(namespace, &["plan", "--live", &file.display().to_string()])
    };
    let same = plan(&manifest);
    assert_eq!(same.status.code(), Some(0), "nothing to do: {}", words(&same));
    let restart = plan(&manifest.replace("config: { ", "config: { maxMessageSize: 8MiB, "));
    assert_eq!(restart.status.code(), Some(2), "{}", words(&restart));
    for word in ["tools-broker-0-0", "tools-broker-1-0", "maxMessageSize"] {
        assert!(words(&restart).contains(word), "the plan names {word}: {}", words(&restart));
    }
    let refused = plan(&manifest.replace("size: 1Gi", "size: 512Mi"));
    assert_eq!(refused.status.code(), Some(1), "{}", words(&refused));
    assert!(words(&refused).contains("spec.brokers.storage.size"), "{}", words(&refused));
    let before = cluster.get().map(|cluster| cluster["metadata"]["generation"].clone());
    say!("tools", "plan:\n{}", words(&restart));

    let status = gantry(namespace, &["status", "tools"]);
    assert_eq!(status.status.code(), Some(0), "{}", words(&status));
    assert!(words(&status).contains("tools-broker-0"), "{}", words(&status));
    say!("tools", "status:\n{}", words(&status));

    cluster.patch(r#"{"brokers": {"storage": {"size": "2Gi"}}}"#);
    cluster.until_condition("StorageResized", "False", "ExpansionUnsupported", LONG);
    let explained = gantry(namespace, &["explain", "tools"]);
    assert!(words(&explained).contains("allowVolumeExpansion"), "the remedy is named: {}", words(&explained));
    say!("tools", "explain:\n{}", words(&explained));
    assert!(before.is_some(), "the plans wrote nothing");
    "plan (0, 2, 1), status and explain".to_owned()
}

/// Runs the command line as it is in the image.
fn gantry(namespace: &str, words: &[&str]) -> Output {
    let config = run(script().arg("config"));
    let mut command = Command::new(binaries().join("gantry"));
    command.args(words).args(["--namespace", namespace]).env("KUBECONFIG", config.trim());
    command.output().expect("gantry starts")
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
