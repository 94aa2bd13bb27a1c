//! What runs in the clusters: pods and volume claims as a StatefulSet would have them, ready at once, and members that
//! answer as processes would that do what their live settings say.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::api_server::{Key, Shared, Store};

/// Pods have addresses of the loopback, all with one port: who is asked shows in the address.
pub struct Addresses {
    admin: u16,
    services: u32,
    pods: HashMap<IpAddr, Key>,
}

impl Addresses {
    pub fn new(admin: u16) -> Addresses {
        Addresses { admin, services: 0, pods: HashMap::new() }
    }

    pub fn of_service(&mut self) -> IpAddr {
        self.services += 1;
        Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(10, 96, 0, 0)) + self.services).into()
    }

    fn of_pod(&mut self, pod: &Key) -> IpAddr {
        let number = 1 + self.pods.len() as u32;
        let address = Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + number).into();
        self.pods.insert(address, pod.clone());
        address
    }
}

/// Makes the pods and claims of a StatefulSet that are not there, and says that all run.
pub fn run_set(store: &mut Store, key: &Key) {
    let set = store.objects[key].clone();
    let replicas = set["spec"]["replicas"].as_u64().unwrap_or(0);
    for ordinal in 0..replicas {
        let name = format!("{}-{ordinal}", key.2);
        for template in set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
            let claim = format!("{}-{name}", template["metadata"]["name"].as_str().unwrap());
            let place = ("persistentvolumeclaims".to_owned(), key.1.clone(), claim);
            if !store.objects.contains_key(&place) {
                store.put(&place, claim_of(&set, template, &place));
            }
        }
        let place = ("pods".to_owned(), key.1.clone(), name);
        if !store.objects.contains_key(&place) {
            let address = store.members.of_pod(&place);
            let pod = pod_of(&set, &place, ordinal, address, store.members.admin);
            store.put(&place, pod);
        }
    }
    let status = json!({
        "observedGeneration": set["metadata"]["generation"], "replicas": replicas, "readyReplicas": replicas,
        "availableReplicas": replicas, "currentReplicas": replicas, "updatedReplicas": replicas,
        "currentRevision": "1", "updateRevision": "1",
    });
    if set["status"] != status {
        let mut set = set.as_ref().clone();
        set["status"] = status;
        store.put(key, set);
    }
}

fn claim_of(set: &Value, template: &Value, place: &Key) -> Value {
    let mut claim = template.clone();
    claim["metadata"]["name"] = json!(place.2);
    claim["metadata"]["namespace"] = json!(place.1);
    for (label, value) in set["spec"]["selector"]["matchLabels"].as_object().unwrap() {
        claim["metadata"]["labels"][label] = value.clone();
    }
    let size = claim["spec"]["resources"]["requests"]["storage"].clone();
    claim["status"] = json!({ "phase": "Bound", "capacity": { "storage": size } });
    claim
}

fn pod_of(set: &Value, place: &Key, ordinal: u64, address: IpAddr, admin: u16) -> Value {
    let template = &set["spec"]["template"];
    let mut pod = json!({ "metadata": template["metadata"], "spec": template["spec"] });
    pod["metadata"]["name"] = json!(place.2);
    pod["metadata"]["namespace"] = json!(place.1);
    pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] = json!(ordinal.to_string());
    pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] = json!(place.2);
    pod["spec"]["nodeName"] = json!("node-1");
    for port in pod["spec"]["containers"][0]["ports"].as_array_mut().unwrap() {
        if port["name"] == "admin" {
            port["containerPort"] = json!(admin);
        }
    }
    let since = k8s_openapi::jiff::Timestamp::now().to_string();
    pod["status"] = json!({
        "phase": "Running", "podIP": address, "hostIP": "192.168.0.7",
        "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": since }],
        "containerStatuses": [],
    });
    pod
}

/// Answers for all members, on every address.
pub async fn answer_for_members(listener: TcpListener, store: Shared) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(answer(stream, store.clone()));
    }
}

async fn answer(mut stream: TcpStream, store: Shared) {
    let pod = store.lock().members.pods[&stream.local_addr().unwrap().ip()].clone();
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        request.extend_from_slice(&buffer[..read]);
        while let Some(length) = whole(&request) {
            let asks = request.starts_with(b"GET ");
            request.drain(..length);
            let body = if asks { status(&store, &pod).to_string() } else { String::new() };
            let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// Returns the length of the first request, if it is all there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(bytes);
    let head = text.find("\r\n\r\n")?;
    let body = text[..head].to_ascii_lowercase();
    let body = body.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let length = head + 4 + body.map_or(0, |length| length.parse().unwrap());
    (bytes.len() >= length).then_some(length)
}

/// What a broker says that runs as its group's live settings want.
fn status(store: &Shared, pod: &Key) -> Value {
    let (set, ordinal) = pod.2.rsplit_once('-').unwrap();
    let ordinal: i64 = ordinal.parse().unwrap();
    let (live, uid) = {
        let store = store.lock();
        let name = format!("{set}-live");
        let live = store.objects.get(&("configmaps".to_owned(), pod.1.clone(), name)).cloned();
        (live, store.objects[pod]["metadata"]["uid"].clone())
    };
    let file = live.as_ref().map(|live: &Arc<Value>| live["data"][format!("{}.properties", pod.2)].clone());
    let text = file.as_ref().and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        value.and_then(|value| value.parse::<u64>().ok()).unwrap_or(0)
    };
    json!({
        "version": "0.1.0", "role": if ordinal == 0 { "Master" } else { "Slave" }, "brokerName": set,
        "brokerId": ordinal, "storeId": uid, "state": "Ok", "ready": true, "reason": "", "logBegin": 0, "logEnd": 0,
        "masterEnd": 0, "lagBytes": 0, "lagMillis": 0, "inSync": true, "configRevision": number("configRevision"),
        "configHash": "0", "permission": number("brokerPermission"), "diskUsedPercent": 12,
    })
}
