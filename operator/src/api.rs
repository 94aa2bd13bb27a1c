//! The API server's client: every request is counted, none waits for ever. Which path belongs to which kind is said
//! here and nowhere else.

use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, TypeMeta};
use kube::client::ClientBuilder;
use kube::{Api, Client, Config};
use planner::object::Kind;

use crate::metrics::Counters;

/// How long the API server may take to answer anything but a watch.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection to it may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The managers of fields, by what is written.
pub const CLUSTER_MANAGER: &str = "gantry-operator/cluster";
pub const CHILD_MANAGER: &str = "gantry-operator/role";
pub const STATUS_MANAGER: &str = "gantry-operator/status";

/// The kinds of the Prometheus operator.
const MONITORS: [Kind; 2] = [Kind::PodMonitor, Kind::PrometheusRule];

/// Makes a client that counts its requests.
///
/// # Errors
/// The configuration cannot be used.
pub fn client(mut config: Config, counters: Counters) -> Result<Client, kube::Error> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    let count = tower::util::MapRequestLayer::new(move |request: http::Request<kube::client::Body>| {
        counters.request(request.method().as_str(), request.uri());
        request
    });
    Ok(ClientBuilder::try_from(config)?.with_layer(&count).build())
}

/// Returns the kinds of children, those of the Prometheus operator only where there are any.
pub fn kinds(monitoring: bool) -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(move |kind| monitoring || !MONITORS.contains(kind))
}

/// Returns where a kind of child is found.
pub fn resource(kind: Kind) -> ApiResource {
    named(kind.api_version(), kind.as_str(), kind.plural())
}

pub fn clusters() -> ApiResource {
    named(manifest::API_VERSION, manifest::KIND, "rocketmqclusters")
}

pub fn pods() -> ApiResource {
    named("v1", "Pod", "pods")
}

pub fn claims() -> ApiResource {
    named("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
}

pub fn nodes() -> ApiResource {
    named("v1", "Node", "nodes")
}

pub fn storage_classes() -> ApiResource {
    named("storage.k8s.io/v1", "StorageClass", "storageclasses")
}

fn named(api_version: &str, kind: &str, plural: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// Returns the objects of a kind in a namespace, or in all.
pub fn objects(client: &Client, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

/// Adds of which kind an object is: lists leave it out.
pub fn typed(object: DynamicObject, resource: &ApiResource) -> DynamicObject {
    let types = TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
    DynamicObject { types: Some(types), ..object }
}

/// Whether the kinds of the Prometheus operator are served here and may be read in a namespace, or in all. Asked once, at
/// the start.
///
/// # Errors
/// The API server did not answer.
pub async fn has_monitoring_kinds(client: &Client, namespace: Option<&str>) -> Result<bool, kube::Error> {
    for kind in MONITORS {
        let one = ListParams::default().limit(1);
        match objects(client, &resource(kind), namespace).list(&one).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(false),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                tracing::info!("no monitors are made: {kind} may not be read: {}", status.message);
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
