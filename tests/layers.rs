//! Layering is a test: who may depend on whom, where an outside crate has its home, and what a pure crate
//! may not touch. Changing a table below is a change of design.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every crate of the design, and the crates of ours it may depend on. `*` is everything.
/// A crate that does not exist yet has its line already.
const ARROWS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("daemon", &[]),
    ("manifest", &[]),
    ("remoting", &["protocol"]),
    ("store", &["protocol"]),
    ("planner", &["manifest"]),
    ("client", &["protocol", "remoting"]),
    ("replication", &["protocol", "store"]),
    ("namesrv", &["protocol", "remoting", "daemon"]),
    ("controller", &["protocol", "remoting", "daemon"]),
    ("broker", &["protocol", "remoting", "store", "replication", "client", "daemon"]),
    ("proxy", &["protocol", "client", "daemon"]),
    ("members", &["protocol", "planner", "client"]),
    ("operator", &["manifest", "planner", "client", "members", "daemon"]),
    ("local", &["manifest", "planner", "members", "namesrv", "controller", "broker", "proxy", "daemon"]),
    ("bench", &["protocol", "client", "local"]),
    ("cli", &["manifest", "planner", "protocol", "client", "store", "local", "bench"]),
    ("tests", &["*"]),
];

/// Outside crates that may be named in few places only. A `*` at the end stands for any rest of a name.
const HOMES: &[(&str, &[&str])] = &[
    ("kube", &["operator", "cli", "manifest"]),
    ("kube-cel", &["manifest", "operator"]),
    ("kube-*", &["operator", "cli"]),
    ("k8s-openapi", &["operator", "cli", "manifest", "planner"]),
    ("openraft*", &["controller"]),
    ("redb", &["controller"]),
    ("tonic*", &["proxy"]),
    ("prost*", &["proxy"]),
    ("axum", &["daemon", "proxy", "operator"]),
    ("serde-saphyr", &["manifest"]),
    ("socket2", &["remoting", "bench"]),
    ("clap", &["cli", "bench", "namesrv", "broker", "controller", "proxy", "operator", "daemon"]),
    ("mimalloc", &["cli", "namesrv", "broker", "controller", "proxy", "operator"]),
    (
        "anyhow",
        &["cli", "local", "bench", "tests", "namesrv", "broker", "controller", "proxy", "operator", "daemon"],
    ),
];

/// Crates without I/O, clock, randomness and async, and what none of them may depend on or say.
const PURE: &[&str] = &["protocol", "manifest", "planner"];
const IMPURE_CRATES: &[&str] =
    &["tokio*", "futures", "rustix", "socket2", "hyper*", "rand", "parking_lot", "tracing*"];
const IMPURE_WORDS: &[&str] = &[
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::thread",
    "std::process",
    "std::env",
    "SystemTime::now",
    "Instant::now",
    "async fn",
];

/// The one crate that may hold `unsafe`.
const UNSAFE_HOME: &str = "store";

#[test]
fn every_crate_has_its_line_in_the_table_and_its_folder_at_the_root() {
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    for member in workspace() {
        assert!(known.contains(member.name.as_str()), "{} has no line in ARROWS", member.name);
        assert_eq!(member.folder, root().join(&member.name), "{} lives elsewhere", member.name);
    }
}

#[test]
fn arrows_between_crates_point_down() {
    assert_eq!(wrong_arrows(&workspace()), Vec::<String>::new(), "arrows that the design does not have");
}

#[test]
fn an_arrow_from_server_to_server_or_up_is_found() {
    let members = [
        invented("broker", &["protocol", "namesrv"]),
        invented("protocol", &["store", "serde"]),
        invented("namesrv", &["protocol"]),
        invented("store", &[]),
    ];
    assert_eq!(wrong_arrows(&members), ["broker -> namesrv", "protocol -> store"]);
}

#[test]
fn the_table_itself_has_no_cycle() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut placed = BTreeSet::from(["*"]);
    while placed.len() <= allowed.len() {
        let next: Vec<&str> = allowed
            .iter()
            .filter(|(name, to)| !placed.contains(*name) && to.iter().all(|name| placed.contains(name)))
            .map(|(name, _)| *name)
            .collect();
        assert!(!next.is_empty(), "only these can be ordered: {placed:?}");
        placed.extend(next);
    }
}

#[test]
fn outside_crates_stay_in_their_homes() {
    assert_eq!(away_from_home(&workspace()), Vec::<String>::new(), "outside crates away from home");
}

#[test]
fn an_outside_crate_away_from_home_is_found() {
    let members = [invented("broker", &["kube-runtime", "bytes"]), invented("manifest", &["kube", "anyhow"])];
    assert_eq!(away_from_home(&members), ["broker -> kube-runtime", "manifest -> anyhow"]);
}

