//! Volumes that are swapped, lost, or too small.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::cluster::{Cluster, LONG, Manifest, is_ready, restarts};
use crate::kube::{Kube, during, run, script, until};
use crate::load::Options;
use crate::say;

/// How long is looked whether something stays as it is.
const STAYS: Duration = Duration::from_secs(15);

/// One after the other, on one cluster whose messages are read at the end.
pub fn volumes(kube: &Kube, namespace: &str) -> String {
    let storage = "size: 1Gi, storageClassName: expandable";
    let manifest = Manifest { groups: 2, storage, ..Manifest::named("vols") };
    let options = Options { rate: 50, ..Options::default() };
    let (cluster, load) = Cluster::under_load(kube, namespace, &manifest, &options);
    let swapped = swapped(&cluster);
    let lost = lost(&cluster);
    let grown = grown(&cluster);
    load.until("messages flow", LONG, |ledger| ledger.missing < 50);
    format!("{swapped}; {lost}; {grown}; {}", load.judge().words())
}

/// Swaps the volumes of two masters while the cluster is stopped: neither may run on the other's.
fn swapped(cluster: &Cluster<'_>) -> String {
    let (first, second) = (folder(cluster, 0, 0), folder(cluster, 1, 0));
    cluster.stop();
    swap(&first, &second);
    cluster.patch(r#"{"stopped": false}"#);
    let message = cluster.until_condition("Degraded", "True", "StoreIdentityMismatch", LONG);
    say!("volumes", "swapped: {message}");
    assert!(message.contains("vols-broker-"), "the message names the member: {message}");
    let masters = || [cluster.broker(0, 0), cluster.broker(1, 0)];
    during("members with each other's volumes are held and do not crash", STAYS, || {
        let wrong = masters()
            .into_iter()
            .find(|pod| cluster.pod(pod).is_none_or(|pod| is_ready(&pod) || restarts(&pod) > 0));
        wrong.map_or(Ok(()), Err)
    });
    cluster.stop();
    swap(&first, &second);
    cluster.patch(r#"{"stopped": false}"#);
    cluster.until_settled(LONG);
    "two swapped volumes refused, good when swapped back".to_owned()
}

/// Empties a slave's volume: it is held until somebody decides.
fn lost(cluster: &Cluster<'_>) -> String {
    let pod = cluster.broker(0, 1);
    let folder = folder(cluster, 0, 1);
    for entry in fs::read_dir(&folder).expect("the volume's folder").flatten() {
        fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path())).expect("we are root");
    }
    cluster.kube.kill(&cluster.namespace, &pod);
    let message = cluster.until_condition("Degraded", "True", "VolumeLost", LONG);
    say!("volumes", "lost: {message}");
    assert!(message.contains(&pod), "the message names the member: {message}");
    during("a member whose volume was lost is held", STAYS, || {
        let held = cluster.pod(&pod).is_some_and(|pod| !is_ready(&pod));
        held.then_some(()).ok_or_else(|| format!("{pod} runs"))
    });
    cluster.patch(r#"{"brokers": {"storage": {"onLostVolume": "Replace"}}}"#);
    cluster.until_settled(LONG);
    "a slave's lost volume held, copied anew with onLostVolume: Replace".to_owned()
}

/// Makes all volumes larger.
fn grown(cluster: &Cluster<'_>) -> String {
    cluster.patch(r#"{"brokers": {"storage": {"size": "2Gi"}}}"#);
    let Cluster { kube, namespace, .. } = cluster;
    until("claims and templates say 2Gi", LONG, || {
        run(script().arg("resize"));
        let claims = kube.list(&format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims"));
        let sets = kube.list(&format!("/apis/apps/v1/namespaces/{namespace}/statefulsets"));
        let sizes = claims.iter().map(|claim| &claim["status"]["capacity"]["storage"]);
        let templates = sets
            .iter()
            .filter_map(|set| set.pointer("/spec/volumeClaimTemplates/0/spec/resources/requests/storage"));
        let all: Vec<_> = sizes.chain(templates).collect();
        let grown = all.len() == 6 && all.iter().all(|size| *size == "2Gi");
        grown.then_some(()).ok_or_else(|| format!("{all:?}"))
    });
    cluster.until_condition("StorageResized", "True", "Matches", LONG);
    cluster.until_settled(LONG);
    "4 volumes grown from 1Gi to 2Gi".to_owned()
}

fn folder(cluster: &Cluster<'_>, group: u32, ordinal: u32) -> std::path::PathBuf {
    cluster.kube.volume_of(&cluster.namespace, &format!("data-{}", cluster.broker(group, ordinal)))
}

/// Swaps what two folders hold; the folders themselves are mounted.
fn swap(one: &Path, other: &Path) {
    let aside = one.with_extension("aside");
    fs::create_dir(&aside).expect("a folder beside the volumes");
    for (from, to) in [(one, aside.as_path()), (other, one), (aside.as_path(), other)] {
        for entry in fs::read_dir(from).expect("a volume's folder").flatten() {
            fs::rename(entry.path(), to.join(entry.file_name())).expect("both are on one disk");
        }
    }
    fs::remove_dir(&aside).expect("it is empty again");
}
