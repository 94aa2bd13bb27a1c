//! What a person asks of the operator by an annotation of the cluster: `gantry restart`, `approve`, `replace-store`.

use clap::Args;
use manifest::Validated;
use manifest::cluster::Approval;
use planner::facts::ClusterFacts;
use planner::labels::{APPROVE, REPLACE, RESTART};
use planner::{Timestamp, closed_window};

use crate::kubernetes::{Kubernetes, Place};
use crate::name_server::runtime;
use crate::output;

/// Restarts all members of a cluster in Kubernetes, one by one, slaves first.
#[derive(Args)]
pub struct Restart {
    /// The cluster
    name: String,
    #[command(flatten)]
    place: Place,
}

/// Lets the masters of a rollout restart that waits for approval.
#[derive(Args)]
pub struct Approve {
    /// The cluster
    name: String,
    #[command(flatten)]
    place: Place,
}

/// Gives up what was on the volume of a broker: it begins anew, a slave as a copy of its master.
///
/// For a volume that is lost, or has the store of another member. Of a master what only it had is lost. The cluster
/// remembers the wish until --clear takes it back.
#[derive(Args)]
pub struct ReplaceStore {
    /// The cluster
    name: String,
    /// The broker's pod
    #[arg(required_unless_present = "clear")]
    pod: Option<String>,
    /// Takes all such wishes back; what is under way goes on
    #[arg(long, conflicts_with = "pod")]
    clear: bool,
    /// Yes, what was on the volume may go
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: Place,
}

pub fn restart(arguments: &Restart) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let kubernetes = arguments.place.kubernetes(None).await?;
        let name = &arguments.name;
        let cluster = kubernetes.the_cluster(name).await?;
        let now = Timestamp::from_second(Timestamp::now().as_second())?;
        kubernetes.annotate(name, RESTART, Some(&now.to_string())).await?;
        // Of a manifest that cannot be read nothing is known, and what ran goes on.
        let waits = manifest::read(&cluster).ok().and_then(|manifest| restart_waits(&manifest, now));
        let text = waits.unwrap_or_else(|| "its members restart one by one".to_owned());
        Ok(output::line(&format!("{name}: {text}; gantry status {name} shows how far they are"))?)
    })
}

/// Returns for what its members wait before they restart, or some of them.
fn restart_waits(manifest: &Validated, now: Timestamp) -> Option<String> {
    let spec = &manifest.cluster().spec;
    let rollout = &spec.brokers.rollout;
    if spec.paused {
        return Some("its members restart when spec.paused is false again".to_owned());
    }
    if spec.stopped {
        return Some("no member runs, spec.stopped is true: they start anew when it is false".to_owned());
    }
    let closed = closed_window(&rollout.window, now).ok().flatten();
    let approval = rollout.approval == Approval::Supervised;
    let masters = format!("masters wait for gantry approve {}", manifest.name());
    match (closed, approval) {
        (None, false) => None,
        (None, true) => Some(format!("its members restart one by one; {masters}")),
        (Some(closed), false) => Some(format!("its members wait: {closed}")),
        (Some(closed), true) => Some(format!("its members wait: {closed}; then {masters}")),
    }
}

pub fn approve(arguments: &Approve) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let (kubernetes, cluster) = find(&arguments.place, &arguments.name).await?;
        let id = rollout_to_approve(&cluster)?;
        kubernetes.annotate(&cluster.name, APPROVE, Some(&id)).await?;
        done(&cluster, &format!("the masters of rollout {id} restart"))
    })
}

pub fn replace_store(arguments: &ReplaceStore) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let (kubernetes, cluster) = find(&arguments.place, &arguments.name).await?;
        let Some(pod) = &arguments.pod else {
            kubernetes.annotate(&cluster.name, REPLACE, None).await?;
            return done(&cluster, "no store is given up any more");
        };
        let named = named(&cluster, pod, arguments.yes)?;
        kubernetes.annotate(&cluster.name, REPLACE, Some(&named)).await?;
        let text = format!(
            "{pod} begins anew if its volume is lost; to take that back: gantry replace-store {} --clear",
            cluster.name
        );
        done(&cluster, &text)
    })
}

async fn find(place: &Place, name: &str) -> anyhow::Result<(Kubernetes, ClusterFacts)> {
    let kubernetes = place.kubernetes(None).await?;
    let cluster = ClusterFacts::read(&kubernetes.the_cluster(name).await?)?;
    Ok((kubernetes, cluster))
}

fn done(cluster: &ClusterFacts, text: &str) -> anyhow::Result<()> {
    Ok(output::line(&format!("{}: {text}", cluster.name))?)
}

/// Returns the rollout that waits.
fn rollout_to_approve(cluster: &ClusterFacts) -> anyhow::Result<String> {
    let waits = |reason: &str| cluster.status.conditions.iter().any(|condition| condition.reason == reason);
    match &cluster.status.rollout {
        Some(rollout) if waits("AwaitingApproval") => Ok(rollout.id.clone()),
        Some(rollout) => {
            anyhow::bail!(
                "rollout {} of {} waits for no approval now: {}",
                rollout.id,
                cluster.name,
                rollout.waiting_for.as_deref().unwrap_or("it goes on by itself")
            )
        }
        None => anyhow::bail!("{} has no rollout: nothing waits for approval", cluster.name),
    }
}

