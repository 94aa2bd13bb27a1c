//! Days in the life of a cluster: more and fewer name servers, pause, stop, start, and the end.

use std::time::Duration;

use crate::cluster::{Cluster, LONG, Manifest, condition, pod_name};
use crate::install::{PREFIX, VERSION};
use crate::kube::{Kube, during, until};
use crate::load::Options;
use crate::say;

/// How long is looked whether nothing happens.
const STAYS: Duration = Duration::from_secs(10);

/// From apply to the end, with messages that outlive a stop.
pub fn lifecycle(kube: &Kube, namespace: &str) -> String {
    let manifest = Manifest { more: "  deletion: { protection: true }\n", ..Manifest::named("life") };
    let (cluster, load) = Cluster::under_load(kube, namespace, &manifest, &Options::default());

    let created = kube.ctl(&format!(
        "run gantry-life -n default --rm --attach --restart=Never --image={PREFIX}gantry:{VERSION} -- \
         topic create by-hand -n life-namesrv-0.{namespace}.svc:9876"
    ));
    assert!(created.contains("by-hand"), "the image gantry makes a topic: {created}");

    let before = cluster.identities("life-broker");
    for replicas in [3, 2] {
        cluster.patch(&format!("{{\"nameServers\": {{\"replicas\": {replicas}}}}}"));
        cluster.until_settled(LONG);
        until("the name servers are as many", LONG, || match cluster.pods("life-namesrv").len() {
            pods if pods == replicas => Ok(()),
            pods => Err(format!("{pods} pods")),
        });
    }
    assert_eq!(cluster.identities("life-broker"), before, "no broker restarts for name servers");
    assert_eq!(load.status().failed, 0, "no send fails for name servers");
    say!("lifecycle", "name servers 1, 3, 2: no broker restarted");

    cluster.patch(r#"{"paused": true}"#);
    cluster.until_paused();
    cluster.patch(r#"{"nameServers": {"replicas": 3}}"#);
    kube.ctl(&format!("delete pdb -n {namespace} life-broker-0"));
    let nothing = || match (cluster.pods("life-namesrv").len(), budget(&cluster).is_some()) {
        (2, false) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    during("nothing is written while the cluster is paused", STAYS, nothing);
    cluster.patch(r#"{"paused": false, "nameServers": {"replicas": 2}}"#);
    until("what was deleted is back", LONG, || budget(&cluster).map(|_| ()).ok_or("it is not".to_owned()));
    cluster.until_settled(LONG);
    say!("lifecycle", "paused and went on");

    load.hold_consumer();
    load.until("messages wait for their consumer", LONG, |ledger| ledger.missing > 200);
    cluster.stop();
    cluster.until_condition("Stopped", "True", "Requested", LONG);
    assert_eq!(claims(&cluster).len(), 2, "volumes stay");
    cluster.patch(r#"{"stopped": false}"#);
    cluster.until_settled(LONG);
    load.resume_consumer();
    let ledger = load.judge();
    say!("lifecycle", "stopped and started: {}", ledger.words());

    let refused = kube.ctl_with(&format!("delete rktmq -n {namespace} life --wait=false"), "");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let remedy = r#"--type merge -p '{"spec":{"deletion":{"protection":false}}}'"#;
    let words = format!(
        "spec.deletion.protection is true: set it to false first: kubectl patch rktmq life -n {namespace} {remedy}"
    );
    assert!(!refused.status.success() && said.contains(&words), "deleting a protected cluster: {said}");
    let marked = cluster.get().map(|cluster| cluster["metadata"]["deletionTimestamp"].clone());
    assert_eq!(marked, Some(serde_json::Value::Null), "the deletion has not begun");
    cluster.patch(r#"{"deletion": {"protection": false, "policy": "Retain"}}"#);
    kube.ctl(&format!("delete rktmq -n {namespace} life --wait=false"));
    gone(&cluster);
    assert_eq!(claims(&cluster).len(), 2, "policy Retain keeps the volumes");

    let again = Manifest { more: "  deletion: { policy: Delete }\n", ..Manifest::named("brief") };
    let brief = Cluster::ready(kube, namespace, &again);
    kube.ctl(&format!("delete rktmq -n {namespace} brief --wait=false"));
    gone(&brief);
    assert_eq!(claims(&brief).len(), 0, "policy Delete removes the volumes");
    format!(
        "name servers 1, 3, 2 without a broker restart; paused; stopped and started; protected, retained, deleted; {}",
        ledger.words()
    )
}

impl Cluster<'_> {
    /// Waits until the operator says that it is paused; it goes on to say what it said of everything else.
    pub fn until_paused(&self) {
        until("the cluster is paused", LONG, || match condition(&self.status(), "Paused") {
            Some((status, ..)) if status == "True" => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
}

/// Waits until a cluster and all its children are gone.
fn gone(cluster: &Cluster<'_>) {
    let Cluster { kube, namespace, name, .. } = cluster;
    until(&format!("{name} is gone"), LONG, || {
        cluster.get().map_or(Ok(()), |left| Err(left["status"].to_string()))
    });
    let kinds = "statefulsets,pods,services,configmaps,secrets,serviceaccounts,pdb,networkpolicies";
    until(&format!("the children of {name} are gone"), LONG, || {
        let left = kube.ctl(&format!("get {kinds} -n {namespace} -l gantry.rs/cluster={name} -o name"));
        if left.trim().is_empty() { Ok(()) } else { Err(left) }
    });
}

fn budget(cluster: &Cluster<'_>) -> Option<serde_json::Value> {
    let Cluster { kube, namespace, .. } = cluster;
    kube.get(&format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/life-broker-0"))
}

fn claims(cluster: &Cluster<'_>) -> Vec<serde_json::Value> {
    let Cluster { kube, namespace, name, .. } = cluster;
    let claims = kube.list(&format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims"));
    claims.into_iter().filter(|claim| pod_name(claim).starts_with(&format!("data-{name}-"))).collect()
}
