//! Every pod restarts, one after the other, under load: for a new version, and for a setting that is read at the start.
//! Settings that need no restart need none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocol::codes::RequestCode;
use protocol::requests::Fields;
use tests::talk::Talk;

use crate::cluster::{Cluster, LONG, Manifest, is_ready, pod_name, uid};
use crate::install::NEXT_VERSION;
use crate::kube::{Kube, until};
use crate::load::{Ledger, Load, Options};
use crate::say;

/// Two masters, each 35 s without producers and then a restart; and the rest.
const ROLL: Duration = Duration::from_secs(300);

/// A live setting, an upgrade, and a setting that needs a restart.
pub fn rolling(kube: &Kube, namespace: &str) -> String {
    let manifest = Manifest { name_servers: 2, groups: 2, ..Manifest::named("roll") };
    let (cluster, load) = Cluster::under_load(kube, namespace, &manifest, &Options::default());

    let before = cluster.identities("");
    cluster.patch(r#"{"brokers": {"autoCreateTopics": true, "storage": {"fileReservedTime": "48h"}}}"#);
    cluster.until_settled(LONG);
    live_everywhere(&cluster, "fileReservedTime=48");
    assert_eq!(cluster.identities(""), before, "a live setting restarts nothing");
    say!("rolling", "live settings took effect");

    let upgrade = roll(&cluster, &load, &format!("{{\"version\": \"{NEXT_VERSION}\"}}"), "");
    assert_eq!(cluster.status()["version"], NEXT_VERSION);
    for pod in cluster.pods("roll-") {
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
        assert!(image.ends_with(NEXT_VERSION), "{} runs {image}", pod_name(&pod));
    }
    say!("rolling", "upgrade: {upgrade}");

    let restart =
        roll(&cluster, &load, r#"{"brokers": {"config": {"maxMessageSize": "8MiB"}}}"#, "roll-broker");
    say!("rolling", "restart: {restart}");

    let ledger = load.judge();
    assert_eq!(ledger.failed, 0, "sends failed: {:?}", ledger.failures);
    format!("upgrade {upgrade}; restart key {restart}; {}", ledger.words())
}

/// Changes the spec and watches until every pod whose name begins so was replaced; at no moment more than one member of a
/// group may be away, slaves go first, and no send may fail.
fn roll(cluster: &Cluster<'_>, load: &Load, spec: &str, beginning: &str) -> String {
    let before = cluster.identities("");
    let marked = load.mark();
    let begin = Instant::now();
    let over = AtomicBool::new(false);
    cluster.patch(spec);
    let order = std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch(cluster, &before, &over));
        until("everything has restarted", ROLL, || {
            let now = cluster.identities("");
            let old: Vec<&String> = now
                .iter()
                .filter(|(name, id)| name.starts_with(beginning) && before.get(*name) == Some(*id))
                .map(|(name, _)| name)
                .collect();
            if old.is_empty() { Ok(()) } else { Err(format!("{old:?} have not")) }
        });
        cluster.until_settled(LONG);
        over.store(true, Ordering::Relaxed);
        watch.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let time = begin.elapsed();
    for group in 0..2 {
        let place = |ordinal| order.iter().position(|pod| *pod == cluster.broker(group, ordinal));
        assert!(place(1) < place(0), "slaves go first: {order:?}");
    }
    let other = cluster
        .identities("")
        .into_iter()
        .filter(|(name, id)| !name.starts_with(beginning) && before.get(name) != Some(id));
    assert_eq!(other.count(), 0, "nothing else restarts");
    let Ledger { failed, longest, silence, failures, .. } = load.status();
    assert_eq!(failed, marked.failed, "sends failed: {failures:?}");
    format!(
        "{} pods in {:.0} s, no failed send, the longest {} ms, at most {} ms without an acknowledgement",
        order.len(),
        time.as_secs_f64(),
        longest.as_millis(),
        silence.as_millis()
    )
}

/// Notes in which order pods were replaced, and fails when two brokers of a group are away at once.
fn watch(cluster: &Cluster<'_>, before: &BTreeMap<String, (String, u64)>, over: &AtomicBool) -> Vec<String> {
    let mut order = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let pods = cluster.pods("");
        if pods.is_empty() {
            continue;
        }
        let ready: BTreeSet<&str> = pods.iter().filter(|pod| is_ready(pod)).map(pod_name).collect();
        for group in 0..2 {
            let away =
                (0..2).filter(|ordinal| !ready.contains(cluster.broker(group, *ordinal).as_str())).count();
            assert!(away <= 1, "both members of group {group} are away");
        }
        let servers = before.keys().filter(|name| name.contains("-namesrv-"));
        assert!(
            servers.clone().count() < 2 || servers.clone().any(|name| ready.contains(name.as_str())),
            "no name server is ready"
        );
        for pod in &pods {
            let name = pod_name(pod).to_owned();
            if before.get(&name).is_none_or(|(id, _)| *id != uid(pod)) && !order.contains(&name) {
                order.push(name);
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    order
}

/// Waits until every broker, asked for its settings, answers with this line.
fn live_everywhere(cluster: &Cluster<'_>, line: &str) {
    let settings = |pod: &str| {
        let pod = cluster.pod(pod).ok_or("no such pod")?;
        let address = format!("{}:10911", pod["status"]["podIP"].as_str().unwrap_or_default());
        let mut talk = Talk::connect(&address).map_err(|e| format!("{address}: {e}"))?;
        let answer =
            talk.call(RequestCode::GET_BROKER_CONFIG, &Fields(&[]), b"").map_err(|e| e.to_string())?;
        Ok::<_, String>(String::from_utf8_lossy(&answer.body).into_owned())
    };
    for pod in (0..2).flat_map(|group| (0..2).map(move |ordinal| cluster.broker(group, ordinal))) {
        until(&format!("{pod} runs with {line}"), LONG, || {
            let said = settings(&pod)?;
            said.lines().any(|said| said == line).then_some(()).ok_or(said)
        });
    }
}
