//! Every field name of the manifest, as one table: its shape, and whether it works yet.
//!
//! A field that is known but not built is refused with the reason given here, so that nobody believes
//! in a setting that does nothing. Building the feature means changing `later(..)` to `optional(..)`
//! and giving the field a place in `cluster.rs`.

use Shape::{Bool, Choice, Duration, Integer, Object, Quantity, Text, TextMap, Unread};

/// One field of an object.
pub(crate) struct Field {
    pub name: &'static str,
    pub shape: Shape,
    pub status: Status,
}

/// What a field holds.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    Text,
    /// Text that reads as a duration or a quantity; `validate.rs` reads it.
    Duration,
    Quantity,
    Bool,
    /// A 32-bit integer.
    Integer,
    Choice(&'static [&'static str]),
    /// Free keys, text values.
    TextMap,
    Object(&'static [Field]),
    /// A list, or free-form content, of a feature that does not exist yet; not looked into.
    Unread,
}

/// Whether a field may be given.
#[derive(Clone, Copy)]
pub(crate) enum Status {
    /// Must be given; the text says what it looks like.
    Required(&'static str),
    Optional,
    /// Known, but its feature does not exist; the text says why.
    Later(&'static str),
    /// Filled in by Kubernetes, not by the user.
    ServerSide,
}

const fn required(name: &'static str, shape: Shape, example: &'static str) -> Field {
    Field { name, shape, status: Status::Required(example) }
}

const fn optional(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, status: Status::Optional }
}

const fn later(name: &'static str, shape: Shape, why: &'static str) -> Field {
    Field { name, shape, status: Status::Later(why) }
}

const fn server_side(name: &'static str) -> Field {
    Field { name, shape: Shape::Unread, status: Status::ServerSide }
}

const OPERATOR: &str = "it only steers the Kubernetes operator, which does not exist yet";
const PODS: &str = "it shapes Kubernetes pods, and members run as processes";
const CONTROLLERS: &str = "there are no controllers yet";
const PROXY: &str = "there is no gRPC proxy yet";
const LISTENERS: &str = "every member has one listener on loopback";
const TLS: &str = "connections are not encrypted yet";
const ACL: &str = "there is no access control yet";

pub(crate) const DOCUMENT: &[Field] = &[
    required("apiVersion", Text, "gantry.rs/v1alpha1"),
    required("kind", Text, "RocketMQCluster"),
    required("metadata", Object(METADATA), "{ name: dev }"),
    required("spec", Object(SPEC), "{ version: \"0.1.0\", brokers: { storage: { size: 10Gi } } }"),
    server_side("status"),
];

const METADATA: &[Field] = &[
    required("name", Text, "dev"),
    optional("namespace", Text),
    optional("labels", TextMap),
    optional("annotations", TextMap),
    later("generateName", Text, "members are named after metadata.name"),
    later("finalizers", Unread, OPERATOR),
    later("ownerReferences", Unread, OPERATOR),
    server_side("creationTimestamp"),
    server_side("deletionGracePeriodSeconds"),
    server_side("deletionTimestamp"),
    server_side("generation"),
    server_side("managedFields"),
    server_side("resourceVersion"),
    server_side("selfLink"),
    server_side("uid"),
];

const SPEC: &[Field] = &[
    optional("clusterName", Text),
    required("version", Text, "\"0.1.0\""),
    later("image", Object(IMAGE), PODS),
    later("paused", Bool, OPERATOR),
    later("stopped", Bool, OPERATOR),
    later("deletion", Object(DELETION), OPERATOR),
    later("allowedNamespaces", Unread, OPERATOR),
    later("serviceAccountName", Text, PODS),
    later("dns", Object(&[later("clusterDomain", Text, PODS)]), PODS),
    optional("nameServers", Object(NAME_SERVERS)),
    later("controllers", Object(CONTROLLER_FIELDS), CONTROLLERS),
    required("brokers", Object(BROKERS), "{ groups: 1, storage: { size: 10Gi } }"),
    later("proxy", Object(PROXY_FIELDS), PROXY),
    later("listeners", Unread, LISTENERS),
    later("masterService", Object(&[later("enabled", Bool, PODS)]), PODS),
    later("tls", Object(TLS_FIELDS), TLS),
    later("acl", Object(ACL_FIELDS), ACL),
    later("networkPolicy", Object(&[later("enabled", Bool, PODS)]), PODS),
    later("podDisruptionBudget", Object(&[later("enabled", Bool, PODS)]), PODS),
    later("monitoring", Object(MONITORING), OPERATOR),
    optional("logging", Object(LOGGING)),
    later("backup", Unread, "there is no backup yet"),
];

const IMAGE: &[Field] = &[
    later("prefix", Text, PODS),
    later("pullPolicy", Text, PODS),
    later("pullSecrets", Unread, PODS),
    later("overrides", TextMap, PODS),
];

const DELETION: &[Field] = &[later("policy", Text, OPERATOR), later("protection", Bool, OPERATOR)];

const NAME_SERVERS: &[Field] = &[
    optional("replicas", Integer),
    optional("config", TextMap),
    later("warmUp", Text, "a name server is ready as soon as it listens"),
    later("external", Unread, "brokers register only at the cluster's own name servers"),
    later("resources", Object(RESOURCES), PODS),
    later("scheduling", Unread, PODS),
    later("podTemplate", Unread, PODS),
];

const CONTROLLER_FIELDS: &[Field] = &[
    later("replicas", Integer, CONTROLLERS),
    later("storage", Object(CONTROLLER_STORAGE), CONTROLLERS),
    later("failover", Object(FAILOVER), CONTROLLERS),
    later("config", TextMap, CONTROLLERS),
    later("resources", Object(RESOURCES), CONTROLLERS),
    later("scheduling", Unread, CONTROLLERS),
    later("podTemplate", Unread, CONTROLLERS),
];

const CONTROLLER_STORAGE: &[Field] =
    &[later("size", Text, CONTROLLERS), later("storageClassName", Text, CONTROLLERS)];

const FAILOVER: &[Field] = &[
    later("heartbeatInterval", Text, CONTROLLERS),
    later("leaseDuration", Text, CONTROLLERS),
    later("electionTimeout", Text, CONTROLLERS),
    later("unclean", Text, CONTROLLERS),
    later("onControllerLoss", Text, CONTROLLERS),
];

const BROKERS: &[Field] = &[
    optional("groups", Integer),
    optional("replicasPerGroup", Integer),
    optional("groupNameTemplate", Text),
    optional("slaveRead", Bool),
    optional("replication", Object(REPLICATION)),
    optional(
        "flush",
        Object(&[optional("mode", Choice(&["Async", "Sync"])), optional("interval", Duration)]),
    ),
    optional("storage", Object(STORAGE)),
    optional("autoCreateTopics", Bool),
    optional("autoCreateConsumerGroups", Bool),
    optional("config", TextMap),
    later("remove", Unread, OPERATOR),
    later("topicInheritance", Text, OPERATOR),
    later("scaleIn", Object(SCALE_IN), OPERATOR),
    later("rollout", Object(ROLLOUT), OPERATOR),
    later("fenced", Unread, OPERATOR),
    later("terminationGracePeriod", Text, PODS),
    later("resources", Object(RESOURCES), PODS),
    later("scheduling", Unread, PODS),
    later("podTemplate", Unread, PODS),
    later("pools", Unread, "all broker groups are alike"),
];

const REPLICATION: &[Field] = &[
    optional("mode", Choice(&["Async", "Sync", "Controller"])),
    optional("requiredAcks", Integer),
    optional("maxSlaveLag", Duration),
    optional("catchUpBytesPerSecond", Quantity),
    later("minInSyncReplicas", Integer, CONTROLLERS),
    later("allAckInSyncStateSet", Bool, CONTROLLERS),
];

const STORAGE: &[Field] = &[
    optional("type", Choice(&["PersistentVolumeClaim", "EmptyDir"])),
    optional("size", Quantity),
    optional("fileReservedTime", Duration),
    optional("diskFullPercent", Integer),
    later("storageClassName", Text, PODS),
    later("volumeAttributesClassName", Text, PODS),
    later("accessMode", Text, PODS),
    later("commitLog", Object(COMMIT_LOG), "a broker keeps everything in one directory"),
    later("whenScaled", Text, OPERATOR),
    later("onLostVolume", Text, OPERATOR),
    later("tiered", Unread, "messages are kept on local disks only"),
];

const COMMIT_LOG: &[Field] = &[
    later("size", Text, "a broker keeps everything in one directory"),
    later("storageClassName", Text, PODS),
];

const SCALE_IN: &[Field] = &[
    later("policy", Text, OPERATOR),
    later("drainTimeout", Text, OPERATOR),
    later("minDrainTime", Text, OPERATOR),
    later("idleGroups", Text, OPERATOR),
    later("ignoreIdleGroupsAfter", Text, OPERATOR),
    later("migrateRemaining", Bool, OPERATOR),
];

const ROLLOUT: &[Field] = &[
    later("primaryUpdate", Text, OPERATOR),
    later("approval", Text, OPERATOR),
    later("maxGroupsInParallel", Integer, OPERATOR),
    later("pauseBetween", Text, OPERATOR),
    later("preferredMaster", Text, OPERATOR),
    later("window", Unread, OPERATOR),
];

const RESOURCES: &[Field] = &[later("requests", Unread, PODS), later("limits", Unread, PODS)];

const PROXY_FIELDS: &[Field] = &[
    later("enabled", Bool, PROXY),
    later("replicas", Integer, PROXY),
    later("autoscaling", Unread, PROXY),
    later("service", Unread, PROXY),
    later("config", TextMap, PROXY),
    later("resources", Object(RESOURCES), PROXY),
    later("scheduling", Unread, PROXY),
    later("podTemplate", Unread, PROXY),
];

const TLS_FIELDS: &[Field] = &[
    later("issuer", Unread, TLS),
    later("validity", Text, TLS),
    later("renewBefore", Text, TLS),
    later("clientAuth", Text, TLS),
    later("internal", Text, TLS),
];

const ACL_FIELDS: &[Field] = &[
    later("enabled", Bool, ACL),
    later("version", Text, ACL),
    later("superUserSecretRef", Unread, ACL),
    later("defaultPolicy", Text, ACL),
];

const MONITORING: &[Field] = &[
    later("podMonitor", Unread, OPERATOR),
    later("prometheusRule", Unread, OPERATOR),
    later("dashboards", Unread, OPERATOR),
];

const LOGGING: &[Field] = &[
    optional("level", Choice(&["error", "warn", "info", "debug", "trace"])),
    optional("format", Choice(&["Json", "Text"])),
    later("targets", TextMap, "one level holds for the whole member"),
];
