//! Clusters of stand-in members: order, restarts, bounds and refusals of the runner, without servers.
#![allow(clippy::unwrap_used)]

mod stage;

use std::net::TcpListener;
use std::time::Duration;

use local::{Event, StartError, free_offset};
use rustix::process::{Signal, kill_process};

use stage::{DEADLINE, NOT_READY, Stage, brokers, one_of_each, pid, wait_until_gone};

/// Not a test of its own: the process of a member.
#[test]
fn stand_in_member() {
    stage::stand_in_member();
}

#[tokio::test]
async fn name_servers_start_first_and_stop_last() {
    let mut stage = Stage::new("");
    let cluster = stage.launch_ready(&one_of_each()).await;
    let port = 9876 + stage.options.port_offset;
    assert_eq!(cluster.name_server_address(), format!("127.0.0.1:{port}"));
    let pids = ["dev-namesrv-0", "dev-broker-0-0"].map(|member| cluster.pid(member).unwrap());
    cluster.stop().await;
    assert_eq!(
        stage.story(),
        ["dev-namesrv-0 ready", "dev-broker-0-0 ready", "dev-broker-0-0 stopped", "dev-namesrv-0 stopped"]
    );
    pids.into_iter().for_each(wait_until_gone);
    assert!(stage.folder.path().join("data/dev-broker-0-0/broker.properties").exists());
}

#[tokio::test]
async fn masters_stop_before_the_slaves_that_follow_them() {
    let mut stage = Stage::new("");
    let cluster =
        stage.launch_ready(&brokers("groups: 2, replicasPerGroup: 2, storage: { size: 1Gi }")).await;
    cluster.stop().await;
    let story = stage.story();
    let stopped = |member: &str| story.iter().position(|line| *line == format!("{member} stopped")).unwrap();
    let masters = [stopped("dev-broker-0-0"), stopped("dev-broker-1-0")];
    let slaves = [stopped("dev-broker-0-1"), stopped("dev-broker-1-1")];
    assert!(masters.iter().max() < slaves.iter().min(), "{story:?}");
    assert_eq!(stopped("dev-namesrv-0"), story.len() - 1);
}

#[tokio::test]
async fn a_slave_that_catches_up_is_left_alone_and_holds_up_nobody() {
    let before = format!("if grep -qs ^brokerRole=SLAVE \"$6\"; then export {NOT_READY}='5 GiB behind'; fi");
    let mut stage = Stage::new(&before);
    stage.options.told_after = Duration::from_secs(2);
    stage.options.ready_within = Duration::from_secs(4);
    let cluster =
        stage.launch_ready(&brokers("groups: 1, replicasPerGroup: 2, storage: { size: 1Gi }")).await;
    assert!(cluster.pid("dev-broker-0-1").is_some());
    cluster.stop().await;
    let notes: Vec<String> = stage
        .events
        .lock()
        .unwrap()
        .iter()
        .filter_map(|event| match event {
            Event::Note(note) => Some(note.clone()),
            _ => None,
        })
        .collect();
    assert!(notes[0].starts_with("dev-broker-0-1 is not ready yet: "), "{notes:?}");
    assert_eq!(
        notes[1..],
        ["dev-broker-0-1 is not ready after 4s: 5 GiB behind; the cluster goes on without it"]
    );
    assert_eq!(stage.story().iter().filter(|line| line.contains("died")).count(), 0);
}

#[tokio::test]
async fn a_master_that_does_not_get_ready_in_time_counts_as_dead_although_it_lives() {
    let before = format!("if [ $2 = broker ]; then export {NOT_READY}=recovering; fi");
    let mut stage = Stage::new(&before);
    stage.options.ready_within = Duration::from_secs(1);
    let cluster = stage.launch_somewhere(&one_of_each());
    let failed = tokio::time::timeout(DEADLINE, cluster.ready()).await.unwrap().unwrap_err();
    assert_eq!(failed.how, "not ready after 1s: recovering");
    cluster.stop().await;
}

