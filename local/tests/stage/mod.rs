//! A cluster of stand-in members: a member's command is a script that starts the test binary again, at its test
//! `stand_in_member`; what goes wrong is said by the script.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use local::restart::RestartPolicy;
use local::{Cluster, Event, LocalOptions, StartError, free_offset};
use manifest::Validated;
use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const DEADLINE: Duration = Duration::from_secs(30);

/// Which settings file the stand-in member reads.
const CONFIG: &str = "STAND_IN_CONFIG";
/// The file with those that it takes over while it runs.
const LIVE: &str = "STAND_IN_LIVE";
/// What the stand-in member says instead of being ready.
pub const NOT_READY: &str = "STAND_IN_NOT_READY";

/// The process of a member: ready as soon as it listens, until its input ends. A broker's admin port says that it runs
/// with what its live file says now. Returns in a process that is none.
pub fn stand_in_member() {
    let Ok(config) = std::env::var(CONFIG) else { return };
    let settings = read(Path::new(&config));
    let port = |key: &str| settings.get(key).map(|text| text.parse::<u16>().unwrap());
    let health = TcpListener::bind(("127.0.0.1", port("healthPort").unwrap())).unwrap();
    std::thread::spawn(move || {
        serve(&health, || match std::env::var(NOT_READY) {
            Ok(reason) => format!("HTTP/1.1 503 Service Unavailable\r\n\r\n{reason}\n"),
            Err(_) => "HTTP/1.1 200 OK\r\n\r\nok\n".to_owned(),
        });
    });
    if let Some(port) = port("adminPort") {
        let (admin, live) = (TcpListener::bind(("127.0.0.1", port)).unwrap(), std::env::var(LIVE).unwrap());
        std::thread::spawn(move || {
            serve(&admin, || {
                let status = status(&settings, &read(Path::new(&live))).to_string();
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{status}", status.len())
            });
        });
    }
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(0);
}

fn serve(listener: &TcpListener, answer: impl Fn() -> String) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(answer().as_bytes());
    }
}

fn status(settings: &BTreeMap<String, String>, live: &BTreeMap<String, String>) -> Value {
    let number = |settings: &BTreeMap<String, String>, key: &str| settings[key].parse::<u64>().unwrap();
    let slave = live["brokerRole"] == "SLAVE";
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "role": if slave { "Slave" } else { "Master" },
        "brokerName": settings["brokerName"],
        "brokerId": number(settings, "brokerId"),
        "storeId": format!("{}-{}", settings["brokerName"], settings["brokerId"]),
        "state": "Ok",
        "ready": std::env::var(NOT_READY).is_err(),
        "reason": "",
        "lagBytes": 0,
        "inSync": true,
        "configRevision": number(live, "configRevision"),
        "configHash": "",
        "permission": number(live, "brokerPermission"),
    })
}

/// Reads a member's settings.
pub fn read(path: &Path) -> BTreeMap<String, String> {
    daemon::config::parse(&std::fs::read_to_string(path).unwrap()).unwrap().into_iter().collect()
}

/// The command of members: `before` is said by the shell first; `$2` is the role, `$4` the settings, `$6` those that are
/// taken over while it runs.
fn command(folder: &Path, before: &str) -> PathBuf {
    let path = folder.join("stand-in");
    let this = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\n{before}\n{CONFIG}=\"$4\" {LIVE}=\"$6\" exec {} --exact stand_in_member --nocapture\n",
        this.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

pub fn brokers(fields: &str) -> Validated {
    let text = format!(
        "apiVersion: gantry.rs/v1alpha1\nkind: RocketMQCluster\nmetadata: {{ name: dev }}\n\
         spec: {{ version: {}, nameServers: {{ replicas: 1 }}, brokers: {{ {fields} }} }}\n",
        env!("CARGO_PKG_VERSION")
    );
    manifest::load(&text).unwrap()
}

pub fn one_of_each() -> Validated {
    brokers("groups: 1, replicasPerGroup: 1, storage: { size: 1Gi }")
}

pub struct Stage {
    pub folder: TempDir,
    pub options: LocalOptions,
    pub events: Arc<Mutex<Vec<Event>>>,
    told: Arc<tokio::sync::Notify>,
    /// How many events were heard.
    heard: usize,
}

impl Stage {
    pub fn new(before: &str) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let mut options = LocalOptions::new(command(folder.path(), before));
        options.data = Some(folder.path().join("data"));
        options.restart = RestartPolicy {
            first_delay: Duration::from_millis(1),
            longest_delay: Duration::from_millis(2),
            healthy_after: Duration::ZERO,
            give_up_after: 3,
        };
        Stage { folder, options, events: Arc::default(), told: Arc::default(), heard: 0 }
    }

    pub fn launch(&self, manifest: &Validated) -> Result<Cluster, StartError> {
        let (events, told) = (Arc::clone(&self.events), Arc::clone(&self.told));
        Cluster::launch(manifest, self.options.clone(), move |event| {
            events.lock().unwrap().push(event);
            told.notify_one();
        })
    }

    /// Launches at free ports and waits until everyone is ready.
    pub async fn launch_ready(&mut self, manifest: &Validated) -> Cluster {
        let cluster = self.launch_somewhere(manifest);
        tokio::time::timeout(DEADLINE, cluster.ready()).await.unwrap().unwrap();
        cluster
    }

    /// Launches at free ports.
    pub fn launch_somewhere(&mut self, manifest: &Validated) -> Cluster {
        self.options.port_offset = free_offset(&manifest::resolve(manifest)).unwrap();
        self.launch(manifest).unwrap()
    }

    pub async fn wait_for(&self, wanted: impl Fn(&Event) -> bool) -> Event {
        let search = async {
            loop {
                if let Some(event) = self.events.lock().unwrap().iter().find(|event| wanted(event)) {
                    return event.clone();
                }
                self.told.notified().await;
            }
        };
        tokio::time::timeout(DEADLINE, search).await.unwrap()
    }

    /// Waits for an event after those that were heard before, and returns what was told until then.
    pub async fn hear(&mut self, wanted: impl Fn(&Event) -> bool) -> Vec<String> {
        let from = self.heard;
        let search = async {
            loop {
                let place = self.events.lock().unwrap()[from..].iter().position(&wanted);
                if let Some(place) = place {
                    return from + place + 1;
                }
                self.told.notified().await;
            }
        };
        let Ok(until) = tokio::time::timeout(DEADLINE, search).await else {
            panic!("not told: {:#?}", &self.events.lock().unwrap()[from..]);
        };
        self.heard = until;
        self.events.lock().unwrap()[from..until].iter().filter_map(told).collect()
    }

    pub fn story(&self) -> Vec<String> {
        self.events.lock().unwrap().iter().filter_map(told).collect()
    }
}

pub fn told(event: &Event) -> Option<String> {
    match event {
        Event::Ready(ready) => Some(format!("{} ready", ready.member)),
        Event::Restarted(ready) => Some(format!("{} restarted", ready.member)),
        Event::Died { member, how, .. } => Some(format!("{member} died: {how}")),
        Event::Stopped { member, .. } => Some(format!("{member} stopped")),
        Event::Killed { member, .. } => Some(format!("{member} killed")),
        _ => None,
    }
}

pub fn pid(raw: u32) -> Pid {
    Pid::from_raw(i32::try_from(raw).unwrap()).unwrap()
}

pub fn wait_until_gone(raw: u32) {
    let started = Instant::now();
    while test_kill_process(pid(raw)).is_ok() {
        assert!(started.elapsed() < DEADLINE, "process {raw} is still there");
        std::thread::yield_now();
    }
}
