//! A user's first minute: the quickstart cluster, a topic, messages in and out, all by the command.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The quickstart cluster on ports of its own; killed when a test fails.
struct Quickstart {
    up: Child,
    address: String,
    _data: TempDir,
}

impl Quickstart {
    fn start() -> Quickstart {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/quickstart.yaml");
        let effective = manifest::resolve(&manifest::load(&std::fs::read_to_string(file).unwrap()).unwrap());
        let offset = local::free_offset(&effective).unwrap();
        let data = tempfile::tempdir().unwrap();
        let mut up = Command::new(env!("CARGO_BIN_EXE_gantry"))
            .args(["up", file, "--output", "json", "--port-offset", &offset.to_string(), "--data"])
            .arg(data.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(up.stdout.take().unwrap()).lines();
        let ready = lines.find(|line| line.as_ref().unwrap().contains("cluster_ready"));
        assert!(ready.is_some(), "gantry up ended before the cluster was ready");
        // Keeps the pipe empty, as a terminal would.
        std::thread::spawn(move || lines.count());
        Quickstart { up, address: format!("127.0.0.1:{}", 9876 + offset), _data: data }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
        command.args(arguments).env("NAMESRV_ADDR", &self.address).stdin(Stdio::null());
        command
    }

    /// Runs a command that succeeds and returns what it wrote.
    fn gantry(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gantry {arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.gantry(&[arguments, &["--output", "json"]].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Runs a command that fails and returns what it complained about.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "gantry {arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.up), Signal::TERM).unwrap();
        assert_eq!(self.up.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        let _ = self.up.kill();
        let _ = self.up.wait();
    }
}

fn bodies(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["body"].as_str().unwrap()).collect()
}

#[test]
fn what_was_sent_is_shown_in_its_order_with_tag_keys_and_properties() {
    let cluster = Quickstart::start();
    let sent = cluster.json(&[
        "produce",
        "orders",
        "--count",
        "10",
        "--body",
        "order {n}",
        "--tag",
        "new",
        "--key",
        "k1",
        "--key",
        "k2",
        "--property",
        "colour=red",
    ]);
    let shown = cluster.json(&["consume", "orders"]);
    let expected: Vec<String> = (1..=10).map(|number| format!("order {number}")).collect();
    assert_eq!(bodies(&shown), expected);
    let ids = |messages: &[Value]| messages.iter().map(|message| message["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&shown), ids(&sent));
    let properties = &shown[0]["properties"];
    assert_eq!(
        (&properties["TAGS"], &properties["KEYS"], &properties["colour"]),
        (&json!("new"), &json!("k1 k2"), &json!("red"))
    );
    assert_eq!(cluster.json(&["consume", "orders", "--count", "3"]).len(), 3);
    assert_eq!(cluster.json(&["consume", "orders", "--tags", "old || older"]).len(), 0);
    assert_eq!(cluster.json(&["consume", "orders", "--tags", "old || new"]).len(), 10);
    cluster.stop();
}

#[test]
fn a_topic_is_created_described_listed_and_deleted() {
    let cluster = Quickstart::start();
    let created = cluster.gantry(&["topic", "create", "orders", "--queues", "3"]);
    assert_eq!(created, "topic orders created with 3 queues on quickstart-broker-0\n");
    cluster.gantry(&["produce", "orders", "--count", "7", "--size", "100"]);
    let queues = cluster.json(&["topic", "describe", "orders"]);
    assert_eq!(queues.len(), 3);
    assert_eq!(queues.iter().map(|queue| queue["messages"].as_i64().unwrap()).sum::<i64>(), 7);
    assert_eq!(
        cluster.json(&["topic", "list"]),
        [
            json!({ "topic": "orders", "brokers": ["quickstart-broker-0"], "write_queues": 3, "read_queues": 3 })
        ]
    );
    let table = cluster.gantry(&["topic", "list"]);
    let words: Vec<&str> = table.split_whitespace().collect();
    assert_eq!(
        words,
        ["TOPIC", "BROKERS", "WRITE", "QUEUES", "READ", "QUEUES", "orders", "quickstart-broker-0", "3", "3"]
    );
    assert!(cluster.gantry(&["topic", "list", "--all"]).contains("TBW102"));
    cluster.gantry(&["topic", "delete", "orders"]);
    assert_eq!(cluster.json(&["topic", "list"]), [Value::Null; 0]);
    let refused = cluster.refused(&["topic", "delete", "orders"]);
    assert_eq!(refused, "gantry: topic orders does not exist\ncreate it with: gantry topic create orders\n");
    cluster.stop();
}

#[test]
fn a_broker_that_serves_is_all_that_a_cluster_of_one_has() {
    let cluster = Quickstart::start();
    let rows = cluster.json(&["status"]);
    assert_eq!(rows.len(), 1);
    let names = ["cluster", "group", "id", "role", "reachable", "in_sync_members", "members", "problem"];
    assert_eq!(
        names.map(|name| rows[0][name].clone()),
        [
            json!("DefaultCluster"),
            json!("quickstart-broker-0"),
            json!(0),
            json!("master"),
            json!(true),
            json!(1),
            json!(1),
            json!(null)
        ]
    );
    let before = rows[0]["log_end"].as_i64().unwrap();
    cluster.gantry(&["produce", "orders", "--count", "5"]);
    assert!(cluster.json(&["status"])[0]["log_end"].as_i64().unwrap() > before);
    let table = cluster.gantry(&["status"]);
    assert!(table.starts_with("CLUSTER ") && table.trim_end().ends_with("1 of 1"), "{table}");
    let refused = cluster.refused(&["status", "--cluster", "Other"]);
    assert_eq!(refused, "gantry: cluster Other is not known to the name server; known are: DefaultCluster\n");
    cluster.stop();
}

#[test]
fn following_a_topic_shows_messages_as_they_come() {
    let cluster = Quickstart::start();
    cluster.gantry(&["produce", "orders", "--body", "first"]);
    let follow = ["consume", "orders", "--follow", "--count", "2", "--output", "json"];
    let mut following = cluster.command(&follow).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    // It waits at the end by now.
    cluster.gantry(&["produce", "orders", "--body", "second"]);
    lines.read_to_string(&mut line).unwrap();
    assert!(following.wait().unwrap().success());
    let shown: Vec<Value> = line.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(bodies(&shown), ["first", "second"]);
    cluster.stop();
}

#[test]
fn people_read_where_each_message_went_and_what_it_says() {
    let cluster = Quickstart::start();
    let sent = cluster.gantry(&["produce", "orders", "--body", "hello\tyou"]);
    assert!(sent.starts_with("stored ") && sent.contains(" in quickstart-broker-0 queue "), "{sent}");
    let shown = cluster.gantry(&["consume", "orders"]);
    assert!(shown.ends_with(" at 0  hello\\tyou\n"), "{shown}");
    let sum = cluster.gantry(&["produce", "orders", "--count", "50"]);
    assert!(sum.starts_with("50 messages in ") && sum.lines().count() == 1, "{sum}");
    cluster.stop();
}
