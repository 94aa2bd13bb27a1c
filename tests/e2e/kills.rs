//! What breaks: processes, pods, nodes, the operator, the API server. The cluster heals, nothing acknowledged is lost, and
//! who is not hit does not notice.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Cluster, LONG, Manifest, is_ready, pod_name, restarts};
use crate::install::SYSTEM;
use crate::kube::{Kube, during, script, until};
use crate::load::{Ledger, Load, Options};
use crate::say;

/// How long the API server is away.
const API_AWAY: Duration = Duration::from_secs(60);
/// How long a client may wait for an answer when nothing that serves it is hit, on a busy machine.
const UNNOTICED: Duration = Duration::from_secs(2);

/// One after the other, and healed in between.
pub fn kills(kube: &Kube, namespace: &str) -> String {
    let more = "    replication: { mode: Sync, requiredAcks: 2 }\n";
    let manifest = Manifest { name_servers: 2, groups: 2, more, ..Manifest::named("kills") };
    let (cluster, load) = Cluster::under_load(kube, namespace, &manifest, &Options::default());
    let mut figures = Vec::new();
    for _ in 0..tests::setting::setting("E2E_ROUNDS", 1) {
        for (what, hit) in [
            ("master process", process as fn(&Cluster<'_>)),
            ("slave process", slave),
            ("master pod", pod),
            ("name server pod", name_server),
            ("node", node),
        ] {
            load.mark();
            let begin = Instant::now();
            hit(&cluster);
            heal(&cluster);
            load.until("messages flow", LONG, flows(&load.status()));
            let Ledger { silence, failed, .. } = load.status();
            let text =
                format!("{what} {:.0} s (silence {} ms)", begin.elapsed().as_secs_f64(), silence.as_millis());
            say!("kills", "{text}, {failed} sends failed so far");
            figures.push(text);
        }
    }
    figures.push(operator(&cluster, &load));
    figures.push(api_server(&cluster, &load));
    let ledger = load.judge();
    format!("{}; {}", figures.join(", "), ledger.words())
}

fn process(cluster: &Cluster<'_>) {
    kill(cluster, &cluster.broker(0, 0));
}

fn slave(cluster: &Cluster<'_>) {
    kill(cluster, &cluster.broker(1, 1));
}

/// Kills the process of a pod's container and waits until it runs again, as the same pod.
fn kill(cluster: &Cluster<'_>, pod: &str) {
    let before = cluster.pod(pod).expect("a pod that is there");
    cluster.kube.kill(&cluster.namespace, pod);
    until(&format!("{pod} is started again"), LONG, || {
        let now = cluster.pod(pod).ok_or("it is not there")?;
        assert_eq!(now["metadata"]["uid"], before["metadata"]["uid"], "{pod} is the same pod");
        (restarts(&now) > restarts(&before)).then_some(()).ok_or_else(|| now["status"].to_string())
    });
}

fn pod(cluster: &Cluster<'_>) {
    delete(cluster, &cluster.broker(1, 0));
}

fn name_server(cluster: &Cluster<'_>) {
    delete(cluster, &format!("{}-namesrv-0", cluster.name));
}

/// Deletes a pod at once and waits for the one that takes its place.
fn delete(cluster: &Cluster<'_>, pod: &str) {
    let before = cluster.pod(pod).expect("a pod that is there");
    cluster
        .kube
        .ctl(&format!("delete pod -n {} {pod} --force --grace-period=0 --wait=false", cluster.namespace));
    until(&format!("{pod} is another"), LONG, || {
        let now = cluster.pod(pod).ok_or("it is not there")?;
        (now["metadata"]["uid"] != before["metadata"]["uid"]).then_some(()).ok_or("it is not".to_owned())
    });
}

/// Cuts off a node that has a broker and not the load, until Kubernetes gives it up; then connects it again.
fn node(cluster: &Cluster<'_>) {
    let brokers = cluster.pods(&format!("{}-broker-", cluster.name));
    let on = |node: u32| brokers.iter().filter(move |pod| pod["spec"]["nodeName"] == format!("node{node}"));
    let victim = (1..=2).max_by_key(|node| on(*node).count()).expect("two nodes to choose from");
    let hit: Vec<String> = on(victim).map(|pod| pod_name(pod).to_owned()).collect();
    assert!(!hit.is_empty(), "no broker is on nodes 1 and 2");
    say!("kills", "node{victim} goes, with {hit:?}");
    let away = cluster.kube.without_node(victim);
    until(&format!("node{victim} is given up"), LONG, || {
        let gone = hit.iter().all(|pod| cluster.pod(pod).is_some_and(|pod| !is_ready(&pod)));
        gone.then_some(()).ok_or("its pods are Ready".to_owned())
    });
    until("the cluster says so", LONG, || match cluster.condition("Ready") {
        Some((status, ..)) if status == "True" => Err("it is Ready".to_owned()),
        _ => Ok(()),
    });
    drop(away);
}

/// Kills the operator again and again while it has work to do: a group comes.
fn operator(cluster: &Cluster<'_>, load: &Load) -> String {
    let marked = load.mark();
    cluster.scale(3);
    let mut random = tests::random::Random::new(tests::setting::setting("E2E_SEED", 1));
    let times = 4 + tests::setting::setting("E2E_ROUNDS", 1);
    for _ in 0..times {
        std::thread::sleep(Duration::from_millis(random.below(3000) as u64));
        kill_operator(cluster.kube);
    }
    heal(cluster);
    assert_eq!(cluster.status()["brokers"]["groups"], 3);
    load.until("the new group takes messages", LONG, |ledger| ledger.acknowledged_by("kills-broker-2") > 0);
    unnoticed(load, &marked, "the operator was killed");
    format!("operator killed {times} times while a group came")
}

/// Kills every operator, at once and as new pods, so that Kubernetes does not wait before it starts them again.
fn kill_operator(kube: &Kube) {
    kube.ctl(&format!("delete pod -n {SYSTEM} -l app.kubernetes.io/name=gantry-operator --force --grace-period=0 --wait=false"));
}

/// Takes away the API server, and meanwhile the operator.
fn api_server(cluster: &Cluster<'_>, load: &Load) -> String {
    let marked = load.mark();
    let mut operators = Vec::new();
    // Those that were killed last may still be starting.
    until("every operator runs", LONG, || {
        operators = cluster.kube.list(&format!(
            "/api/v1/namespaces/{SYSTEM}/pods?labelSelector=app.kubernetes.io/name=gantry-operator"
        ));
        match !operators.is_empty() && operators.iter().all(is_ready) {
            true => Ok(()),
            false => Err(format!("{} pods, not all ready", operators.len())),
        }
    });
    let away = cluster.kube.without_api();
    let kill = |pod: &&Value| {
        script().args(["kill", "-n", SYSTEM, pod_name(pod)]).output().is_ok_and(|o| o.status.success())
    };
    // One that had been deleted may still be in the list.
    assert!(operators.iter().filter(kill).count() > 0, "an operator was there to be killed");
    during("clients do not notice", API_AWAY, || {
        let now = load.status();
        match now.failed == marked.failed && now.silence < UNNOTICED {
            true => Ok(()),
            false => Err(format!("{now:?}")),
        }
    });
    drop(away);
    heal(cluster);
    unnoticed(load, &marked, "API server and operator were away");
    format!(
        "API server and operator away for {} s unnoticed (silence {} ms)",
        API_AWAY.as_secs(),
        load.status().silence.as_millis()
    )
}

fn unnoticed(load: &Load, marked: &Ledger, what: &str) {
    let now = load.status();
    assert_eq!(now.failed, marked.failed, "sends failed while {what}: {:?}", now.failures);
    assert!(now.silence < UNNOTICED, "no acknowledgement for {:?} while {what}", now.silence);
}

/// Waits until every pod is ready and the cluster says so, of what is now.
fn heal(cluster: &Cluster<'_>) {
    until("every pod is ready", LONG, || {
        let pods = cluster.pods("");
        let away: Vec<&str> = pods.iter().filter(|pod| !is_ready(pod)).map(pod_name).collect();
        if !pods.is_empty() && away.is_empty() { Ok(()) } else { Err(format!("{away:?} are not")) }
    });
    cluster.until_settled(LONG);
}

/// Says whether 200 more messages were acknowledged, and what was is read.
fn flows(before: &Ledger) -> impl Fn(&Ledger) -> bool + use<> {
    let acknowledged = before.acknowledged;
    move |now| now.acknowledged >= acknowledged + 200 && now.missing < 100
}
