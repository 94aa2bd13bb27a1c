//! A RocketMQCluster in a namespace of its own, as its user sees it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kube::{Kube, until};
use crate::load::{Load, Options, client_pod};

/// How long anything may take that is not measured: the machine may be busy with other scenarios.
pub const LONG: Duration = Duration::from_secs(180);

/// How long a group of checks may take; core takes half a minute on a machine of its own.
const CHECKS: Duration = Duration::from_secs(300);

/// The manifest of a scenario's cluster. Its logs are small: there are many on one disk.
pub struct Manifest<'a> {
    pub name: &'a str,
    pub name_servers: u32,
    pub groups: u32,
    pub replicas: u32,
    /// What stands in the braces of the brokers' `storage`.
    pub storage: &'a str,
    /// Lines below the brokers' storage, indented like it or like `brokers`.
    pub more: &'a str,
}

impl<'a> Manifest<'a> {
    /// Returns a name server, and a group of two.
    pub fn named(name: &'a str) -> Manifest<'a> {
        Manifest { name, name_servers: 1, groups: 1, replicas: 2, storage: "size: 1Gi", more: "" }
    }

    /// Returns it as YAML.
    pub fn text(&self) -> String {
        let Manifest { name, name_servers, groups, replicas, storage, more } = self;
        format!(
            "apiVersion: gantry.rs/v1alpha1
kind: RocketMQCluster
metadata:
  name: {name}
spec:
  version: \"0.1.0\"
  nameServers: {{ replicas: {name_servers} }}
  brokers:
    config: {{ mappedFileSizeCommitLog: 64MiB }}
    groups: {groups}
    replicasPerGroup: {replicas}
    storage: {{ {storage} }}
{more}"
        )
    }
}

/// A cluster.
pub struct Cluster<'a> {
    pub kube: &'a Kube,
    pub namespace: String,
    pub name: String,
    applied: Instant,
}

impl<'a> Cluster<'a> {
    /// Applies a manifest in this namespace.
    ///
    /// # Panics
    /// When it is refused.
    pub fn apply(kube: &'a Kube, namespace: &str, manifest: &str) -> Cluster<'a> {
        let cluster = Cluster::named(kube, namespace, manifest);
        kube.apply(namespace, manifest);
        cluster
    }

    /// Applies a manifest and waits until the cluster is Ready.
    pub fn ready(kube: &'a Kube, namespace: &str, manifest: &Manifest<'_>) -> Cluster<'a> {
        let cluster = Cluster::apply(kube, namespace, &manifest.text());
        cluster.wait_ready(LONG);
        cluster
    }

    /// Applies a manifest, waits until the cluster is Ready, and starts the Java client against it.
    pub fn under_load(
        kube: &'a Kube,
        namespace: &str,
        manifest: &Manifest<'_>,
        options: &Options<'_>,
    ) -> (Cluster<'a>, Load) {
        let cluster = Cluster::ready(kube, namespace, manifest);
        let load = cluster.load(options);
        (cluster, load)
    }