#[tokio::test]
async fn a_member_that_does_not_stop_cleanly_is_told_apart() {
    let mut stage = Stage::new("");
    let cluster = stage.launch_ready(&brokers("groups: 0, storage: { size: 1Gi }")).await;
    cluster.stop().await;
    // The stand-in does not know what to do about SIGTERM.
    let problem = Some("signal: 15 (SIGTERM)".to_owned());
    let stopped = Event::Stopped { member: "dev-namesrv-0".to_owned(), problem };
    assert_eq!(stage.events.lock().unwrap().last(), Some(&stopped));
}

#[tokio::test]
async fn a_member_that_is_killed_is_reported_and_started_again() {
    let mut stage = Stage::new("");
    let cluster = stage.launch_ready(&one_of_each()).await;
    let before = cluster.pid("dev-broker-0-0").unwrap();
    kill_process(pid(before), Signal::KILL).unwrap();
    let Event::Restarted(ready) = stage.wait_for(|event| matches!(event, Event::Restarted(_))).await else {
        unreachable!("the condition says so");
    };
    assert_eq!((ready.member.as_str(), Some(ready.pid)), ("dev-broker-0-0", cluster.pid("dev-broker-0-0")));
    assert_ne!(ready.pid, before);
    cluster.stop().await;
    assert_eq!(stage.story()[2..4], ["dev-broker-0-0 died: signal: 9 (SIGKILL)", "dev-broker-0-0 restarted"]);
}

#[tokio::test]
async fn a_member_that_keeps_dying_is_given_up_with_its_last_words() {
    let mut stage = Stage::new("if [ $2 = broker ]; then echo no space; exit 1; fi");
    let cluster = stage.launch_somewhere(&one_of_each());
    let failed = tokio::time::timeout(DEADLINE, cluster.ready()).await.unwrap().unwrap_err();
    assert_eq!(
        (failed.member.as_str(), failed.how.as_str(), failed.last_words.as_deref()),
        ("dev-broker-0-0", "exit status: 1", Some("no space"))
    );
    assert_eq!(std::fs::read_to_string(&failed.log).unwrap(), "no space\n".repeat(3));
    cluster.stop().await;
    let died = "dev-broker-0-0 died: exit status: 1";
    assert_eq!(stage.story(), ["dev-namesrv-0 ready", died, died, "dev-namesrv-0 stopped"]);
}

#[tokio::test]
async fn a_member_whose_settings_cannot_be_used_is_given_up_at_once() {
    let mut stage = Stage::new("echo listenPort=x; exit 2");
    let cluster = stage.launch_somewhere(&one_of_each());
    let failed = tokio::time::timeout(DEADLINE, cluster.failed()).await.unwrap();
    assert_eq!(
        failed.to_string().split("; its log").next(),
        Some("dev-namesrv-0 is given up: exit status: 2; it last said: listenPort=x")
    );
    cluster.stop().await;
    assert_eq!(stage.story(), [""; 0]);
}

#[tokio::test]
async fn a_command_that_is_not_there_is_named() {
    let mut stage = Stage::new("");
    stage.options.gantry_bin = stage.folder.path().join("nothing");
    let cluster = stage.launch_somewhere(&one_of_each());
    let failed = tokio::time::timeout(DEADLINE, cluster.failed()).await.unwrap();
    assert!(
        failed.how.starts_with("start ") && failed.how.contains("nothing: No such file"),
        "{}",
        failed.how
    );
    cluster.stop().await;
}

#[tokio::test]
async fn a_member_that_does_not_get_ready_in_time_counts_as_dead() {
    let mut stage = Stage::new("if [ $2 = namesrv ]; then exec sleep 1000; fi");
    stage.options.ready_within = Duration::from_millis(50);
    let cluster = stage.launch_somewhere(&one_of_each());
    let failed = tokio::time::timeout(DEADLINE, cluster.failed()).await.unwrap();
    assert!(failed.how.starts_with("not ready after 50ms: health port "), "{}", failed.how);
    cluster.stop().await;
}

