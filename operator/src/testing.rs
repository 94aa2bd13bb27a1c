//! An API server for tests, in memory: keeps objects by path, grows versions, compares preconditions. It checks no
//! schema and fills nothing in but uids, versions and addresses of services.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};

/// What it keeps and what it was asked.
#[derive(Default)]
pub struct Server {
    /// By path, as in `/api/v1/namespaces/ns/services/s`.
    pub objects: BTreeMap<String, Value>,
    /// All writes, as `METHOD path`.
    pub writes: Vec<String>,
    /// Bodies of evictions.
    pub evictions: Vec<Value>,
    /// Writes, as `METHOD path`, that are answered with this code.
    pub refuses: BTreeMap<String, u16>,
    /// Addresses that services cannot have for so many tries.
    pub taken: BTreeMap<String, u32>,
    version: u64,
}

pub type Shared = Arc<Mutex<Server>>;

/// Returns a client of a server.
pub fn client(server: &Shared) -> kube::Client {
    let (service, mut requests) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let server = server.clone();
    tokio::spawn(async move {
        while let Some((request, reply)) = requests.next_request().await {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let sent = serde_json::from_slice(&body).unwrap_or_default();
            let kind =
                parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            let applies = kind.starts_with("application/apply-patch");
            let (code, answer) = server.lock().answer(&parts.method, parts.uri.path(), applies, sent);
            let body = Body::from(serde_json::to_vec(&answer).unwrap());
            reply.send_response(Response::builder().status(code).body(body).unwrap());
        }
    });
    kube::Client::new(service, "default")
}

fn failure(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
                         "reason": reason, "message": reason });
    (code, status)
}

impl Server {
    fn answer(&mut self, method: &Method, path: &str, applies: bool, mut sent: Value) -> (u16, Value) {
        let path = path.trim_end_matches('/');
        if method == Method::GET {
            return match self.objects.get(path) {
                Some(object) => (200, object.clone()),
                None if is_collection(path) => (200, self.list(path)),
                None => failure(404, "NotFound"),
            };
        }
        self.writes.push(format!("{method} {path}"));
        if let Some(code) = self.refuses.get(&format!("{method} {path}")) {
            return failure(*code, "as the test wants it");
        }
        let address = sent["spec"]["clusterIP"].as_str().unwrap_or_default();
        if let Some(tries) = self.taken.get_mut(address).filter(|tries| **tries > 0) {
            *tries -= 1;
            return failure(422, "Invalid");
        }
        match *method {
            Method::POST if path.ends_with("/eviction") => {
                self.evictions.push(sent);
                (201, json!({ "kind": "Status", "status": "Success" }))
            }
            Method::POST => {
                let path = format!("{path}/{}", sent["metadata"]["name"].as_str().unwrap_or_default());
                if let Some(texts) = sent.as_object_mut().and_then(|sent| sent.remove("stringData")) {
                    sent["data"] = texts;
                }
                match self.objects.contains_key(&path) {
                    true => failure(409, "AlreadyExists"),
                    false => (201, self.put(&path, sent)),
                }
            }
            Method::DELETE => match self.objects.remove(path) {
                Some(_) => (200, json!({ "kind": "Status", "status": "Success" })),
                None => failure(404, "NotFound"),
            },
            _ => self.change(path, applies, sent),
        }
    }

    fn change(&mut self, path: &str, applies: bool, mut sent: Value) -> (u16, Value) {
        let of_status = path.strip_suffix("/status");
        let path = of_status.unwrap_or(path);
        let Some(known) = self.objects.get(path) else { return failure(404, "NotFound") };
        for field in ["uid", "resourceVersion"] {
            let asked = &sent["metadata"][field];
            if !asked.is_null() && *asked != known["metadata"][field] {
                return failure(409, "Conflict");
            }
        }
        let mut changed = known.clone();
        if applies && !sent["spec"]["ports"].is_null() {
            sent["spec"]["ports"] = json!(merged_ports(&known["spec"]["ports"], &sent["spec"]["ports"]));
            let ports = sent["spec"]["ports"].as_array().into_iter().flatten();
            let names: BTreeSet<&str> = ports.filter_map(|port| port["name"].as_str()).collect();
            if names.len() < sent["spec"]["ports"].as_array().map_or(0, Vec::len) {
                return failure(422, "Invalid");
            }
        }
        match of_status {
            Some(_) => changed["status"] = sent["status"].clone(),
            None => merge(&mut changed, &sent),
        }
        (200, self.put(path, changed))
    }

    /// Keeps an object, as someone else may do too.
    pub fn put(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        let version = self.version.to_string();
        object["metadata"]["resourceVersion"] = json!(version);
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{version}"));
        }
        if path.contains("/services/") && object["spec"]["clusterIP"].is_null() {
            object["spec"]["clusterIP"] = json!(format!("10.0.0.{version}"));
        }
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn list(&self, path: &str) -> Value {
        let below = format!("{path}/");
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(known, _)| known.starts_with(&below))
            .map(|(_, object)| object)
            .collect();
        json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": "1" }, "items": items })
    }
}

/// An apply merges ports of services by their number and leaves those of others.
fn merged_ports(known: &Value, sent: &Value) -> Vec<Value> {
    let mut merged: Vec<Value> = known.as_array().cloned().unwrap_or_default();
    for port in sent.as_array().into_iter().flatten() {
        match merged.iter_mut().find(|known| known["port"] == port["port"]) {
            Some(known) => *known = port.clone(),
            None => merged.push(port.clone()),
        }
    }
    merged
}

fn is_collection(path: &str) -> bool {
    path.rsplit('/').nth(1).is_some_and(|part| !part.ends_with('s'))
        || path.rsplit('/').nth(2) == Some("namespaces")
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}
