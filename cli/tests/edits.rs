//! The manifest of a running cluster is edited, or that of a stopped one: groups come and go with their messages, settings
//! change with and without a restart, and what cannot be is refused while the cluster goes on.
#![allow(clippy::unwrap_used)]

mod place;

use std::collections::BTreeSet;
use std::time::Instant;

use client::Connections;
use client::consumer::{Consumer, ConsumerOptions, Start};
use client::routes::Routes;
use rustix::process::{Signal, test_kill_process};
use serde_json::{Value, json};

use place::{Place, Up, gantry, outcome, pid};

/// A group that is to be read only refuses messages at once: nobody waits for senders with an old route.
const AT_ONCE: &str = ", config: { writeGraceMillis: \"0\" }";

fn manifest(groups: u32, replicas: u32, more: &str) -> String {
    format!(
        "apiVersion: gantry.rs/v1alpha1\nkind: RocketMQCluster\nmetadata: {{ name: dev }}\n\
         spec: {{ version: {}, nameServers: {{ replicas: 1 }}, brokers: {{ groups: {groups}, \
         replicasPerGroup: {replicas}, replication: {{ mode: Async }}, storage: {{ size: 1Gi }}, \
         scaleIn: {{ minDrainTime: 1s }}{more} }} }}\n",
        env!("CARGO_PKG_VERSION")
    )
}

impl Place {
    fn gantry(&self, arguments: &[&str]) -> (Option<i32>, String) {
        outcome(gantry().args(arguments).env("NAMESRV_ADDR", self.name_server()).output().unwrap())
    }

    fn produce(&self, word: &str, count: u32) {
        let (body, count) = (format!("{word}{{n}}"), count.to_string());
        let done = self.gantry(&["produce", "orders", "--body", &body, "--count", &count]);
        assert_eq!(done.0, Some(0), "{}", done.1);
    }

    /// Waits until producers are led to a group.
    fn wait_until_written_to(&self, group: &str) {
        let started = Instant::now();
        let written_to = async || {
            let routes = Routes::new(Connections::default(), &self.name_server());
            let route = routes.refresh("orders").await.unwrap();
            route.write.iter().any(|queue| queue.broker_name == group)
        };
        while !block_on(written_to()) {
            assert!(started.elapsed() < place::DEADLINE, "producers are not led to {group}");
        }
    }

    /// Reads so many messages for the group `readers` and notes that it has.
    fn read(&self, count: usize) -> BTreeSet<String> {
        let reading = async {
            let routes = Routes::new(Connections::default(), &self.name_server());
            let options =
                ConsumerOptions { start: Start::First, ..ConsumerOptions::new("readers", "orders") };
            let mut consumer = Consumer::start(routes, options).await.unwrap();
            let mut bodies = BTreeSet::new();
            while bodies.len() < count {
                let batch = consumer.next().await.unwrap();
                bodies.extend(batch.iter().map(|message| String::from_utf8(message.body.to_vec()).unwrap()));
            }
            consumer.commit().await.unwrap();
            bodies
        };
        block_on(async { tokio::time::timeout(place::DEADLINE, reading).await.unwrap() })
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

fn bodies(word: &str, count: u32) -> impl Iterator<Item = String> {
    (1..=count).map(move |number| format!("{word}{number}"))
}

fn of_member<'a>(events: &'a [Value], kind: &str) -> Vec<&'a str> {
    let events = events.iter().filter(|event| event["event"] == kind);
    events.map(|event| event["member"].as_str().unwrap()).collect()
}

fn runs(event: &Value) -> bool {
    test_kill_process(pid(event["pid"].as_u64().unwrap())).is_ok()
}

#[test]
fn a_group_comes_with_the_topics_of_the_others_and_goes_when_its_messages_are_read() {
    let place = Place::with_ports_of(&manifest(2, 1, AT_ONCE), &manifest(1, 1, AT_ONCE));
    let mut up = Up::start(place.command());
    up.event("cluster_ready");
    assert_eq!(place.gantry(&["topic", "create", "orders", "--queues", "4"]).0, Some(0));
    place.produce("a", 20);
    place.edit(&manifest(2, 1, AT_ONCE));
    let events = up.events_until("as_wanted");
    let joined = events.iter().find(|event| event["member"] == "dev-broker-1-0").unwrap();
    place.wait_until_written_to("dev-broker-1");
    place.produce("b", 40);
    assert_eq!(place.read(60), bodies("a", 20).chain(bodies("b", 40)).collect());

    place.produce("c", 40);
    place.edit(&manifest(1, 1, AT_ONCE));
    let mut waiting = up.event("waiting");
    while waiting["reason"] != "IdleGroup" {
        waiting = up.event("waiting");
    }
    let words = waiting["text"].as_str().unwrap();
    assert!(words.starts_with("group 1: consumer group readers has 20 messages to read"), "{words}");
    assert!(runs(joined), "it goes although 20 messages are not read");
    assert_eq!(place.read(40), bodies("c", 40).collect());
    assert_eq!(of_member(&up.events_until("as_wanted"), "stopped"), ["dev-broker-1-0"]);
    assert!(!runs(joined));
    place.produce("d", 8);
    assert_eq!(place.read(8), bodies("d", 8).collect());
    assert_eq!(up.stop(Signal::TERM).0.code(), Some(0));
}

