//! `gantry status` where not all is well: name servers that know brokers which do not answer.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use client::{Client, ClientOptions, Connections};
use protocol::bodies::register_broker::RegisterBrokerBody;
use protocol::requests::RegisterBroker;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A name server without brokers; killed at the end.
struct NameServer {
    up: Child,
    address: String,
    /// A registration lasts as long as its connection.
    registered: Vec<(Runtime, Client)>,
    _folder: TempDir,
}

impl NameServer {
    fn start() -> NameServer {
        let text = format!(
            "apiVersion: gantry.rs/v1alpha1\nkind: RocketMQCluster\nmetadata: {{ name: dev }}\n\
             spec: {{ version: {}, nameServers: {{ replicas: 1 }}, brokers: {{ groups: 0, storage: {{ size: 1Gi }} }} }}\n",
            env!("CARGO_PKG_VERSION")
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cluster.yaml");
        std::fs::write(&file, &text).unwrap();
        let effective = manifest::resolve(&manifest::load(&text).unwrap());
        let offset = local::free_offset(&effective).unwrap();
        let mut up = Command::new(env!("CARGO_BIN_EXE_gantry"))
            .arg("up")
            .arg(file)
            .args(["--output", "json", "--port-offset", &offset.to_string(), "--data"])
            .arg(folder.path().join("data"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(up.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("cluster_ready")));
        std::thread::spawn(move || lines.count());
        let address = format!("127.0.0.1:{}", 9876 + offset);
        NameServer { up, address, registered: Vec::new(), _folder: folder }
    }

    /// Registers a broker at an address at which nobody listens, and returns the address.
    fn register(&mut self, group: &str, id: i64) -> String {
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let header = RegisterBroker {
            broker_name: group.into(),
            broker_addr: addr.as_str().into(),
            cluster_name: "C".into(),
            ha_server_addr: "".into(),
            broker_id: id,
            heartbeat_timeout_millis: None,
            enable_acting_master: None,
            compressed: false,
            body_crc32: 0,
            zone_name: None,
            listeners: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let client = Connections::new(ClientOptions::default()).to(&self.address).await.unwrap();
            let body = RegisterBrokerBody::default();
            client::namesrv::register_broker(&client, &header, &body).await.unwrap();
            client
        });
        self.registered.push((runtime, client));
        addr
    }

    fn status(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
        command.arg("status").args(arguments).env("NAMESRV_ADDR", &self.address);
        command.output().unwrap()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        let _ = self.up.kill();
        let _ = self.up.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn brokers_that_do_not_answer_are_rows_and_the_exit_status_says_that_something_is_wrong() {
    let mut name_server = NameServer::start();
    let master = name_server.register("a", 0);
    let slave = name_server.register("a", 1);
    let output = name_server.status(&["--output", "json"]);
    assert_eq!(output.status.code(), Some(6));
    let rows: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<(&Value, &Value, &Value)> =
        rows.iter().map(|row| (&row["role"], &row["address"], &row["reachable"])).collect();
    let expected: [(Value, Value, Value); 2] = [
        ("master".into(), master.as_str().into(), false.into()),
        ("slave".into(), slave.as_str().into(), false.into()),
    ];
    assert_eq!(seen, expected.each_ref().map(|(role, address, reachable)| (role, address, reachable)));
    let words = text(&output.stderr);
    assert!(
        words.starts_with("gantry: not all is as it should be:\n  master 0 of a does not answer: "),
        "{words}"
    );
    assert!(words.contains("\n  slave 1 of a does not answer: "), "{words}");
}

#[test]
fn a_name_server_without_brokers_is_no_cluster_that_is_well() {
    let name_server = NameServer::start();
    let output = name_server.status(&[]);
    assert_eq!(output.status.code(), Some(6));
    assert_eq!(text(&output.stderr), "gantry: not all is as it should be:\n  no broker is registered\n");
}
