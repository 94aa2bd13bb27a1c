//! Kubernetes objects as the planner hands them around: which one, and its JSON.

use std::fmt;

use serde_json::Value;

/// A kind of child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    ServiceAccount,
    Secret,
    ConfigMap,
    Service,
    StatefulSet,
    PodDisruptionBudget,
    NetworkPolicy,
    PodMonitor,
    PrometheusRule,
}

impl Kind {
    /// Every kind that the planner makes.
    pub const ALL: [Kind; 9] = [
        Kind::ServiceAccount,
        Kind::Secret,
        Kind::ConfigMap,
        Kind::Service,
        Kind::StatefulSet,
        Kind::PodDisruptionBudget,
        Kind::NetworkPolicy,
        Kind::PodMonitor,
        Kind::PrometheusRule,
    ];

    /// Returns the kind's name as it stands in an object.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::ServiceAccount => "ServiceAccount",
            Kind::Secret => "Secret",
            Kind::ConfigMap => "ConfigMap",
            Kind::Service => "Service",
            Kind::StatefulSet => "StatefulSet",
            Kind::PodDisruptionBudget => "PodDisruptionBudget",
            Kind::NetworkPolicy => "NetworkPolicy",
            Kind::PodMonitor => "PodMonitor",
            Kind::PrometheusRule => "PrometheusRule",
        }
    }

    /// Returns group and version as they stand in an object.
    pub fn api_version(self) -> &'static str {
        match self {
            Kind::ServiceAccount | Kind::Secret | Kind::ConfigMap | Kind::Service => "v1",
            Kind::StatefulSet => "apps/v1",
            Kind::PodDisruptionBudget => "policy/v1",
            Kind::NetworkPolicy => "networking.k8s.io/v1",
            Kind::PodMonitor | Kind::PrometheusRule => "monitoring.coreos.com/v1",
        }
    }

    /// Returns the name of its resource, as it stands in paths.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::ServiceAccount => "serviceaccounts",
            Kind::Secret => "secrets",
            Kind::ConfigMap => "configmaps",
            Kind::Service => "services",
            Kind::StatefulSet => "statefulsets",
            Kind::PodDisruptionBudget => "poddisruptionbudgets",
            Kind::NetworkPolicy => "networkpolicies",
            Kind::PodMonitor => "podmonitors",
            Kind::PrometheusRule => "prometheusrules",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Names one child; all are in the cluster's namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    pub kind: Kind,
    pub name: String,
}

impl ObjectRef {
    pub fn new(kind: Kind, name: impl Into<String>) -> ObjectRef {
        ObjectRef { kind, name: name.into() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.kind, self.name)
    }
}

/// A child as it should be: complete but for what Kubernetes fills in.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    pub reference: ObjectRef,
    pub json: Value,
}
