//! What Kubernetes and the operator say: everything one wants to see after a failure, and what nobody may see after a success.

use std::time::Duration;

use crate::install::SYSTEM;
use crate::kube::{Kube, until};

/// Prints what helps to understand a failed scenario.
pub fn describe(kube: &Kube, namespace: &str) {
    for words in [
        format!("get rocketmqclusters,statefulsets,pods,pvc,services -o wide -n {namespace}"),
        format!("get rocketmqclusters -o yaml -n {namespace}"),
        format!("get events -n {namespace} --sort-by=.lastTimestamp"),
        format!("describe pods -n {namespace}"),
        format!("logs -n {SYSTEM} -l app.kubernetes.io/name=gantry-operator --prefix --tail=200"),
    ] {
        let output = kube.kubectl().args(words.split_whitespace()).output();
        let text =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        println!("--- kubectl {words}\n{text}");
    }
    let pods = kube.list(&format!("/api/v1/namespaces/{namespace}/pods"));
    for pod in pods.iter().map(crate::cluster::pod_name) {
        let log = kube.kubectl().args(["logs", "-n", namespace, pod, "--tail=40"]).output();
        let text = log.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        println!("--- end of the log of {pod}\n{text}");
    }
}

/// Removes what an earlier run left.
pub fn remove(kube: &Kube, namespace: &str) {
    let path = format!("/api/v1/namespaces/{namespace}");
    if kube.get(&path).is_none() {
        return;
    }
    kube.ctl(&format!("delete namespace {namespace} --wait=false --ignore-not-found"));
    until(&format!("namespace {namespace} is gone"), Duration::from_secs(120), || {
        kube.get(&path).map_or(Ok(()), |left| Err(left["status"].to_string()))
    });
}

/// Returns the lines with ERROR in the logs of the operator's pods: a person would have to act. What the Kubernetes client
/// says of each failed request is not among them: while the API server is away they fail, and the operator tries again.
pub fn operator_errors(kube: &Kube) -> Vec<String> {
    let pods = kube.list(&format!("/api/v1/namespaces/{SYSTEM}/pods"));
    let mut lines = Vec::new();
    for pod in pods.iter().map(crate::cluster::pod_name) {
        for previous in ["--previous=false", "--previous=true"] {
            let output = kube.kubectl().args(["logs", "-n", SYSTEM, pod, previous]).output();
            let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            let ours = |line: &&str| line.contains("ERROR") && !line.contains(" kube_client");
            lines.extend(text.unwrap_or_default().lines().filter(ours).map(str::to_owned));
        }
    }
    lines
}
