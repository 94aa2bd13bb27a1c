//! An API server in this process, over plain HTTP on the loopback: keeps objects, lists them in pages, streams what
//! changes, compares preconditions, and counts who asked for what. It checks no schema and fills in only what the
//! operator waits for.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::stream;
use k8s_openapi::ByteString;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::kubelet;

/// Bytes of a request.
const LONGEST_BODY: usize = 4 << 20;

/// Where an object is: kind as in the path, namespace, name.
pub type Key = (String, String, String);

/// What is kept and what was asked.
pub struct Store {
    pub objects: BTreeMap<Key, Arc<Value>>,
    /// Requests by verb and kind; a watch counts when it begins.
    pub requests: BTreeMap<(String, String), u64>,
    changes: Vec<Change>,
    version: watch::Sender<u64>,
    /// Where members are asked, and who has which address.
    pub members: kubelet::Addresses,
}

struct Change {
    version: u64,
    kind: &'static str,
    key: Key,
    object: Arc<Value>,
}

pub type Shared = Arc<Mutex<Store>>;

/// Starts one; `admin` is the port at which all members answer.
pub async fn start(admin: u16) -> (SocketAddr, Shared) {
    let store = Store {
        objects: BTreeMap::new(),
        requests: BTreeMap::new(),
        changes: Vec::new(),
        version: watch::channel(1).0,
        members: kubelet::Addresses::new(admin),
    };
    let store: Shared = Arc::new(Mutex::new(store));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(serve).with_state(store.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, store)
}

/// A path, taken apart.
struct Place {
    kind: String,
    namespace: Option<String>,
    name: Option<String>,
    sub: Option<String>,
}

impl Place {
    fn of(path: &str) -> Option<Place> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let rest = match parts.first()? {
            &"api" => parts.get(2..)?,
            _ => parts.get(3..)?,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let part = |index: usize| rest.get(index).map(|part| (*part).to_owned());
        Some(Place { kind: part(0)?, namespace, name: part(1), sub: part(2) })
    }

    fn key(&self) -> Key {
        (self.kind.clone(), self.namespace.clone().unwrap_or_default(), self.name.clone().unwrap_or_default())
    }
}

async fn serve(State(store): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let query: HashMap<String, String> = parts.uri.query().map(pairs).unwrap_or_default();
    let body = to_bytes(body, LONGEST_BODY).await.unwrap();
    let Some(place) = Place::of(parts.uri.path()) else { return failure(404) };
    let watches = query.get("watch").is_some_and(|value| value == "true");
    let verb = if watches { "WATCH" } else { parts.method.as_str() };
    *store.lock().requests.entry((verb.to_owned(), place.kind.clone())).or_default() += 1;
    let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
    match parts.method {
        Method::GET if watches => watch_changes(store, place, &query),
        Method::GET if place.name.is_none() => store.lock().list(&place, &query),
        Method::GET => store.lock().get(&place),
        Method::POST => store.lock().create(&place, sent),
        Method::PUT | Method::PATCH => store.lock().change(&place, sent),
        Method::DELETE => store.lock().delete(&place),
        _ => failure(405),
    }
}

impl Store {
    /// Returns how many writes there were, but for the lease of the operator itself.
    pub fn writes(&self) -> u64 {
        let is_write = |verb: &str| !["GET", "WATCH"].contains(&verb);
        let written = self.requests.iter().filter(|((verb, kind), _)| is_write(verb) && kind != "leases");
        written.map(|(_, count)| count).sum()
    }

    /// Keeps an object and tells whoever watches.
    pub fn put(&mut self, key: &Key, mut object: Value) -> Arc<Value> {
        let before = self.objects.get(key);
        let version = *self.version.borrow() + 1;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(version.to_string());
        if metadata["uid"].is_null() {
            metadata["uid"] = json!(format!("00000000-0000-0000-0000-{version:012}"));
            metadata["creationTimestamp"] = json!(k8s_openapi::jiff::Timestamp::now().to_string());
        }
        let generation = match before {
            None => 1,
            Some(before) => {
                let known = before["metadata"]["generation"].as_i64().unwrap_or(1);
                known + i64::from(before["spec"] != object["spec"])
            }
        };
        object["metadata"]["generation"] = json!(generation);
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        let object = Arc::new(object);
        self.objects.insert(key.clone(), object.clone());
        self.tell(Change { version, kind, key: key.clone(), object: object.clone() });
        object
    }

    fn tell(&mut self, change: Change) {
        let version = change.version;
        self.changes.push(change);
        self.version.send_replace(version);
    }

    fn get(&self, place: &Place) -> Response {
        match self.objects.get(&place.key()) {
            Some(object) => answer(200, object),
            None => failure(404),
        }
    }