/// Returns the stores that are given up, each as `POD=STORE`, with one more.
fn named(cluster: &ClusterFacts, pod: &str, is_sure: bool) -> anyhow::Result<String> {
    let groups = &cluster.status.brokers.group_statuses;
    let members: Vec<_> = groups.iter().flat_map(|group| &group.members).collect();
    let Some(member) = members.iter().find(|member| member.pod == pod) else {
        let pods: Vec<&str> = members.iter().map(|member| member.pod.as_str()).collect();
        anyhow::bail!("{pod} is no broker of {}; there are: {}", cluster.name, pods.join(", "));
    };
    let Some(store) = &member.store_id else {
        anyhow::bail!("{pod} has had no store yet: there is nothing to give up");
    };
    if !is_sure {
        let lost = match pod.ends_with("-0") {
            true => "it is the master: messages that only it had are lost",
            false => "it copies from its master again",
        };
        anyhow::bail!("what was on the volume of {pod} is given up: {lost}; say so with --yes");
    }
    let before = cluster.annotations.get(REPLACE).map(String::as_str).unwrap_or_default();
    // What was said of a former store of this member is over.
    let of_others = |entry: &&str| !entry.is_empty() && entry.split('=').next() != Some(pod);
    let mut stores: Vec<&str> = before.split(',').map(str::trim).filter(of_others).collect();
    let entry = format!("{pod}={store}");
    stores.push(&entry);
    Ok(stores.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster(status: Value, annotation: Option<&str>) -> ClusterFacts {
        let annotations = json!({ REPLACE: annotation });
        let cluster = json!({ "metadata": { "name": "mq", "annotations": annotations }, "status": status });
        ClusterFacts::read(&cluster).unwrap()
    }

    #[test]
    fn a_restart_says_what_it_waits_for() {
        let said = |set: &[&str], rollout: &Value| {
            let mut spec = json!({ "version": "0.1.0", "brokers": { "storage": { "size": "1Gi" }, "rollout": rollout } });
            set.iter().for_each(|field| spec[*field] = json!(true));
            let metadata = json!({ "name": "mq" });
            let mq = json!({ "apiVersion": manifest::API_VERSION, "kind": manifest::KIND, "metadata": metadata, "spec": spec });
            restart_waits(&manifest::read(&mq).unwrap(), "2030-01-01T00:00:00Z".parse().unwrap())
        };
        let supervised = json!({ "approval": "Supervised" });
        let weekly = json!({ "window": [{ "schedule": "0 2 * * 6", "duration": "4h" }] });
        let window = "its members wait: no window of spec.brokers.rollout.window is open; the next opens at 2030-01-05T02:00:00Z";
        let cases = [
            (&["paused"][..], &weekly, "its members restart when spec.paused is false again"),
            (&["stopped"], &weekly, "no member runs, spec.stopped is true: they start anew when it is false"),
            (&[], &supervised, "its members restart one by one; masters wait for gantry approve mq"),
            (&[], &weekly, window),
        ];
        for (set, rollout, expected) in cases {
            assert_eq!(said(set, rollout).as_deref(), Some(expected), "{set:?} {rollout}");
        }
        assert_eq!(said(&[], &json!({})), None);
    }

    #[test]
    fn only_a_rollout_that_waits_is_approved() {
        let condition = |reason: &str| json!([{ "type": "Ready", "status": "False", "reason": reason, "message": "", "lastTransitionTime": "" }]);
        let rollout = json!({ "id": "abc", "reason": "", "done": 1, "total": 2 });
        let waits = cluster(json!({ "rollout": rollout, "conditions": condition("AwaitingApproval") }), None);
        assert_eq!(rollout_to_approve(&waits).unwrap(), "abc");
        let goes_on = cluster(json!({ "rollout": rollout, "conditions": condition("RollingOut") }), None);
        let text = rollout_to_approve(&goes_on).unwrap_err().to_string();
        assert_eq!(text, "rollout abc of mq waits for no approval now: it goes on by itself");
        let nothing = rollout_to_approve(&cluster(json!({}), None)).unwrap_err().to_string();
        assert_eq!(nothing, "mq has no rollout: nothing waits for approval");
    }

    #[test]
    fn a_store_is_given_up_only_by_name_and_with_a_word() {
        let status = json!({ "brokers": { "groupStatuses": [{ "index": 0, "members": [
            { "ordinal": 0, "pod": "mq-broker-0-0", "storeId": "a" },
            { "ordinal": 1, "pod": "mq-broker-0-1", "storeId": "b" }, { "ordinal": 2, "pod": "mq-broker-0-2" },
        ] }] } });
        let asked = |annotation: Option<&str>, pod: &str, sure: bool| {
            named(&cluster(status.clone(), annotation), pod, sure).map_err(|error| error.to_string())
        };
        let cases = [
            (asked(None, "mq-broker-0-1", true), Ok("mq-broker-0-1=b")),
            (asked(Some("mq-broker-0-0=a"), "mq-broker-0-1", true), Ok("mq-broker-0-0=a,mq-broker-0-1=b")),
            (asked(Some("mq-broker-0-1=old"), "mq-broker-0-1", true), Ok("mq-broker-0-1=b")),
            (
                asked(None, "mq-broker-0-2", true),
                Err("mq-broker-0-2 has had no store yet: there is nothing to give up"),
            ),
            (
                asked(None, "mq-broker-0-0", false),
                Err(
                    "what was on the volume of mq-broker-0-0 is given up: it is the master: messages that only it had are \
                     lost; say so with --yes",
                ),
            ),
            (
                asked(None, "mq-broker-7-0", true),
                Err(
                    "mq-broker-7-0 is no broker of mq; there are: mq-broker-0-0, mq-broker-0-1, mq-broker-0-2",
                ),
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found.as_deref().map_err(String::as_str), expected);
        }
    }
}
