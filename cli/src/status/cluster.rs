//! `gantry status` in Kubernetes: what the operator reports of a cluster, as a table.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Context;
use manifest::cluster::ClusterStatus;
use manifest::cluster::status::{Condition, GroupStatus, MemberStatus};
use planner::Timestamp;
use planner::facts::ClusterFacts;
use serde::Serialize;
use serde_json::Value;

use super::words;
use crate::exit::{DEGRADED, Failure};
use crate::kubernetes::{Kubernetes, Place};
use crate::output::{self, Format};
use crate::table::table;

/// How often a cluster that is watched is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A cluster, as scripts get it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    name: &'a str,
    namespace: &'a str,
    ready: bool,
    generation: i64,
    status: &'a ClusterStatus,
}

/// Shows one cluster, or all of the namespace.
///
/// # Errors
/// Also that one is not ready.
pub async fn show(place: &Place, name: Option<&str>, watch: bool, format: Format) -> anyhow::Result<()> {
    let kubernetes = place.kubernetes(None).await?;
    let mut before = None;
    loop {
        let clusters = read(&kubernetes, name).await?;
        let mut now = look(&clusters, name.is_some(), format)?;
        now.truncate(now.trim_end().len());
        if before.as_ref() != Some(&now) {
            output::line(&now)?;
        }
        if !watch {
            return verdict(&clusters, &kubernetes.namespace);
        }
        before = Some(now);
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn read(kubernetes: &Kubernetes, name: Option<&str>) -> anyhow::Result<Vec<ClusterFacts>> {
    let found: Vec<Value> = match name {
        Some(name) => vec![kubernetes.the_cluster(name).await?],
        None => kubernetes.clusters().await?,
    };
    let read = |json: &Value| {
        let cluster = ClusterFacts::read(json);
        cluster.context(
            "read the cluster's status: another version of the operator wrote it, or somebody by hand",
        )
    };
    found.iter().map(read).collect()
}

fn look(clusters: &[ClusterFacts], one: bool, format: Format) -> anyhow::Result<String> {
    if format == Format::Json {
        let lines = clusters.iter().map(|cluster| serde_json::to_string(&shown(cluster)));
        return Ok(lines.collect::<Result<Vec<_>, _>>()?.join("\n"));
    }
    match clusters {
        [cluster] if one => Ok(details(cluster, Timestamp::now())),
        _ => Ok(overview(clusters)),
    }
}

fn shown(cluster: &ClusterFacts) -> Shown<'_> {
    Shown {
        name: &cluster.name,
        namespace: &cluster.namespace,
        ready: is_ready(cluster),
        generation: cluster.generation,
        status: &cluster.status,
    }
}

fn verdict(clusters: &[ClusterFacts], namespace: &str) -> anyhow::Result<()> {
    if clusters.is_empty() {
        return Err(Failure::because(DEGRADED, format!("there is no cluster in namespace {namespace}")));
    }
    let not_ready: Vec<&ClusterFacts> = clusters.iter().filter(|cluster| !is_ready(cluster)).collect();
    if not_ready.is_empty() {
        return Ok(());
    }
    let lines: String = not_ready
        .iter()
        .map(|cluster| format!("\n  {}: {} (gantry explain {0} says more)", cluster.name, headline(cluster)))
        .collect();
    Err(Failure::because(DEGRADED, format!("not all is as it should be:{lines}")))
}

/// Whether the operator says so, and of the manifest as it is now.
pub fn is_ready(cluster: &ClusterFacts) -> bool {
    let of_now = cluster.status.observed_generation == Some(cluster.generation);
    of_now && ready(cluster).is_some_and(|ready| ready.status == "True")
}

fn ready(cluster: &ClusterFacts) -> Option<&Condition> {
    cluster.status.conditions.iter().find(|condition| condition.kind == "Ready")
}

fn headline(cluster: &ClusterFacts) -> String {
    match ready(cluster) {
        None => "no operator has looked at it".to_owned(),
        Some(ready) if ready.status == "True" && !is_ready(cluster) => {
            "the operator has not looked at the last change".to_owned()
        }
        Some(ready) => format!("{}: {}", ready.reason, ready.message),
    }
}

fn overview(clusters: &[ClusterFacts]) -> String {
    const HEADER: [&str; 8] =
        ["NAME", "READY", "STATUS", "VERSION", "GROUPS", "WRITABLE", "MEMBERS", "IN SYNC"];
    let mut table = table(HEADER, 4);
    for cluster in clusters {
        let brokers = &cluster.status.brokers;
        let ready = ready(cluster);
        table.add_row([
            cluster.name.clone(),
            ready.map_or("-", |ready| &ready.status).to_owned(),
            ready.map_or("-", |ready| &ready.reason).to_owned(),
            cluster.status.version.clone().unwrap_or_else(|| "-".to_owned()),
            brokers.groups.to_string(),
            brokers.writable_groups.to_string(),
            brokers.members.to_string(),
            brokers.in_sync_members.to_string(),
        ]);
    }
    table.trim_fmt()
}

/// Everything of one cluster.
fn details(cluster: &ClusterFacts, now: Timestamp) -> String {
    let status = &cluster.status;
    let mut out = String::new();
    let _ = writeln!(out, "{} in {}: {}", cluster.name, cluster.namespace, headline(cluster));
    summary(&mut out, status);
    let _ = writeln!(out, "\n{}", conditions(&status.conditions, now));
    let _ = writeln!(out, "\n{}", members(&status.brokers.group_statuses));
    for group in &status.brokers.group_statuses {
        drain(&mut out, group, now);
    }
    rollout(&mut out, status);
    for (what, claims) in [("grow", &status.storage.resizing), ("are lost", &status.storage.lost)] {
        if !claims.is_empty() {
            let _ = writeln!(out, "\nVolumes that {what}: {}", claims.join(", "));
        }
    }
    out
}

fn summary(out: &mut String, status: &ClusterStatus) {
    let brokers = &status.brokers;
    let version = status.version.as_deref().unwrap_or("none yet");
    let target = status.target_version.as_ref().map(|to| format!(" on the way to {to}")).unwrap_or_default();
    let _ = writeln!(
        out,
        "version {version}{target}; {} of {} groups take messages; {} of {} members in sync; {} of {} name servers ready",
        brokers.writable_groups,
        brokers.groups,
        brokers.in_sync_members,
        brokers.members,
        status.name_servers.ready,
        status.name_servers.replicas,
    );
    if let Some(durability) = &brokers.durability {
        let _ = writeln!(out, "durability {durability}");
    }
    if let Some(endpoints) = &status.endpoints.name_servers {
        let _ = writeln!(out, "clients connect to {endpoints}");
    }
}

fn conditions(conditions: &[Condition], now: Timestamp) -> String {
    let mut table = table(["CONDITION", "STATUS", "REASON", "FOR", "MESSAGE"], usize::MAX);
    for condition in conditions {
        table.add_row([
            condition.kind.clone(),
            condition.status.clone(),
            condition.reason.clone(),
            since(&condition.last_transition_time, now),
            condition.message.clone(),
        ]);
    }
    table.trim_fmt()
}

fn members(groups: &[GroupStatus]) -> String {
    let mut table =
        table(["GROUP", "NAME", "STATE", "MEMBER", "ROLE", "READY", "LAG", "DISK", "MESSAGE"], usize::MAX);
    for group in groups {
        if group.members.is_empty() {
            let dash = || "-".to_owned();
            let row = [group.index.to_string(), group.name.clone(), group.state.clone()];
            table.add_row(row.into_iter().chain(std::iter::repeat_with(dash).take(5)).chain([String::new()]));
        }
        for member in &group.members {
            table.add_row(cells(group, member));
        }
    }
    table.trim_fmt()
}

fn cells(group: &GroupStatus, member: &MemberStatus) -> [String; 9] {
    let dash = || "-".to_owned();
    [
        group.index.to_string(),
        group.name.clone(),
        group.state.clone(),
        member.pod.clone(),
        member.role.clone().unwrap_or_else(dash),
        if member.ready { "yes" } else { "no" }.to_owned(),
        // Only the magnitude stands in a status.
        member.lag_bytes.map_or_else(dash, |lag| match lag {
            0 => "0 B".to_owned(),
            lag => format!("~{}", words::bytes(lag)),
        }),
        member.disk_used_percent.map_or_else(dash, |percent| format!("{percent} %")),
        member.message.clone().unwrap_or_default(),
    ]
}

fn drain(out: &mut String, group: &GroupStatus, now: Timestamp) {
    let Some(drain) = &group.drain else { return };
    let time = drain.started_at.as_ref().map(|at| format!(" for {}", since(at, now))).unwrap_or_default();
    let _ = writeln!(
        out,
        "\nGroup {} drains{time} ({}): {} messages to read",
        group.index, drain.phase, drain.remaining_messages
    );
    for lag in &drain.top_lags {
        let _ = writeln!(out, "  {lag}");
    }
}

fn rollout(out: &mut String, status: &ClusterStatus) {
    let Some(rollout) = &status.rollout else { return };
    let _ = writeln!(
        out,
        "\nRollout {}: {} of {} done; {}",
        rollout.id, rollout.done, rollout.total, rollout.reason
    );
    if let Some(current) = &rollout.current {
        let _ = writeln!(out, "  at work: {current}");
    }
    if let Some(waits) = &rollout.waiting_for {
        let _ = writeln!(out, "  waits: {waits}");
    }
}

/// Returns how long ago a time is.
pub fn since(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(then) => words::time((now.as_second() - then.as_second()).max(0) * 1_000),
        Err(_) => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_that_the_operator_reports_is_shown() {
        let cluster = json!({
            "metadata": { "name": "mq", "namespace": "messaging", "generation": 3 },
            "status": {
                "observedGeneration": 3, "version": "0.1.0", "targetVersion": "0.1.1",
                "conditions": [{
                    "type": "Ready", "status": "False", "reason": "RollingOut", "message": "3 of 5 pods are up to date",
                    "lastTransitionTime": "2030-01-01T00:00:00Z",
                }],
                "endpoints": { "nameServers": "mq-namesrv-0.messaging.svc:9876" },
                "nameServers": { "replicas": 1, "ready": 1 },
                "brokers": {
                    "groups": 1, "writableGroups": 1, "members": 2, "inSyncMembers": 2, "durability": "Fast",
                    "groupStatuses": [
                        { "index": 0, "name": "mq-broker-0", "state": "Active", "members": [{
                            "ordinal": 0, "pod": "mq-broker-0-0", "role": "master", "lagBytes": 0,
                            "diskUsedPercent": 12, "ready": true,
                        }] },
                        { "index": 1, "name": "mq-broker-1", "state": "Draining",
                          "drain": {
                              "phase": "Draining", "startedAt": "2029-12-31T23:59:00Z", "remainingMessages": 1234,
                              "topLags": ["g on t: 1200", "h on t: 34"],
                          },
                          "members": [{
                              "ordinal": 1, "pod": "mq-broker-1-1", "role": "slave", "lagBytes": 1_000_000,
                              "ready": false, "message": "it copies from its master",
                          }] },
                    ],
                },
                "rollout": {
                    "id": "abc", "reason": "mq-broker-0-0 restarts: image x", "done": 3, "total": 5,
                    "current": "mq-broker-0-0", "waitingFor": "producers leave group 0",
                },
                "storage": { "resizing": ["data-mq-broker-0-0"], "lost": [] },
            },
        });
        let cluster = ClusterFacts::read(&cluster).unwrap();
        let expected = "\
mq in messaging: RollingOut: 3 of 5 pods are up to date
version 0.1.0 on the way to 0.1.1; 1 of 1 groups take messages; 2 of 2 members in sync; 1 of 1 name servers ready
durability Fast
clients connect to mq-namesrv-0.messaging.svc:9876

CONDITION  STATUS  REASON      FOR      MESSAGE
Ready      False   RollingOut  2 m 5 s  3 of 5 pods are up to date

GROUP  NAME         STATE     MEMBER         ROLE    READY  LAG         DISK  MESSAGE
0      mq-broker-0  Active    mq-broker-0-0  master  yes    0 B         12 %
1      mq-broker-1  Draining  mq-broker-1-1  slave   no     ~976.6 KiB  -     it copies from its master

Group 1 drains for 3 m 5 s (Draining): 1234 messages to read
  g on t: 1200
  h on t: 34

Rollout abc: 3 of 5 done; mq-broker-0-0 restarts: image x
  at work: mq-broker-0-0
  waits: producers leave group 0

Volumes that grow: data-mq-broker-0-0
";
        let now = "2030-01-01T00:02:05Z".parse().unwrap();
        assert_eq!(details(&cluster, now), expected);
        assert!(!is_ready(&cluster));
    }

    #[test]
    fn ready_is_only_what_was_said_of_the_manifest_as_it_is_now() {
        let ready = json!([{
            "type": "Ready", "status": "True", "reason": "AllInSync", "message": "", "lastTransitionTime": "",
        }]);
        let cluster = |observed: Option<i64>| {
            let status = json!({ "conditions": ready, "observedGeneration": observed });
            ClusterFacts::read(&json!({ "metadata": { "generation": 2 }, "status": status })).unwrap()
        };
        assert!(is_ready(&cluster(Some(2))));
        assert!(!is_ready(&cluster(Some(1))) && !is_ready(&cluster(None)));
        assert_eq!(headline(&cluster(Some(1))), "the operator has not looked at the last change");
    }
}