    /// Returns the cluster of a manifest that is applied otherwise.
    pub fn named(kube: &'a Kube, namespace: &str, manifest: &str) -> Cluster<'a> {
        let after = manifest.split_once("\nmetadata:").and_then(|(_, rest)| rest.split_once("name: "));
        let name = after.and_then(|(_, rest)| rest.split([' ', '\n', ',']).next());
        let name = name.expect("a manifest with a name").to_owned();
        Cluster { kube, namespace: namespace.to_owned(), name, applied: Instant::now() }
    }

    /// Waits with `kubectl wait` until the cluster is Ready, and returns the time since it was applied.
    ///
    /// # Panics
    /// When it is not within `limit`.
    pub fn wait_ready(&self, limit: Duration) -> Duration {
        let Cluster { kube, namespace, name, .. } = self;
        let seconds = limit.as_secs();
        kube.ctl(&format!(
            "wait --for=condition=Ready -n {namespace} rocketmqcluster/{name} --timeout={seconds}s"
        ));
        self.applied.elapsed()
    }

    /// Returns the object.
    pub fn get(&self) -> Option<Value> {
        let Cluster { kube, namespace, name, .. } = self;
        kube.get(&format!("/apis/gantry.rs/v1alpha1/namespaces/{namespace}/rocketmqclusters/{name}"))
    }

    /// Returns its status; null when nobody answers.
    pub fn status(&self) -> Value {
        self.get().map(|cluster| cluster["status"].clone()).unwrap_or_default()
    }

    /// Returns status, reason and message of a condition.
    pub fn condition(&self, kind: &str) -> Option<(String, String, String)> {
        condition(&self.status(), kind)
    }

    /// Waits until a condition has this status and reason, for the present spec, and returns its message.
    pub fn until_condition(&self, kind: &str, status: &str, reason: &str, limit: Duration) -> String {
        until(&format!("{}/{}: {kind}={status} ({reason})", self.namespace, self.name), limit, || {
            let cluster = self.get().ok_or("it cannot be read")?;
            let found = cluster["status"]["conditions"].as_array().into_iter().flatten();
            let found = found.filter(|condition| condition["type"] == kind).find(|condition| {
                condition["status"] == status
                    && condition["reason"] == reason
                    && condition["observedGeneration"] == cluster["metadata"]["generation"]
            });
            let message = found.map(|condition| condition["message"].as_str().unwrap_or_default().to_owned());
            message.ok_or_else(|| format!("{}", cluster["status"]["conditions"]))
        })
    }

    /// Waits until the present spec is carried out and the cluster is Ready.
    pub fn until_settled(&self, limit: Duration) {
        until(&format!("{}/{} is settled", self.namespace, self.name), limit, || {
            let cluster = self.get().ok_or("it cannot be read")?;
            let observed = cluster["status"]["observedGeneration"] == cluster["metadata"]["generation"];
            let ready = condition(&cluster["status"], "Ready");
            let settled = observed && ready.as_ref().is_some_and(|(status, _, _)| status == "True");
            settled.then_some(()).ok_or_else(|| format!("observed: {observed}, Ready: {ready:?}"))
        });
    }

    /// Merges into the spec.
    ///
    /// # Panics
    /// When it is refused.
    pub fn patch(&self, spec: &str) {
        let refused = self.try_patch(spec).err();
        assert!(refused.is_none(), "patch {spec}: {}", refused.unwrap_or_default());
    }

    /// Merges into the spec; the refusal when it is refused.
    pub fn try_patch(&self, spec: &str) -> Result<(), String> {
        let patch = format!("{{\"spec\": {spec}}}");
        let mut command = self.kube.kubectl();
        command.args([
            "patch",
            "--type=merge",
            "-n",
            &self.namespace,
            "rocketmqcluster",
            &self.name,
            "-p",
            &patch,
        ]);
        let output = command.output().expect("kubectl starts");
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Scales with `kubectl scale`.
    pub fn scale(&self, groups: u32) {
        let Cluster { kube, namespace, name, .. } = self;
        kube.ctl(&format!("scale -n {namespace} rktmq/{name} --replicas={groups}"));
    }

    /// Stops it and waits until no pod is left.
    pub fn stop(&self) {
        self.patch(r#"{"stopped": true}"#);
        until("the cluster has stopped", LONG, || match self.pods("").len() {
            0 => Ok(()),
            left => Err(format!("{left} pods are left")),
        });
    }

    /// Returns the name servers' addresses for clients.
    pub fn name_servers(&self) -> String {
        let status = self.status();
        status["endpoints"]["nameServers"].as_str().expect("a cluster with name servers").to_owned()
    }

    /// Returns the cluster's pods whose names begin so.
    pub fn pods(&self, beginning: &str) -> Vec<Value> {
        let pods = self.list("pods", "/api/v1");
        pods.into_iter().filter(|pod| pod_name(pod).starts_with(beginning)).collect()
    }

    /// Returns the cluster's objects of a kind, given as kubectl calls it and where it is in the API.
    pub fn list(&self, kind: &str, api: &str) -> Vec<Value> {
        let Cluster { kube, namespace, name, .. } = self;
        kube.list(&format!("{api}/namespaces/{namespace}/{kind}?labelSelector=gantry.rs/cluster={name}"))
    }

    /// Returns the uids of the pods whose names begin so: a pod that was replaced has another.
    pub fn uids(&self, beginning: &str) -> BTreeMap<String, String> {
        self.pods(beginning).iter().map(|pod| (pod_name(pod).to_owned(), uid(pod))).collect()
    }

    /// Returns for each of these pods its uid and restarts: a container that was started again counts as another, too.
    pub fn identities(&self, beginning: &str) -> BTreeMap<String, (String, u64)> {
        let pods = self.pods(beginning);
        pods.iter().map(|pod| (pod_name(pod).to_owned(), (uid(pod), restarts(pod)))).collect()
    }

    /// Returns a pod.
    pub fn pod(&self, pod: &str) -> Option<Value> {
        self.kube.get(&format!("/api/v1/namespaces/{}/pods/{pod}", self.namespace))
    }

    /// Returns the name of a broker's pod.
    pub fn broker(&self, group: u32, ordinal: u32) -> String {
        format!("{}-broker-{group}-{ordinal}", self.name)
    }

    /// Starts the Java client against it.
    pub fn load(&self, options: &Options<'_>) -> Load {
        Load::start(self.kube, &self.namespace, &self.name_servers(), options)
    }

    /// Runs a group of the client checks in a pod and returns its last line.
    ///
    /// # Panics
    /// When one fails; with what it printed.
    pub fn checks(&self, client: &str, group: &str) -> String {
        self.checks_at(&self.name_servers(), "checks", client, &["--group", group])
    }

    /// Runs checks with these options in a pod with this name, through these name servers, and returns the last line.
    ///
    /// # Panics
    /// When one fails; with what it printed.
    pub fn checks_at(&self, servers: &str, name: &str, client: &str, options: &[&str]) -> String {
        let Cluster { kube, namespace, .. } = self;
        let pod = format!("{}-{name}", self.name);
        let options = options.join(", ");
        let more = format!(
            "    name: checks
    command: [ clients, {client}, --namesrv, \"{servers}\", {options} ]
"
        );
        kube.apply(namespace, &client_pod(&format!("name: {pod}"), &more));
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}");
        let ended = until(&format!("{namespace}/{pod} ends"), CHECKS, || {
            let phase =
                kube.get(&path).map(|pod| pod["status"]["phase"].as_str().unwrap_or_default().to_owned());
            match phase.as_deref() {
                Some("Succeeded") => Ok(true),
                Some("Failed") => Ok(false),
                other => Err(format!("it is {other:?}")),
            }
        });
        let printed = kube.ctl(&format!("logs -n {namespace} {pod}"));
        let failed: Vec<&str> = printed.lines().filter(|line| !line.starts_with("ok ")).collect();
        assert!(ended, "checks of client {client} failed: {}", failed.join("\n"));
        kube.ctl(&format!("delete pod -n {namespace} {pod} --wait=false"));
        printed.lines().last().unwrap_or_default().to_owned()
    }
}

/// Returns status, reason and message of a condition in a status.
pub fn condition(status: &Value, kind: &str) -> Option<(String, String, String)> {
    let found = status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)?;
    let word = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    Some((word("status"), word("reason"), word("message")))
}

/// Returns an object's name.
pub fn pod_name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap_or_default()
}

/// Says whether a pod is Ready.
pub fn is_ready(pod: &Value) -> bool {
    condition(&pod["status"], "Ready").is_some_and(|(status, _, _)| status == "True")
}

/// Returns how often a pod's containers were started again.
pub fn restarts(pod: &Value) -> u64 {
    let containers = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    containers.filter_map(|container| container["restartCount"].as_u64()).sum()
}

/// Returns the uid of an object.
pub fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}
