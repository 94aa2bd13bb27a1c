//! What users get wrong is refused, by the API server or by the operator, with the field and what to do about it; and a
//! cluster with an edit that cannot be goes on as it was.
//!
//! The files in `refusals/` begin with a line that says who refuses and how: `# api-server: FIELD: WORDS`, or
//! `# operator REASON: FIELD: WORDS`. With two documents, the first is good and the second changes it.

use std::fs;
use std::path::Path;

use crate::cluster::{Cluster, LONG, Manifest};
use crate::kube::Kube;
use crate::load::Options;
use crate::say;

/// Every file, and a bad edit of a cluster that runs.
pub fn refusals(kube: &Kube, namespace: &str) -> String {
    let good = Manifest { replicas: 1, ..Manifest::named("good") };
    let good = Cluster::apply(kube, namespace, &good.text());
    let mut wrong = Vec::new();
    let (mut by_server, mut by_operator) = (0, 0);
    for (name, text) in files() {
        let refused = Refusal::of(&text).and_then(|refusal| {
            match refusal.reason {
                None => by_server += 1,
                Some(_) => by_operator += 1,
            }
            refusal.is_made(kube, namespace, &text)
        });
        if let Err(why) = refused {
            say!("refusals", "{name}: {why}");
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "not refused as they should be: {wrong:?}");
    good.wait_ready(LONG);
    edit(&good);
    format!(
        "{by_server} manifests refused by the API server, {by_operator} by the operator; a cluster with a bad edit went on"
    )
}

/// Who refuses a manifest, and with which words.
struct Refusal<'a> {
    /// The operator's reason; without one it is the API server that refuses.
    reason: Option<&'a str>,
    field: &'a str,
    words: &'a str,
}

impl Refusal<'_> {
    fn of(text: &str) -> Result<Refusal<'_>, String> {
        let line = text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
        let mut parts = line.splitn(3, ": ");
        let (Some(who), Some(field), Some(words)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(format!("its first line does not say who refuses it: {line}"));
        };
        match who.split_once(' ') {
            None if who == "api-server" => Ok(Refusal { reason: None, field, words }),
            Some(("operator", reason)) => Ok(Refusal { reason: Some(reason), field, words }),
            _ => Err(format!("nobody is called {who}")),
        }
    }

    /// Applies the manifest and looks whether it is refused like this.
    fn is_made(&self, kube: &Kube, namespace: &str, text: &str) -> Result<(), String> {
        let documents: Vec<&str> = text.split("\n---\n").collect();
        if let [good, _] = documents[..] {
            let cluster = Cluster::apply(kube, namespace, good);
            if self.reason.is_some() {
                cluster.until_settled(LONG);
            }
        }
        let bad = documents.last().unwrap_or(&"");
        let output = kube.ctl_with(&format!("apply -n {namespace} -f -"), bad);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = match (self.reason, output.status.success()) {
            (None, false) => complaint,
            (None, true) => return Err("the API server took it".to_owned()),
            (Some(_), false) => return Err(format!("the API server refused it: {complaint}")),
            (Some(reason), true) => {
                let cluster = Cluster::named(kube, namespace, bad);
                cluster.until_condition("SpecAccepted", "False", reason, LONG)
            }
        };
        match said.contains(self.field) && said.contains(self.words) {
            true => Ok(()),
            false => Err(format!("the words are others: {said}")),
        }
    }
}

/// Asks a running cluster for something impossible together with something good: neither happens, all goes on.
fn edit(cluster: &Cluster<'_>) {
    let load = cluster.load(&Options { rate: 50, ..Options::default() });
    let before = cluster.uids("");
    cluster.patch(r#"{"nameServers": {"replicas": 2}, "brokers": {"config": {"maxMesageSize": "8MiB"}}}"#);
    let message = cluster.until_condition("SpecAccepted", "False", "UnknownConfigKey", LONG);
    assert!(message.contains("maxMessageSize"), "the message names the remedy: {message}");
    let sent = load.status().acknowledged;
    load.until("messages flow", LONG, |ledger| ledger.acknowledged > sent + 100 && ledger.missing < 50);
    assert_eq!(cluster.uids(""), before, "nothing changes");
    cluster.patch(r#"{"nameServers": {"replicas": 1}, "brokers": {"config": {"maxMesageSize": null}}}"#);
    cluster.until_condition("SpecAccepted", "True", "Accepted", LONG);
    cluster.until_settled(LONG);
    assert_eq!(cluster.uids(""), before, "nothing changed");
    let ledger = load.judge();
    assert_eq!(ledger.failed, 0, "{:?}", ledger.failures);
}

fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/refusals");
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("read {}: {e}", folder.display()));
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let read =
        |file: &Path| fs::read_to_string(file).unwrap_or_else(|e| panic!("read {}: {e}", file.display()));
    files
        .iter()
        .map(|file| (file.file_name().unwrap_or_default().to_string_lossy().into_owned(), read(file)))
        .collect()
}
