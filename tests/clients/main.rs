//! The official Java clients, both generations and unmodified, against `gantry up`. The checks are the Java program
//! beside this file; they print a line each, and this target fails when one of them does.
//!
//! `CLIENTS_GROUP` (default core) and `CLIENTS_ONLY` choose checks.

use std::path::Path;
use std::process::{Command, ExitCode};

use tests::cluster::Cluster;
use tests::options::Options;

fn main() -> ExitCode {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/run");
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let group = std::env::var("CLIENTS_GROUP").unwrap_or_else(|_| "core".into());
    let only = std::env::var("CLIENTS_ONLY").into_iter().flat_map(|name| ["--only".into(), name]);
    // The build needs no cluster; one that waits for downloads would only be in the way.
    if !Command::new(&run).arg("--build").status().is_ok_and(|status| status.success()) {
        return ExitCode::FAILURE;
    }
    let mut cluster = Cluster::start("clients", &Options::default());
    let namesrv = cluster.name_server(0);
    let checks = Command::new(&run)
        .args(["--namesrv", &namesrv, "--client", "both", "--group", &group])
        .args(only)
        .status();
    let passed = checks.is_ok_and(|status| status.success());
    let complaints = cluster.complaints();
    if !passed || !complaints.is_empty() {
        eprintln!("the servers complained:\n{}", complaints.join("\n"));
    }
    let stopped = cluster.stop();
    if !stopped {
        eprintln!("gantry up did not end with success:\n{}", cluster.printed().join("\n"));
    }
    if passed && stopped { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
