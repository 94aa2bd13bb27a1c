//! The official Java clients, both generations and unmodified, against `gantry up`: one master alone, and the examples
//! with slaves. The checks are the Java program beside this file; they print a line each, and this target fails when
//! one of them does.
//!
//! `CLIENTS_GROUP` (default core) and `CLIENTS_ONLY` choose checks, `CLIENTS_CLUSTER` one of the clusters.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use tests::cluster::Cluster;
use tests::options::Options;

/// Clusters with the clients they meet. Slaves are news to all clients; which of the two modes is none to most.
const CLUSTERS: &[(&str, &str)] = &[("one-master", "both"), ("2m-2s-sync", "both"), ("2m-2s-async", "5.3.3")];

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    // The build needs no cluster; one that waits for downloads would only be in the way.
    if !Command::new(here().join("run")).arg("--build").status().is_ok_and(|status| status.success()) {
        return ExitCode::FAILURE;
    }
    let chosen = std::env::var("CLIENTS_CLUSTER").ok();
    let wanted = |name: &str| chosen.as_deref().is_none_or(|chosen| chosen == name);
    let failed =
        CLUSTERS.iter().filter(|(name, _)| wanted(name)).filter(|(name, clients)| !pass(name, clients));
    match failed.count() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Runs the checks against a cluster and says whether all went well, its stop included.
fn pass(name: &str, clients: &str) -> bool {
    let group = std::env::var("CLIENTS_GROUP").unwrap_or_else(|_| "core".into());
    let only = std::env::var("CLIENTS_ONLY").into_iter().flat_map(|name| ["--only".into(), name]);
    println!("{name}:");
    let mut cluster = Cluster::of(&manifest(name));
    let checks = Command::new(here().join("run"))
        .args(["--namesrv", &cluster.name_server(0), "--client", clients, "--group", &group])
        .args(only)
        .status();
    let passed = checks.is_ok_and(|status| status.success());
    if cluster.shape().1 > 1 {
        println!("{} bytes of masters and slaves identical", cluster.assert_logs_identical());
    }
    let complaints = cluster.complaints();
    if !passed || !complaints.is_empty() {
        eprintln!("the servers complained:\n{}", complaints.join("\n"));
    }
    let stopped = cluster.stop();
    if !stopped {
        eprintln!("gantry up did not end with success:\n{}", cluster.printed().join("\n"));
    }
    passed && stopped && complaints.is_empty()
}

/// The example of this name, where the checks may make their topics by sending.
fn manifest(name: &str) -> String {
    if name == "one-master" {
        return Options::default().manifest("clients");
    }
    let file = here().join(format!("../../deploy/{name}.yaml"));
    let example = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("read {}: {e}", file.display()));
    example.replace("  brokers:\n", "  brokers:\n    autoCreateTopics: true\n")
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}