#[test]
fn pure_crates_know_neither_files_nor_sockets_nor_the_time() {
    let mut wrong = Vec::new();
    for member in workspace().iter().filter(|member| PURE.contains(&member.name.as_str())) {
        for dependency in &member.shipped_dependencies {
            if IMPURE_CRATES.iter().any(|pattern| matches(pattern, dependency)) {
                wrong.push(format!("{} -> {dependency}", member.name));
            }
        }
        for (path, line, text) in product_code(&member.folder) {
            for word in IMPURE_WORDS.iter().filter(|word| text.contains(**word)) {
                wrong.push(format!("{}:{line}: {word}", path.display()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "a pure crate reaches outside");
}

#[test]
fn unsafe_stands_only_in_the_store() {
    let mut wrong = Vec::new();
    for member in workspace() {
        let manifest = fs::read_to_string(member.folder.join("Cargo.toml")).unwrap();
        if !manifest.contains("[lints]\nworkspace = true") {
            wrong.push(format!("{}: Cargo.toml does not take the workspace's lints", member.name));
        }
        if member.name == UNSAFE_HOME {
            continue;
        }
        for path in rust_files(&member.folder) {
            // In two pieces, or this file would find itself.
            let lifted = concat!("(unsafe", "_code)");
            if fs::read_to_string(&path).unwrap().contains(lifted) {
                wrong.push(format!("{}: lifts the lint", path.display()));
            }
        }
    }
    let lint = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(lint.contains("unsafe_code = \"deny\"") || lint.contains("unsafe_code = \"forbid\""));
    assert_eq!(wrong, Vec::<String>::new(), "places where unsafe code could hide");
}

#[test]
fn no_file_or_module_is_called_common_or_util() {
    let vague = ["common", "util", "utils", "misc", "manager", "impl", "helpers"];
    let mut wrong = Vec::new();
    for member in workspace() {
        for path in rust_files(&member.folder) {
            let inside = path.strip_prefix(&member.folder).unwrap().with_extension("");
            if inside.iter().any(|part| vague.contains(&part.to_str().unwrap())) {
                wrong.push(path.display().to_string());
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "names that say nothing");
}

fn wrong_arrows(members: &[Member]) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let ours: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let mut wrong = Vec::new();
    for member in members {
        let to = allowed.get(member.name.as_str()).copied().unwrap_or_default();
        for dependency in member.dependencies.iter().filter(|name| ours.contains(name.as_str())) {
            if !to.contains(&"*") && !to.contains(&dependency.as_str()) {
                wrong.push(format!("{} -> {dependency}", member.name));
            }
        }
    }
    wrong
}

fn away_from_home(members: &[Member]) -> Vec<String> {
    let mut wrong = Vec::new();
    for member in members {
        for dependency in &member.dependencies {
            let home = HOMES.iter().find(|(pattern, _)| matches(pattern, dependency));
            if home.is_some_and(|(_, homes)| !homes.contains(&member.name.as_str())) {
                wrong.push(format!("{} -> {dependency}", member.name));
            }
        }
    }
    wrong
}

struct Member {
    name: String,
    folder: PathBuf,
    /// Of every kind: normal, build and dev.
    dependencies: BTreeSet<String>,
    /// Without those of tests.
    shipped_dependencies: BTreeSet<String>,
}

/// The members of the workspace as their `Cargo.toml` files declare them.
fn workspace() -> Vec<Member> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version=1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().iter().map(member).collect()
}

fn member(package: &serde_json::Value) -> Member {
    let names = |shipped_only: bool| {
        package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| !shipped_only || dependency["kind"] != "dev")
            .map(|dependency| dependency["name"].as_str().unwrap().to_string())
            .collect()
    };
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    Member {
        name: package["name"].as_str().unwrap().to_string(),
        folder: manifest.parent().unwrap().to_path_buf(),
        dependencies: names(false),
        shipped_dependencies: names(true),
    }
}

fn invented(name: &str, dependencies: &[&str]) -> Member {
    let dependencies: BTreeSet<String> = dependencies.iter().map(|name| name.to_string()).collect();
    let shipped_dependencies = dependencies.clone();
    Member { name: name.into(), folder: PathBuf::new(), dependencies, shipped_dependencies }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Lines of code under `src`, without comments and without what follows the first `#[cfg(test)]` of a file.
fn product_code(folder: &Path) -> Vec<(PathBuf, usize, String)> {
    let mut lines = Vec::new();
    for path in rust_files(&folder.join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        for (index, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("#[cfg(test)]") {
                break;
            }
            let code = line.split("//").next().unwrap_or_default();
            lines.push((path.clone(), index + 1, code.to_string()));
        }
    }
    lines
}
