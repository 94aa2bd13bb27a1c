//! Groups come and go by one number, under load.

use std::time::Duration;

use serde_json::Value;

use crate::cluster::{Cluster, LONG, Manifest};
use crate::kube::{Kube, during, until};
use crate::load::{Ledger, Options};
use crate::say;

/// Two looks for routes of a client, and one to be sure; with the default (60 s) the scenario only takes longer.
const MIN_DRAIN: Duration = Duration::from_secs(35);

/// 1 to 3 to 2 groups, a scale-in taken back in between; no send fails, nothing is lost, and the group that goes waits for
/// its consumers.
pub fn groups(kube: &Kube, namespace: &str) -> String {
    let more = "    scaleIn: { minDrainTime: 35s }\n";
    let manifest = Manifest { name_servers: 2, more, ..Manifest::named("scale") };
    let (cluster, load) = Cluster::under_load(kube, namespace, &manifest, &Options::default());

    cluster.scale(3);
    cluster.until_settled(LONG);
    let written =
        |broker: &'static str, more: u64| move |ledger: &Ledger| ledger.acknowledged_by(broker) >= more;
    load.until("the second group takes messages", LONG, written("scale-broker-1", 50));
    load.until("the third group takes messages", LONG, written("scale-broker-2", 50));
    load.until("the new groups are read", LONG, |ledger| ledger.missing < 200);
    say!("scaling", "3 groups: {}", load.status().words());

    load.hold_consumer();
    let before = load.status();
    cluster.scale(2);
    cluster.until_condition("ScaleIn", "False", "Draining", LONG);
    until("the third group drains", LONG, || is(&group(&cluster, 2)["state"], "Draining"));
    let read_only = quiet(&load, "scale-broker-2");
    say!(
        "scaling",
        "draining: {} more messages went to the group",
        read_only - before.acknowledged_by("scale-broker-2")
    );

    cluster.scale(3);
    until("the drain is taken back", LONG, || is(&group(&cluster, 2)["state"], "Active"));
    load.until("the group takes messages again", LONG, written("scale-broker-2", read_only + 50));
    cluster.until_settled(LONG);
    say!("scaling", "the drain was taken back");

    cluster.scale(2);
    until("the third group drains", LONG, || is(&group(&cluster, 2)["state"], "Draining"));
    quiet(&load, "scale-broker-2");
    let stays = || match group(&cluster, 2)["state"] == "Draining" && set(&cluster, 2).is_some() {
        true => Ok(()),
        false => Err(format!("{}", group(&cluster, 2))),
    };
    during("a group with unread messages stays", MIN_DRAIN + Duration::from_secs(10), stays);
    let unread = group(&cluster, 2)["drain"]["remainingMessages"].as_i64().unwrap_or(0);
    assert!(unread > 0, "the drain counts unread messages: {}", group(&cluster, 2));
    load.resume_consumer();
    until("the group goes", LONG, || match group(&cluster, 2)["state"] == "Draining" {
        true => Err(format!("{}", group(&cluster, 2))),
        false => Ok(()),
    });
    let ledger = load.status();
    let (acknowledged, consumed) = ledger.brokers["scale-broker-2"];
    assert!(consumed >= acknowledged, "the group went before its messages were read: {ledger:?}");
    until("its pods are gone", LONG, || {
        match cluster.pods("scale-broker-2").len() + usize::from(set(&cluster, 2).is_some()) {
            0 => Ok(()),
            left => Err(format!("{left} objects are left")),
        }
    });
    cluster.until_settled(LONG);
    assert_eq!(cluster.status()["brokers"]["groups"], 2);
    let claims = kube.list(&format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims"));
    assert_eq!(claims.len(), 6, "the volumes of the group that went are kept");

    let ledger = load.judge();
    assert_eq!(ledger.failed, 0, "sends failed: {:?}", ledger.failures);
    format!(
        "1 to 3 to 2 groups of 2, a drain taken back, {unread} unread messages waited for: {}",
        ledger.words()
    )
}

/// Waits until a broker acknowledges nothing any more, and returns how much it has.
fn quiet(load: &crate::load::Load, broker: &str) -> u64 {
    until(&format!("producers leave {broker}"), LONG, || {
        let before = load.status().acknowledged_by(broker);
        std::thread::sleep(Duration::from_secs(2));
        let after = load.status().acknowledged_by(broker);
        if before == after { Ok(after) } else { Err(format!("{} more messages", after - before)) }
    })
}

/// Returns what the status says of a group; null when it says nothing.
fn group(cluster: &Cluster<'_>, index: u32) -> Value {
    let status = cluster.status();
    let mut groups = status["brokers"]["groupStatuses"].as_array().into_iter().flatten();
    groups.find(|group| group["index"] == index).cloned().unwrap_or_default()
}

fn set(cluster: &Cluster<'_>, group: u32) -> Option<Value> {
    let Cluster { kube, namespace, name, .. } = cluster;
    kube.get(&format!("/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}-broker-{group}"))
}

fn is(value: &Value, wanted: &str) -> Result<(), String> {
    if value == wanted { Ok(()) } else { Err(format!("it is {value}")) }
}
