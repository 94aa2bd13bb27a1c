//! What the operator costs that has nothing to do: a hundred clusters of three groups with three members each, first
//! made by it before an API server in this process, then left alone.
#![allow(clippy::unwrap_used)]

mod api_server;
mod kubelet;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::api_server::Shared;

const CLUSTERS: usize = 100;
const NAMESPACE: &str = "idle";
/// How long making all of them may take.
const MAKING: Duration = Duration::from_secs(400);
/// Everything is made when nothing was written for so long: a settled cluster is looked at every ten seconds.
const QUIET: Duration = Duration::from_secs(15);
/// How long it is watched then.
const WINDOW: Duration = Duration::from_secs(30);
/// Requests of that time: fewer than one a second.
const MOST_REQUESTS: u64 = WINDOW.as_secs() - 1;

/// Names another program to measure, such as the one of an image: `GANTRY_OPERATOR=... cargo test -p operator --test idle`.
const PROGRAM: &str = "GANTRY_OPERATOR";

/// What an operator may take: in seconds, what ninety-nine of a hundred looks take at most, and resident memory in MiB.
struct Limits {
    p99: f64,
    memory: u64,
    code: u64,
}

/// A build that is not optimised is slower, and more of it is code: an optimised one has 16 MiB.
fn limits() -> Limits {
    match cfg!(debug_assertions) && std::env::var_os(PROGRAM).is_none() {
        true => Limits { p99: 0.25, memory: 50, code: 16 },
        false => Limits { p99: 0.1, memory: 50, code: 0 },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_settled_clusters_cost_no_write_few_requests_and_little_memory() {
    let members = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let (address, store) = api_server::start(members.local_addr().unwrap().port()).await;
    tokio::spawn(kubelet::answer_for_members(members, store.clone()));
    declare(&store);
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::start(folder.path(), address).await;

    let begun = Instant::now();
    let made = settle(&store, &operator).await;
    let writes = store.lock().writes();
    println!("made {CLUSTERS} clusters with {writes} writes in {:.1?}", made.duration_since(begun));
    assert_eq!(count(&store, "pods"), CLUSTERS * 12);
    assert_eq!(count(&store, "persistentvolumeclaims"), CLUSTERS * 9);

    let requests = store.lock().requests.clone();
    let (looks, time) = (operator.looks().await, operator.cpu());
    tokio::time::sleep(WINDOW).await;
    let asked = difference(&store.lock().requests, &requests);
    let total: u64 = asked.values().sum();
    let looks = looks.until(&operator.looks().await);
    let (p99, resident, own) = (looks.p99(), operator.memory("VmRSS"), operator.memory("RssAnon"));
    let busy = (operator.cpu() - time).as_secs_f64() / WINDOW.as_secs_f64();
    println!(
        "in {WINDOW:?}: {} writes, {total} requests {asked:?}, {} looks with p99 <= {p99} s, {:.1} % of a core; \
         {resident} MiB resident, {own} of them not code",
        store.lock().writes() - writes,
        looks.count(),
        busy * 100.0,
    );
    assert_eq!(store.lock().writes(), writes, "{asked:?}");
    assert!(total <= MOST_REQUESTS, "{total} requests: {asked:?}");
    assert!(looks.count() >= CLUSTERS as u64, "each was looked at: {}", looks.count());
    let limits = limits();
    assert!(p99 <= limits.p99, "p99 of a look is more than {} s: {:?}", limits.p99, looks.buckets);
    let memory = if limits.code > 0 { own + limits.code } else { resident };
    assert!(memory <= limits.memory, "{memory} MiB");
    operator.assert_quiet();
}

/// Declares the clusters, as their users would.
fn declare(store: &Shared) {
    for index in 0..CLUSTERS {
        let name = format!("c{index:02}");
        let cluster = json!({
            "apiVersion": manifest::API_VERSION, "kind": manifest::KIND,
            "metadata": { "name": name, "namespace": NAMESPACE },
            "spec": {
                "version": "0.1.0",
                "brokers": {
                    "groups": 3, "replicasPerGroup": 3, "replication": { "mode": "Async" },
                    "storage": { "size": "10Gi" },
                },
            },
        });
        store.lock().put(&("rocketmqclusters".to_owned(), NAMESPACE.to_owned(), name), cluster);
    }
}

/// Waits until all clusters are ready and nothing is written any more; returns when the last write was seen.
async fn settle(store: &Shared, operator: &Operator) -> Instant {
    let begun = Instant::now();
    let (mut writes, mut since) = (0, begun);
    loop {
        assert!(begun.elapsed() < MAKING, "not settled: {}\n{}", unready(store), operator.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = store.lock().writes();
        if now != writes {
            (writes, since) = (now, Instant::now());
        }
        if since.elapsed() > QUIET {
            assert_eq!(unready(store), "0 not ready", "{}", operator.log());
            return since;
        }
    }
}

fn unready(store: &Shared) -> String {
    let store = store.lock();
    let clusters = store.objects.iter().filter(|(key, _)| key.0 == "rocketmqclusters");
    let is_ready = |cluster: &Value| {
        let conditions = cluster["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|said| said["type"] == "Ready" && said["status"] == "True")
    };
    let others: Vec<String> = clusters
        .filter(|(_, cluster)| !is_ready(cluster))
        .map(|(_, cluster)| cluster["status"].to_string())
        .collect();
    match others.first() {
        Some(first) => format!("{} not ready, one of them: {first}", others.len()),
        None => "0 not ready".to_owned(),
    }
}

fn count(store: &Shared, kind: &str) -> usize {
    store.lock().objects.keys().filter(|key| key.0 == kind).count()
}

type Requests = BTreeMap<(String, String), u64>;

fn difference(after: &Requests, before: &Requests) -> Requests {
    let more = |(what, count): (&(String, String), &u64)| {
        let more = count - before.get(what).copied().unwrap_or(0);
        (more > 0).then(|| (what.clone(), more))
    };
    after.iter().filter_map(more).collect()
}

/// The operator as a process of its own.
struct Operator {
    process: Child,
    metrics: String,
    log: std::path::PathBuf,
}

impl Operator {
    async fn start(folder: &Path, api_server: std::net::SocketAddr) -> Operator {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "test", "cluster": { "server": format!("http://{api_server}") } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test", "namespace": NAMESPACE } }],
            "users": [{ "name": "test", "user": {} }],
        });
        let (kubeconfig, log) = (folder.join("kubeconfig"), folder.join("log"));
        fs::write(&kubeconfig, config.to_string()).unwrap();
        let [metrics, health] = [free_address().await, free_address().await];
        let own = || env!("CARGO_BIN_EXE_gantry-operator").into();
        let process = Command::new(std::env::var_os(PROGRAM).unwrap_or_else(own))
            .args([
                "run",
                "--log-level",
                "info,members=debug",
                "--metrics-address",
                &metrics,
                "--health-address",
                &health,
            ])
            .env("KUBECONFIG", &kubeconfig)
            .env("POD_NAMESPACE", NAMESPACE)
            .stdout(fs::File::create(&log).unwrap())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Operator { process, metrics, log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Whoever reads logs is not called for nothing.
    fn assert_quiet(&self) {
        let log = self.log();
        let complaints: Vec<&str> =
            log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).take(5).collect();
        assert_eq!(complaints, Vec::<&str>::new());
    }

    /// Returns a line of the process's status in MiB.
    fn memory(&self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':')).unwrap();
        value.trim().trim_end_matches(" kB").parse::<u64>().unwrap().div_ceil(1024)
    }

    /// Returns the processor time it has used, which Linux counts in hundredths of a second.
    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().map(|field| fields[*field].parse::<u64>().unwrap()).sum();
        Duration::from_millis(10 * ticks)
    }

    async fn looks(&self) -> Looks {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = TcpStream::connect(&self.metrics).await.unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.metrics);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        Looks::read(&text)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

async fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

/// How many looks took at most how long.
struct Looks {
    buckets: Vec<(f64, u64)>,
}

impl Looks {
    /// Sums the histogram over all results.
    fn read(metrics: &str) -> Looks {
        let mut buckets: Vec<(f64, u64)> = Vec::new();
        for line in metrics.lines() {
            let Some(rest) = line.strip_prefix("gantry_operator_reconcile_seconds_bucket{") else { continue };
            let bound = rest.split("le=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
            let bound = bound.parse().unwrap_or(f64::INFINITY);
            let count = rest.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
            match buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, sum)) => *sum += count,
                None => buckets.push((bound, count)),
            }
        }
        Looks { buckets }
    }

    fn until(&self, later: &Looks) -> Looks {
        let more = self
            .buckets
            .iter()
            .zip(&later.buckets)
            .map(|((bound, before), (_, after))| (*bound, after - before));
        Looks { buckets: more.collect() }
    }

    fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |(_, count)| *count)
    }

    fn p99(&self) -> f64 {
        let enough = (self.count() * 99).div_ceil(100);
        self.buckets.iter().find(|(_, count)| *count >= enough).map_or(f64::INFINITY, |(bound, _)| *bound)
    }
}
