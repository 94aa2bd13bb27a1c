//! Why a pod has to restart: what it was made of, compared with what it would be made of now.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::facts::PodFacts;
use crate::labels::{RESTART, TEMPLATE_HASH};

/// Returns the reasons in words, or `None` when the pod is what it should be.
pub(crate) fn reason(pod: &PodFacts, template: &Value, volume_waits: bool) -> Option<String> {
    let annotation = |key: &str| template.pointer("/metadata/annotations")?.get(key)?.as_str();
    let mut reasons = Vec::new();
    if pod.annotations.get(TEMPLATE_HASH).map(String::as_str) != annotation(TEMPLATE_HASH) {
        let image = template.pointer("/spec/containers/0/image").and_then(Value::as_str).unwrap_or_default();
        if pod.image != image {
            reasons.push(format!("image {image}"));
        }
        if !config_maps(template).is_subset(&pod.config_maps.iter().map(String::as_str).collect()) {
            reasons.push("settings that need a restart".to_owned());
        }
        if annotation(RESTART)
            .is_some_and(|asked| pod.annotations.get(RESTART).map(String::as_str) != Some(asked))
        {
            reasons.push(format!("asked for by {RESTART}"));
        }
        if reasons.is_empty() {
            reasons.push("another pod template".to_owned());
        }
    }
    if volume_waits {
        reasons.push("its file system grows at a start".to_owned());
    }
    (!reasons.is_empty()).then(|| format!("{} restarts: {}", pod.name, reasons.join(", ")))
}

fn config_maps(template: &Value) -> BTreeSet<&str> {
    let volumes = template.pointer("/spec/volumes").and_then(Value::as_array);
    volumes.into_iter().flatten().filter_map(|volume| volume.pointer("/configMap/name")?.as_str()).collect()
}
