//! Clients inside and outside at once: each asks the name servers at its listener's port and gets addresses it can reach.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::codes::RequestCode;
use protocol::requests::Fields;
use tests::talk::Talk;

use crate::cluster::{Cluster, LONG, Manifest};
use crate::kube::{Kube, until};
use crate::say;

/// Runs checks through every listener, moves a broker, and takes a listener away.
pub fn addresses(kube: &Kube, namespace: &str) -> String {
    let more = format!(
        "    autoCreateTopics: true
  listeners:
  - {{ name: internal, type: PodService, port: 10911 }}
  - {{ name: node, type: NodePort, port: 20911, nodePort: {{ addressType: InternalIP }} }}
  - {{ name: named, type: Template, port: 30911, advertised: {{ hostTemplate: \"{{pod}}-named.{namespace}.svc\" }} }}
"
    );
    let manifest = Manifest { name_servers: 2, more: &more, ..Manifest::named("ways") };
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
    let before = cluster.uids("ways-broker");
    cluster.patch(r#"{"listeners": [{"name": "internal", "type": "PodService", "port": 10911}]}"#);
    cluster.until_settled(LONG);
    assert_eq!(before, cluster.uids("ways-broker"), "no broker restarts for a listener");
    let status = cluster.status();
    let left = status["endpoints"]["byListener"].as_object().map_or(0, serde_json::Map::len);
    assert!(left <= 1, "listeners are gone from the status: {}", status["endpoints"]);
    figures.join(", ")
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
