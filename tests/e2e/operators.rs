//! Two operators that know nothing of each other, as after a wrong installation: no harm is done.

use std::time::Duration;

use crate::cluster::{Cluster, LONG, Manifest};
use crate::install::{PREFIX, SYSTEM, helm};
use crate::kube::{Kube, during};
use crate::load::Options;

/// How long is looked whether they leave a settled cluster alone.
const SETTLED: Duration = Duration::from_secs(20);
const SECOND: &str = "second-operator";

/// Installs a second one beside the first, lets both make, scale and restart a cluster, and removes it.
pub fn two(kube: &Kube, namespace: &str) -> String {
    let _second = Second::install(kube);
    let manifest = Manifest::named("twice");
    let (cluster, load) = Cluster::under_load(kube, namespace, &manifest, &Options::default());
    cluster.scale(2);
    cluster.until_settled(LONG);
    load.until("the new group takes messages", LONG, |ledger| ledger.acknowledged_by("twice-broker-1") > 50);
    let marked = load.mark();
    cluster.patch(r#"{"brokers": {"config": {"maxMessageSize": "8MiB"}}}"#);
    cluster.until_settled(LONG * 2);
    assert_eq!(load.status().failed, marked.failed, "{:?}", load.status().failures);
    let before = cluster.uids("");
    during("a settled cluster is left alone", SETTLED, || match cluster.uids("") == before {
        true => Ok(()),
        false => Err(format!("{before:?} are {:?}", cluster.uids(""))),
    });
    let ledger = load.judge();
    assert_eq!(ledger.failed, 0, "{:?}", ledger.failures);
    format!("made, scaled and restarted by two: {}", ledger.words())
}

/// The second release; gone when dropped.
struct Second;

impl Second {
    fn install(kube: &Kube) -> Second {
        helm(&format!(
            "upgrade --install {SECOND} charts/gantry-operator -n {SYSTEM} --set crds.enabled=false \
             --set image.prefix={PREFIX}"
        ));
        kube.ctl(&format!("rollout status -n {SYSTEM} deployment/{SECOND} --timeout=120s"));
        Second
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        helm(&format!("uninstall {SECOND} -n {SYSTEM} --wait"));
    }
}