    /// A page of a list ends with the key behind which the next one begins.
    fn list(&self, place: &Place, query: &HashMap<String, String>) -> Response {
        let after = query.get("continue").and_then(|text| text.split_once('/'));
        let after = after.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
        let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
        let mut found = self.objects.iter().filter(|(key, object)| {
            let place_of = (key.1.clone(), key.2.clone());
            is_selected(place, query, key, object) && after.as_ref().is_none_or(|after| place_of > *after)
        });
        let page: Vec<(&Key, &Arc<Value>)> = found.by_ref().take(limit).collect();
        let more = found.next().and(page.last()).map(|(key, _)| format!("{}/{}", key.1, key.2));
        let items: Vec<&Value> = page.iter().map(|(_, object)| object.as_ref()).collect();
        let metadata = json!({ "resourceVersion": self.version.borrow().to_string(), "continue": more });
        answer(200, &json!({ "kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items }))
    }

    fn create(&mut self, place: &Place, mut sent: Value) -> Response {
        if place.name.is_some() {
            return failure(404);
        }
        if place.kind == "events" {
            return answer(201, &sent);
        }
        let name = sent["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let namespace = place.namespace.clone().unwrap_or_default();
        sent["metadata"]["namespace"] = json!(namespace);
        let key = (place.kind.clone(), namespace, name);
        if self.objects.contains_key(&key) {
            return failure(409);
        }
        if place.kind == "services" && sent["spec"]["clusterIP"].is_null() {
            sent["spec"]["clusterIP"] = json!(self.members.of_service());
        }
        if let Some(Value::Object(texts)) = sent.as_object_mut().and_then(|sent| sent.remove("stringData")) {
            for (name, text) in texts {
                let bytes = ByteString(text.as_str().unwrap_or_default().as_bytes().to_vec());
                sent["data"][name] = json!(bytes);
            }
        }
        let object = self.put(&key, sent);
        if place.kind == "statefulsets" {
            kubelet::run_set(self, &key);
        }
        answer(201, &object)
    }

    /// Replaces an object or its status, or merges into it.
    fn change(&mut self, place: &Place, sent: Value) -> Response {
        let key = place.key();
        let Some(known) = self.objects.get(&key) else { return failure(404) };
        for field in ["uid", "resourceVersion"] {
            let asked = &sent["metadata"][field];
            if !asked.is_null() && *asked != known["metadata"][field] {
                return failure(409);
            }
        }
        let mut changed = known.as_ref().clone();
        match place.sub.as_deref() {
            Some("status") => changed["status"] = sent["status"].clone(),
            _ => merge(&mut changed, &sent),
        }
        if changed == **known {
            return answer(200, &changed);
        }
        let object = self.put(&key, changed);
        if place.kind == "statefulsets" {
            kubelet::run_set(self, &key);
        }
        answer(200, &object)
    }

    fn delete(&mut self, place: &Place) -> Response {
        let key = place.key();
        let Some(object) = self.objects.remove(&key) else { return failure(404) };
        let version = *self.version.borrow() + 1;
        self.tell(Change { version, kind: "DELETED", key, object: object.clone() });
        answer(200, &object)
    }

    /// Returns changes behind a version as lines of a watch, and the version up to which they are.
    fn changes(&self, place: &Place, query: &HashMap<String, String>, after: u64) -> (Vec<u8>, u64) {
        let first = self.changes.partition_point(|change| change.version <= after);
        let mut lines = Vec::new();
        for change in &self.changes[first..] {
            if is_selected(place, query, &change.key, &change.object) {
                let event = json!({ "type": change.kind, "object": change.object.as_ref() });
                serde_json::to_writer(&mut lines, &event).unwrap();
                lines.push(b'\n');
            }
        }
        (lines, *self.version.borrow())
    }
}

/// Streams changes for as long as was asked.
fn watch_changes(store: Shared, place: Place, query: &HashMap<String, String>) -> Response {
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<u64>().ok());
    let until = Instant::now() + Duration::from_secs(number("timeoutSeconds").unwrap_or(300));
    let after = number("resourceVersion").unwrap_or(0);
    let version = store.lock().version.subscribe();
    let state = (store, place, query.clone(), version, after);
    let lines = stream::unfold(state, move |(store, place, query, mut version, after)| async move {
        let mut after = after;
        loop {
            version.borrow_and_update();
            let (lines, upto) = store.lock().changes(&place, &query, after);
            after = upto;
            if !lines.is_empty() {
                return Some((
                    Ok::<_, Infallible>(Bytes::from(lines)),
                    (store, place, query, version, after),
                ));
            }
            match tokio::time::timeout_at(until, version.changed()).await {
                Ok(Ok(())) => {}
                _ => return None,
            }
        }
    });
    Body::from_stream(lines).into_response()
}

/// Whether a request is about an object: kind, namespace, and a label that is there or has a value.
fn is_selected(place: &Place, query: &HashMap<String, String>, key: &Key, object: &Value) -> bool {
    let selected = query.get("labelSelector").is_none_or(|selector| {
        let (label, value) =
            selector.split_once('=').map_or((selector.as_str(), None), |(k, v)| (k, Some(v)));
        let found = object["metadata"]["labels"][label].as_str();
        found.is_some_and(|found| value.is_none_or(|value| value == found))
    });
    key.0 == place.kind && place.namespace.as_ref().is_none_or(|namespace| *namespace == key.1) && selected
}

fn pairs(query: &str) -> HashMap<String, String> {
    let decode = |text: &str| text.replace("%2F", "/").replace("%3D", "=");
    query.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), decode(v))).collect()
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                match value {
                    Value::Null => drop(into.remove(key)),
                    value => merge(into.entry(key.clone()).or_insert(Value::Null), value),
                }
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

fn answer(code: u16, object: &Value) -> Response {
    let headers = [("content-type", "application/json")];
    (StatusCode::from_u16(code).unwrap(), headers, object.to_string()).into_response()
}

fn failure(code: u16) -> Response {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        _ => "BadRequest",
    };
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
                         "reason": reason, "message": reason });
    answer(code, &status)
}
