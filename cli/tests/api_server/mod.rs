//! An API server that has one cluster and what belongs to it, as the planner would have made it. It lists, reads and
//! remembers what was asked; of writes it takes annotations of the cluster.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use planner::facts::{Answer, ClaimFacts, Facts, PodFacts};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Its objects by path: lists at the path of the kind, others at their own.
type Objects = BTreeMap<String, Value>;

pub struct ApiServer {
    address: String,
    pub objects: Arc<Mutex<Objects>>,
    /// Method and path of every request, and the bodies of writes; of reads what was asked for.
    pub asked: Arc<Mutex<Vec<(String, String)>>>,
    folder: TempDir,
}

const NAMESPACE: &str = "messaging";
pub const CLUSTERS: &str = "/apis/gantry.rs/v1alpha1/namespaces/messaging/rocketmqclusters";

impl ApiServer {
    /// Starts one with a cluster of this manifest; its status and children are those of the facts.
    pub fn start(manifest: &Value, facts: &Facts) -> ApiServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let objects = Arc::new(Mutex::new(objects(manifest, facts)));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (known, heard) = (objects.clone(), asked.clone());
        // It ends with the process of the test.
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                // One that goes away before its answer is nobody's loss.
                let _ = answer(&connection.unwrap(), &known, &heard);
            }
        });
        ApiServer { address, objects, asked, folder: tempfile::tempdir().unwrap() }
    }

    pub fn gantry(&self, arguments: &[&str]) -> Output {
        self.command(PathBuf::from(env!("CARGO_BIN_EXE_gantry")), arguments)
    }

    pub fn command(&self, program: PathBuf, arguments: &[&str]) -> Output {
        let kubeconfig = self.folder.path().join("kubeconfig");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "usual", "users": [{ "name": "u", "user": {} }],
            "clusters": [{ "name": "c", "cluster": { "server": self.address } }],
            "contexts": [
                { "name": "usual", "context": { "cluster": "c", "user": "u", "namespace": NAMESPACE } },
                { "name": "other", "context": { "cluster": "c", "user": "u", "namespace": "other" } },
            ],
        });
        std::fs::write(&kubeconfig, text.to_string()).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).env("KUBECONFIG", kubeconfig).env_remove("NAMESRV_ADDR");
        command.current_dir(self.folder.path()).output().unwrap()
    }

    /// Writes a manifest where commands run.
    pub fn file(&self, name: &str, manifest: &Value) {
        std::fs::write(self.folder.path().join(name), manifest.to_string()).unwrap();
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

fn answer(
    connection: &TcpStream,
    objects: &Mutex<Objects>,
    asked: &Mutex<Vec<(String, String)>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (path.to_owned(), query.replace("%2F", "/").replace("%3D", "="));
    let (mut length, mut accepted) = (0, String::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        } else if name.eq_ignore_ascii_case("accept") {
            accepted = value.trim().to_owned();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8(body).unwrap();
    let what = if method == "GET" { accepted } else { body };
    asked.lock().unwrap().push((format!("{method} {path}"), what));
    let objects = objects.lock().unwrap();
    let (status, answer) = match objects.get(&path) {
        Some(found) if found["code"] == 403 => ("403 Forbidden", found.clone()),
        Some(found) => ("200 OK", selected(found, &query)),
        // As the real one: of a kind that it does not know it has no details.
        None => {
            let (kind, name) = path.rsplit_once('/').unwrap();
            ("404 Not Found", not_found(name, objects.contains_key(kind)))
        }
    };
    let text = answer.to_string();
    let mut out = connection;
    write!(
        out,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

/// Returns what a list has left of it for a selector of one label or of a name.
fn selected(found: &Value, query: &str) -> Value {
    let mut found = found.clone();
    let value = |name: &str| query.split('&').find_map(|word| word.strip_prefix(name)?.split_once('='));
    if let Some(items) = found["items"].as_array_mut() {
        items.retain(|item| {
            let labelled =
                value("labelSelector=").is_none_or(|(key, value)| item["metadata"]["labels"][key] == value);
            labelled && value("fieldSelector=").is_none_or(|(_, name)| item["metadata"]["name"] == name)
        });
    }
    found
}

fn not_found(name: &str, is_of_known_kind: bool) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404, "reason": "NotFound",
        "message": format!("{name} not found"), "details": is_of_known_kind.then(|| json!({ "name": name })),
    })
}

fn objects(manifest: &Value, facts: &Facts) -> Objects {
    let mut objects = Objects::new();
    let mut cluster = manifest.clone();
    cluster["metadata"] = json!({
        "name": facts.cluster.name, "namespace": NAMESPACE, "uid": facts.cluster.uid, "resourceVersion": "7",
        "generation": facts.cluster.generation, "finalizers": facts.cluster.finalizers,
    });
    let mut status = facts.cluster.status.clone();
    status.observed_generation = Some(facts.cluster.generation);
    cluster["status"] = json!(status);
    objects.insert(format!("{CLUSTERS}/{}", facts.cluster.name), cluster.clone());
    objects.insert(CLUSTERS.to_owned(), list(vec![cluster]));
    let mut children: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for kind in
        planner::object::Kind::ALL.into_iter().filter(|kind| kind.api_version() != "monitoring.coreos.com/v1")
    {
        children.insert(of_kind(kind.api_version(), kind.plural()), Vec::new());
    }
    for (reference, observed) in &facts.objects {
        let place = of_kind(reference.kind.api_version(), reference.kind.plural());
        let mut json = observed.json.clone();
        json["metadata"]["uid"] = json!(observed.uid);
        json["metadata"]["resourceVersion"] = json!(observed.resource_version);
        // What Kubernetes adds of its own.
        if json["kind"] == "StatefulSet" {
            json["spec"]["minReadySeconds"] = json!(0);
        }
        objects.insert(format!("{place}/{}", reference.name), json.clone());
        children.get_mut(&place).unwrap().push(json);
    }
    children.insert(of_kind("v1", "pods"), facts.pods.iter().map(pod).collect());
    children.insert(of_kind("v1", "persistentvolumeclaims"), facts.claims.iter().map(claim).collect());
    children.insert(of_kind("v1", "events"), Vec::new());
    children.insert("/apis/coordination.k8s.io/v1/leases".to_owned(), vec![lease()]);
    let Answer::Known(nodes) = &facts.nodes else { panic!("nodes are known") };
    let nodes = nodes.iter().map(|(name, node)| {
        json!({ "metadata": { "name": name }, "status": { "addresses": [
            { "type": "ExternalIP", "address": node.external_ip }, { "type": "InternalIP", "address": node.internal_ip },
        ] } })
    });
    children.insert("/api/v1/nodes".to_owned(), nodes.collect());
    let class =
        json!({ "metadata": { "name": "the-default" }, "provisioner": "x", "allowVolumeExpansion": true });
    children.insert("/apis/storage.k8s.io/v1/storageclasses".to_owned(), vec![class]);
    objects.extend(children.into_iter().map(|(place, items)| (place, list(items))));
    objects
}

fn of_kind(api_version: &str, plural: &str) -> String {
    let root = if api_version == "v1" { "api" } else { "apis" };
    format!("/{root}/{api_version}/namespaces/{NAMESPACE}/{plural}")
}

fn list(items: Vec<Value>) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "7" }, "items": items })
}