#[test]
fn what_running_brokers_take_over_holds_without_a_restart() {
    let place = Place::with_ports_of(&manifest(1, 1, ""), &manifest(1, 1, ""));
    let mut up = Up::start(place.command());
    up.event("cluster_ready");
    let produce = ["produce", "orders", "--body", "x"];
    let refused = place.gantry(&produce);
    assert_ne!(refused.0, Some(0), "{}", refused.1);
    place.edit(&manifest(1, 1, ", autoCreateTopics: true"));
    let events = up.events_until("as_wanted");
    assert_eq!(of_member(&events, "stopped"), [""; 0]);
    let done = place.gantry(&produce);
    assert_eq!(done.0, Some(0), "{}", done.1);
    assert_eq!(up.stop(Signal::TERM).0.code(), Some(0));
}

#[test]
fn what_needs_a_restart_restarts_the_slave_first() {
    let place = Place::with_ports_of(&manifest(1, 2, ""), &manifest(1, 2, ""));
    let mut up = Up::start(place.command());
    up.event("cluster_ready");
    assert_eq!(place.gantry(&["topic", "create", "orders"]).0, Some(0));
    let produce = ["produce", "orders", "--size", "5000000"];
    assert_ne!(place.gantry(&produce).0, Some(0));
    place.edit(&manifest(1, 2, ", config: { maxMessageSize: 8MiB }"));
    let events = up.events_until("as_wanted");
    assert_eq!(of_member(&events, "stopped"), ["dev-broker-0-1", "dev-broker-0-0"]);
    assert_eq!(of_member(&events, "restarted"), ["dev-broker-0-1", "dev-broker-0-0"]);
    let done = place.gantry(&produce);
    assert_eq!(done.0, Some(0), "{}", done.1);
    assert_eq!(up.stop(Signal::TERM).0.code(), Some(0));
}

#[test]
fn an_edit_that_cannot_be_followed_is_told_and_the_cluster_goes_on() {
    let place = Place::with_ports_of(&manifest(1, 1, ""), &manifest(1, 1, ""));
    let mut up = Up::start(place.command());
    let events = up.events_until("cluster_ready");
    let cases = [
        ("spec: [", "read YAML: "),
        (&manifest(65, 1, ""), "spec.brokers.groups: 65"),
        (&manifest(1, 1, "").replace("1Gi", "512Mi"), "spec.brokers.storage.size: \"512Mi\": cannot shrink"),
        (&manifest(1, 1, "").replace("name: dev", "name: other"), "metadata.name: \"other\": "),
        (&manifest(1, 1, "").replace("version: 0", "version: 7"), "spec.version: \"7."),
        (&manifest(1, 1, ", remove: [9]"), "spec.brokers.remove: there is no group 9"),
    ];
    for (text, words) in cases {
        place.edit(text);
        let refused = up.event("edit_refused");
        let said = refused["problems"][0].as_str().unwrap();
        assert!(said.starts_with(words), "{said}");
    }
    std::fs::remove_file(place.file()).unwrap();
    assert!(up.event("edit_refused")["problems"][0].as_str().unwrap().contains("No such file"));
    let members = events.iter().filter(|event| event["event"] == "ready");
    assert!(members.into_iter().all(runs));
    place.edit(&manifest(1, 1, ", flush: { interval: 7ms }"));
    up.event("as_wanted");
    assert_eq!(up.stop(Signal::TERM).0.code(), Some(0));
}

#[test]
fn the_next_run_goes_on_from_what_the_data_folder_holds() {
    let place = Place::with_ports_of(&manifest(2, 1, AT_ONCE), &manifest(2, 1, AT_ONCE));
    let mut up = Up::start(place.command());
    up.event("cluster_ready");
    assert_eq!(place.gantry(&["topic", "create", "orders", "--queues", "4"]).0, Some(0));
    place.produce("a", 40);
    assert_eq!(place.read(40).len(), 40);
    place.produce("b", 40);
    assert_eq!(up.stop(Signal::TERM).0.code(), Some(0));

    place.edit(&manifest(2, 1, AT_ONCE).replace("1Gi", "512Mi"));
    let refused = place.refused();
    assert_eq!(refused.0, Some(3));
    assert!(refused.1.contains("  spec.brokers.storage.size: \"512Mi\": cannot shrink"), "{}", refused.1);

    place.edit(&manifest(1, 1, AT_ONCE));
    let mut up = Up::start(place.command());
    up.event("cluster_ready");
    assert_eq!(up.stop(Signal::TERM).0.code(), Some(0), "stopped while a group drains");
    let mut up = Up::start(place.command());
    up.event("cluster_ready");
    assert_eq!(place.read(40), bodies("b", 40).collect());
    assert_eq!(of_member(&up.events_until("as_wanted"), "stopped"), ["dev-broker-1-0"]);
    assert_eq!(up.stop(Signal::TERM).0.code(), Some(0));

    let kept: Value =
        serde_json::from_str(&std::fs::read_to_string(place.data().join("dev-cluster.json")).unwrap())
            .unwrap();
    assert_eq!(kept["status"]["brokers"]["nextGroupIndex"], json!(2));
    assert!(place.data().join("dev-broker-1-0/store/commitlog").exists(), "whenScaled is Retain");
}
