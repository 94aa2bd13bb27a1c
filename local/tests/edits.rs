//! Clusters of stand-in members whose manifest is edited while they run, or between two runs.
#![allow(clippy::unwrap_used)]

mod stage;

use std::path::PathBuf;
use std::time::Duration;

use local::{Cluster, Event, free_offset};
use manifest::Validated;

use stage::{Stage, brokers, read};

/// Not a test of its own: the process of a member.
#[test]
fn stand_in_member() {
    stage::stand_in_member();
}

/// Groups go at once and need no topics of each other: stand-ins have none.
fn manifest(groups: u32, replicas: u32, more: &str) -> Validated {
    brokers(&format!(
        "groups: {groups}, replicasPerGroup: {replicas}, replication: {{ mode: Async }}, storage: {{ size: 1Gi }}, \
         topicInheritance: None, scaleIn: {{ policy: Force }}{more}"
    ))
}

impl Stage {
    /// Starts a cluster where the ports of that larger one are free.
    async fn start(&mut self, manifest: &Validated, larger: &Validated) -> Cluster {
        self.options.port_offset = free_offset(&manifest::resolve(larger)).unwrap();
        let cluster = self.launch(manifest).unwrap();
        tokio::time::timeout(stage::DEADLINE, cluster.ready()).await.unwrap().unwrap();
        cluster
    }

    async fn hear_that_all_is_as_wanted(&mut self) -> Vec<String> {
        self.hear(|event| matches!(event, Event::AsWanted)).await
    }

    fn file(&self, member: &str, name: &str) -> PathBuf {
        self.folder.path().join("data").join(member).join(name)
    }
}

#[tokio::test]
async fn what_running_members_take_over_is_in_their_live_files_and_nobody_restarts() {
    let mut stage = Stage::new("");
    let before = manifest(1, 2, "");
    let cluster = stage.start(&before, &before).await;
    let brokers = ["dev-broker-0-0", "dev-broker-0-1"];
    let pids = brokers.map(|member| cluster.pid(member).unwrap());
    cluster.edit(manifest(1, 2, ", flush: { interval: 7ms }"));
    stage.hear_that_all_is_as_wanted().await;
    for member in brokers {
        assert_eq!(read(&stage.file(member, "live.properties"))["flushIntervalCommitLog"], "7");
    }
    assert_eq!(pids, brokers.map(|member| cluster.pid(member).unwrap()));
    cluster.stop().await;
}

#[tokio::test]
async fn what_needs_a_restart_restarts_slaves_first() {
    let mut stage = Stage::new("");
    let before = manifest(1, 2, "");
    let cluster = stage.start(&before, &before).await;
    stage.hear(|event| matches!(event, Event::Ready(ready) if ready.member == "dev-broker-0-1")).await;
    cluster.edit(manifest(1, 2, ", config: { maxMessageSize: 8MiB }"));
    let story = stage.hear_that_all_is_as_wanted().await;
    let restart = |member: &str| [format!("{member} stopped"), format!("{member} restarted")];
    let expected = [restart("dev-broker-0-1"), restart("dev-broker-0-0")].concat();
    let last = story.len() - expected.len();
    assert_eq!(story[last..], expected);
    assert_eq!(read(&stage.file("dev-broker-0-0", "broker.properties"))["maxMessageSize"], "8MiB");
    cluster.stop().await;
}

#[tokio::test]
async fn a_refused_edit_leaves_the_cluster_as_it_is_and_the_next_one_is_followed() {
    let mut stage = Stage::new("");
    let before = manifest(1, 1, "");
    let cluster = stage.start(&before, &before).await;
    let pid = cluster.pid("dev-broker-0-0");
    cluster.edit(stage::brokers("groups: 1, replicasPerGroup: 1, storage: { size: 512Mi }"));
    stage.hear(|event| matches!(event, Event::EditRefused { .. })).await;
    let Event::EditRefused { problems } =
        stage.wait_for(|event| matches!(event, Event::EditRefused { .. })).await
    else {
        unreachable!("the condition says so");
    };
    assert_eq!(
        problems,
        ["spec.brokers.storage.size: \"512Mi\": cannot shrink: volumes only grow; set it back to \"1Gi\""]
    );
    cluster.edit(manifest(1, 1, ", flush: { interval: 7ms }"));
    stage.hear_that_all_is_as_wanted().await;
    assert_eq!(cluster.pid("dev-broker-0-0"), pid);
    cluster.stop().await;
}

#[tokio::test]
async fn groups_come_and_go_while_the_cluster_runs() {
    let mut stage = Stage::new("");
    let (one, two) = (manifest(1, 1, ""), manifest(2, 1, ""));
    let cluster = stage.start(&one, &two).await;
    cluster.edit(two.clone());
    stage.hear_that_all_is_as_wanted().await;
    assert!(cluster.pid("dev-broker-1-0").is_some());
    assert_eq!(read(&stage.file("dev-broker-1-0", "live.properties"))["brokerPermission"], "6");
    cluster.edit(one);
    let story = stage.hear_that_all_is_as_wanted().await;
    assert_eq!(story, ["dev-broker-1-0 stopped"]);
    assert_eq!(cluster.pid("dev-broker-1-0"), None);
    cluster.stop().await;
}

#[tokio::test]
async fn a_second_run_is_planned_against_what_the_first_one_left() {
    let mut stage = Stage::new("");
    let (one, two) = (manifest(1, 1, ""), manifest(2, 1, ""));
    stage.start(&two, &two).await.stop().await;
    let cluster = stage.start(&one, &two).await;
    let story = stage.hear_that_all_is_as_wanted().await;
    // It does not go before it served what it has: it starts, drains and goes.
    assert!(story.contains(&"dev-broker-1-0 ready".to_owned()), "{story:?}");
    assert_eq!(story.last().unwrap(), "dev-broker-1-0 stopped");
    cluster.stop().await;
    let refused = stage.launch(&stage::brokers("groups: 1, storage: { size: 512Mi }")).err().unwrap();
    assert!(refused.to_string().contains("cannot shrink: volumes only grow"), "{refused}");
}

#[tokio::test]
async fn a_member_that_an_edit_broke_ends_nothing_and_the_edit_can_be_taken_back() {
    let mut stage = Stage::new("if grep -q ^maxMessageSize=8MiB $4; then echo too large; exit 2; fi");
    let before = manifest(1, 2, "");
    let cluster = stage.start(&before, &before).await;
    cluster.edit(manifest(1, 2, ", config: { maxMessageSize: 8MiB }"));
    stage.hear(|event| matches!(event, Event::Note(note) if note.contains("it last said: too large"))).await;
    assert!(cluster.pid("dev-broker-0-0").is_some());
    assert_eq!(cluster.pid("dev-broker-0-1"), None);
    assert!(tokio::time::timeout(Duration::ZERO, cluster.failed()).await.is_err(), "the cluster goes on");
    cluster.edit(before);
    stage.hear_that_all_is_as_wanted().await;
    assert!(cluster.pid("dev-broker-0-1").is_some());
    cluster.stop().await;
}
