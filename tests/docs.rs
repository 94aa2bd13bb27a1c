//! What the README and the pages in `docs/` point at is there: files, sections, commands of the Makefile.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md"), root().join("STYLE.md")];
    for folder in ["docs", "docs/decisions"] {
        let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    pages
}

/// Sections as code hosts name them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().chars();
        let kept = kept.filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut dead = Vec::new();
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        for link in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let is_there = target.exists()
                && (anchor.is_empty()
                    || fs::read_to_string(&target).is_ok_and(|page| anchors(&page).contains(anchor)));
            if !is_there {
                dead.push(format!("{}: {link}", path.file_name().unwrap().to_string_lossy()));
            }
        }
    }
    assert_eq!(dead, Vec::<String>::new());
}

#[test]
fn every_command_of_the_makefile_that_is_mentioned_is_one() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let commands: BTreeSet<&str> =
        makefile.lines().filter_map(|line| line.split_once(": ##")).map(|(name, _)| name).collect();
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        for rest in page.split("`make ").skip(1).chain(page.split("\nmake ").skip(1)) {
            let name: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
            assert!(commands.contains(name.as_str()), "{path:?}: make {name}");
        }
    }
}

#[test]
fn every_folder_that_the_readme_lists_is_there_and_none_is_forgotten() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let map = readme.split("| Folder | Is |").nth(1).unwrap().split("\n\n").next().unwrap();
    let listed: BTreeSet<&str> = map
        .split('`')
        .filter_map(|word| word.strip_suffix('/'))
        .filter(|word| !word.contains(['/', ' ']))
        .collect();
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = workspace.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    for member in members.split('"').skip(1).step_by(2) {
        assert!(listed.contains(member), "{member} has no line in README.md");
    }
    for folder in listed {
        assert!(root().join(folder).is_dir(), "{folder}");
    }
}

/// A dashboard or an alert that asks for a metric that nobody has stays empty, and looks as if all were quiet.
#[test]
fn every_metric_of_the_dashboard_and_of_alerts_is_one_that_a_server_has() {
    let read = |file: &&str| fs::read_to_string(root().join(file)).unwrap();
    let servers =
        ["broker/src/metrics.rs", "namesrv/src/metrics.rs", "operator/src/metrics.rs", "operator/src/run.rs"];
    let sources: String = servers.iter().map(read).collect();
    let asking = [
        "deploy/dashboards/gantry.json",
        "planner/tests/golden/production.yaml",
        "charts/gantry-operator/templates/prometheusrule.yaml",
    ];
    let asking: String = asking.iter().map(read).collect();
    let metrics: BTreeSet<String> = asking
        .split("gantry_")
        .skip(1)
        .map(|rest| rest.chars().take_while(|letter| letter.is_ascii_lowercase() || *letter == '_').collect())
        .collect();
    assert!(metrics.len() >= 15, "{metrics:?}");
    for metric in metrics {
        // Counters get their ending from the format, those of requests stand in `daemon`.
        let name = metric.trim_end_matches("_total");
        let known = sources.contains(&format!("\"gantry_{name}\"")) || name.ends_with("_requests");
        assert!(known, "gantry_{metric}");
    }
}