#[tokio::test]
async fn a_member_that_does_not_stop_is_killed_after_its_time() {
    let mut stage = Stage::new("trap '' TERM");
    stage.options.broker_stops_within = Duration::from_millis(50);
    stage.options.name_server_stops_within = Duration::from_millis(50);
    let cluster = stage.launch_ready(&one_of_each()).await;
    let broker = cluster.pid("dev-broker-0-0").unwrap();
    cluster.stop().await;
    assert_eq!(stage.story()[2..], ["dev-broker-0-0 killed", "dev-namesrv-0 killed"]);
    wait_until_gone(broker);
}

#[tokio::test]
async fn members_end_when_the_cluster_is_forgotten() {
    let mut stage = Stage::new("");
    let cluster = stage.launch_ready(&one_of_each()).await;
    let pids = ["dev-namesrv-0", "dev-broker-0-0"].map(|member| cluster.pid(member).unwrap());
    drop(cluster);
    for name in ["dev-namesrv-0", "dev-broker-0-0"] {
        stage.wait_for(|event| matches!(event, Event::Stopped { member, .. } if member == name)).await;
    }
    pids.into_iter().for_each(wait_until_gone);
}

#[test]
fn a_port_in_use_is_named_before_anything_starts() {
    let mut stage = Stage::new("");
    stage.options.port_offset = free_offset(&manifest::resolve(&one_of_each())).unwrap();
    let port = 10909 + stage.options.port_offset;
    let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let error = stage.launch(&one_of_each()).err().unwrap().to_string();
    let expected = format!("fast port {port} of dev-broker-0-0 is in use by ");
    assert!(error.starts_with(&expected), "{error}");
    assert_eq!(stage.story(), [""; 0]);
}

#[tokio::test]
async fn two_clusters_on_one_data_folder_are_refused() {
    let mut stage = Stage::new("");
    let cluster = stage.launch_ready(&one_of_each()).await;
    assert!(matches!(stage.launch(&one_of_each()), Err(StartError::DataInUse { .. })));
    cluster.stop().await;
}

#[tokio::test]
async fn another_version_than_our_own_is_refused() {
    let stage = Stage::new("");
    let text = manifest::to_yaml(&serde_json::to_value(one_of_each().cluster()).unwrap());
    let other = manifest::load(&text.replace(env!("CARGO_PKG_VERSION"), "99.0.0")).unwrap();
    assert!(matches!(stage.launch(&other), Err(StartError::Version { .. })));
}

#[tokio::test]
async fn a_volume_that_goes_with_the_member_is_empty_at_the_start_and_gone_at_the_end() {
    let mut stage = Stage::new("");
    let store = stage.folder.path().join("data/dev-broker-0-0/ephemeral-store");
    std::fs::create_dir_all(&store).unwrap();
    std::fs::write(store.join("old"), "").unwrap();
    let cluster =
        stage.launch_ready(&brokers("groups: 1, replicasPerGroup: 1, storage: { type: EmptyDir }")).await;
    assert!(!store.exists());
    std::fs::create_dir_all(&store).unwrap();
    cluster.stop().await;
    assert!(!store.exists());
}

#[tokio::test]
async fn a_disk_smaller_than_the_manifest_asks_for_is_noted() {
    let mut stage = Stage::new("exit 2");
    let cluster =
        stage.launch_somewhere(&brokers("groups: 2, replicasPerGroup: 1, storage: { size: 4000Pi }"));
    cluster.stop().await;
    let note = stage.events.lock().unwrap().first().cloned();
    let Some(Event::Note(note)) = note else { panic!("{note:?}") };
    assert!(note.starts_with("spec.brokers.storage.size asks for 8000Pi in all, but only "), "{note}");
}
