//! Clients inside and outside at once: each asks the name servers at its listener's port and gets addresses it can reach.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::codes::RequestCode;
use protocol::requests::Fields;
use serde_json::Value;
use tests::talk::Talk;

use crate::cluster::{Cluster, LONG, Manifest};
use crate::kube::{Kube, until};
use crate::say;

/// Runs checks through every listener, moves a broker to another node, and takes a listener away.
pub fn addresses(kube: &Kube, namespace: &str) -> String {
    let more = format!(
        "    autoCreateTopics: true
  listeners:
  - {{ name: internal, type: PodService, port: 10911 }}
  - {{ name: node, type: NodePort, port: 20911, nodePort: {{ addressType: InternalIP }} }}
  - {{ name: named, type: Template, port: 30911, advertised: {{ hostTemplate: \"{{pod}}-named.{namespace}.svc\" }} }}
"
    );
    // A volume of this host would keep its pod on one node.
    let manifest =
        Manifest { name_servers: 2, storage: "type: EmptyDir", more: &more, ..Manifest::named("ways") };
    let cluster = Cluster::ready(kube, namespace, &manifest);
    let mut figures = Vec::new();
    for (listener, begins) in [("internal", "10.198."), ("node", "10.197.0.1"), ("named", "ways-broker-0-")] {
        let servers = match listener {
            "internal" => cluster.name_servers(),
            _ => endpoints(&cluster, listener).join(";"),
        };
        let told = told(&cluster, listener);
        assert!(
            told.len() == 2 && told.iter().all(|address| address.starts_with(begins)),
            "{listener} tells {told:?}"
        );
        let passed =
            cluster.checks_at(&servers, listener, "5.3.3", &["--group", "core", "--only", "push-many"]);
        say!("addresses", "{listener}: {servers} tell {told:?}; {passed}");
        figures.push(format!("{listener} {passed}"));
    }
    figures.push(moved(&cluster));
    let before = cluster.uids("ways-broker");
    cluster.patch(r#"{"listeners": [{"name": "internal", "type": "PodService", "port": 10911}]}"#);
    cluster.until_settled(LONG);
    assert_eq!(before, cluster.uids("ways-broker"), "no broker restarts for a listener");
    let status = cluster.status();
    let left = status["endpoints"]["byListener"].as_object().map_or(0, serde_json::Map::len);
    assert!(left <= 1, "listeners are gone from the status: {}", status["endpoints"]);
    figures.join(", ")
}

/// Takes the slave from its node: clients are led to the new one, and nothing restarts for it.
fn moved(cluster: &Cluster<'_>) -> String {
    let Cluster { kube, namespace, .. } = cluster;
    let slave = cluster.broker(0, 1);
    let node_of = |pod: Option<Value>| {
        let pod = pod.ok_or("no pod")?;
        pod["spec"]["nodeName"].as_str().map(str::to_owned).ok_or("on no node")
    };
    let others = || {
        let mut pods = cluster.identities("");
        pods.remove(&slave);
        pods
    };
    let before = others();
    let left = node_of(cluster.pod(&slave)).expect("a pod that runs");
    let cordon = Cordon::begin(kube, &left);
    kube.ctl(&format!("delete pod -n {namespace} {slave}"));
    let node = until(&format!("{slave} is on another node"), LONG, || {
        let node = node_of(cluster.pod(&slave))?;
        if node == left { Err(format!("it is on {node}")) } else { Ok(node) }
    });
    drop(cordon);
    let found = kube.get(&format!("/api/v1/nodes/{node}")).expect("the node of a pod");
    let mut addresses = found["status"]["addresses"].as_array().into_iter().flatten();
    let host = addresses.find(|address| address["type"] == "InternalIP").expect("a node with an address");
    let service = kube.get(&format!("/api/v1/namespaces/{namespace}/services/{slave}-node"));
    let port = service.expect("the slave's service")["spec"]["ports"][0]["nodePort"].clone();
    let expected = format!("{}:{port}", host["address"].as_str().unwrap_or_default());
    until(&format!("clients are led to {expected}"), LONG, || {
        let told = told(cluster, "node");
        if told.contains(&expected) { Ok(()) } else { Err(format!("to {told:?}")) }
    });
    cluster.until_settled(LONG);
    assert_eq!(others(), before, "nothing restarts because a slave is elsewhere");
    say!("addresses", "{slave} moved from {left} to {node}, and clients are told {expected}");
    "a slave moved".to_owned()
}

/// A node that gets no new pods, until this is dropped.
struct Cordon<'a> {
    kube: &'a Kube,
    node: &'a str,
}

impl<'a> Cordon<'a> {
    fn begin(kube: &'a Kube, node: &'a str) -> Cordon<'a> {
        kube.ctl(&format!("cordon {node}"));
        Cordon { kube, node }
    }
}

impl Drop for Cordon<'_> {
    fn drop(&mut self) {
        let back = self.kube.kubectl().args(["uncordon", self.node]).status();
        assert!(
            back.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "uncordon {}",
            self.node
        );
    }
}

/// Returns the name servers for a listener, by the status.
fn endpoints(cluster: &Cluster<'_>, listener: &str) -> Vec<String> {
    until(&format!("the status says where {listener} is"), LONG, || {
        let status = cluster.status();
        let list = status["endpoints"]["byListener"][listener].as_array().into_iter().flatten();
        let list: Vec<String> = list.filter_map(|address| address.as_str().map(str::to_owned)).collect();
        if list.len() == 2 { Ok(list) } else { Err(status["endpoints"].to_string()) }
    })
}

/// Asks the name servers' pods at the listener's port where the brokers are.
fn told(cluster: &Cluster<'_>, listener: &str) -> BTreeSet<String> {
    until(&format!("name servers know brokers of {listener}"), Duration::from_secs(60), || {
        let pod = cluster.pod("ways-namesrv-0").ok_or("no pod")?;
        let ports = pod["spec"]["containers"][0]["ports"].as_array().cloned().unwrap_or_default();
        let port = ports
            .iter()
            .find(|port| port["name"] == format!("mq-{listener}"))
            .ok_or_else(|| format!("{ports:?}"))?;
        let address =
            format!("{}:{}", pod["status"]["podIP"].as_str().unwrap_or_default(), port["containerPort"]);
        let mut talk = Talk::connect(&address).map_err(|e| format!("{address}: {e}"))?;
        let answer =
            talk.call(RequestCode::GET_BROKER_CLUSTER_INFO, &Fields(&[]), b"").map_err(|e| e.to_string())?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        // {"brokerAddrs":{0:"HOST:PORT",1:"HOST:PORT"},...
        let map = body
            .split("\"brokerAddrs\":{")
            .nth(1)
            .and_then(|rest| rest.split('}').next())
            .unwrap_or_default();
        let found: BTreeSet<String> = map
            .split('"')
            .filter(|part| {
                part.rsplit_once(':')
                    .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
            })
            .map(str::to_owned)
            .collect();
        if found.len() == 2 { Ok(found) } else { Err(body) }
    })
}