fn lease() -> Value {
    json!({ "metadata": { "name": "gantry-operator", "namespace": "gantry-system" }, "spec": {
        "holderIdentity": "x", "leaseDurationSeconds": 15, "renewTime": "2999-01-01T00:00:00.000000Z",
    } })
}

fn pod(pod: &PodFacts) -> Value {
    let volumes: Vec<Value> =
        pod.config_maps.iter().map(|name| json!({ "name": name, "configMap": { "name": name } })).collect();
    json!({
        "metadata": {
            "name": pod.name, "uid": pod.uid, "resourceVersion": pod.resource_version, "labels": pod.labels,
            "annotations": pod.annotations,
        },
        "spec": { "containers": [{ "name": "main", "image": pod.image }], "volumes": volumes, "nodeName": pod.node },
        "status": { "hostIP": pod.host_ip, "conditions": [
            { "type": "Ready", "status": "True", "lastTransitionTime": "2030-01-01T00:00:00Z" },
        ] },
    })
}

fn claim(claim: &ClaimFacts) -> Value {
    json!({
        "metadata": { "name": claim.name, "uid": claim.uid, "labels": claim.labels, "annotations": claim.annotations },
        "spec": {
            "storageClassName": claim.storage_class, "resources": { "requests": { "storage": claim.requested } },
        },
        "status": { "phase": "Bound", "capacity": { "storage": claim.capacity } },
    })
}
