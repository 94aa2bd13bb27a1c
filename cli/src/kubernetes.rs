//! How a command reaches Kubernetes: as kubectl does, by the kubeconfig. Nothing of it is touched by commands that need
//! none.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use planner::object::{Kind, ObjectRef};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub mod operator_settings;
pub mod view;

/// How long the API server may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How long a connection to it may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// What the API server notes as the author of what is written.
pub const MANAGER: &str = "gantry-cli";
/// What to do where no kubeconfig can be used.
const REMEDY: &str = "set KUBECONFIG to a kubeconfig, or choose one of its contexts with --context";
/// Objects that one list has at most; a cluster has a few hundred.
const MOST_OBJECTS: u32 = 5_000;

/// Whether kubectl runs this command as its own: `kubectl gantry` runs a file `kubectl-gantry`.
pub fn is_plugin() -> bool {
    let file = std::env::args_os().next().map(std::path::PathBuf::from);
    file.and_then(|file| Some(file.file_name()?.to_str()?.starts_with("kubectl-"))).unwrap_or(false)
}

/// Where in Kubernetes.
#[derive(Debug, Args, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The namespace; without it that of the kubeconfig's context
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The context of the kubeconfig; without it the current one
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// An API server and a namespace.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
    pub namespace: String,
    address: String,
}

impl Place {
    /// Reads the kubeconfig; nothing is asked yet. `usual` is the namespace where none was given.
    ///
    /// # Errors
    /// There is no configuration, or it cannot be used.
    pub async fn kubernetes(&self, usual: Option<&str>) -> anyhow::Result<Kubernetes> {
        // A second time it is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = match &self.context {
            Some(context) => of_context(context).await?,
            None => Config::infer().await.map_err(|error| {
                // What is wrong with the kubeconfig says more than that this is no pod either.
                let why =
                    std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                anyhow::anyhow!("find a Kubernetes: {why}; {REMEDY}")
            })?,
        };
        config.connect_timeout = Some(CONNECT_WITHIN);
        config.read_timeout = Some(ANSWER_WITHIN);
        let address = config.cluster_url.to_string();
        let named = self.namespace.as_deref().or(usual);
        let namespace = named.map_or_else(|| config.default_namespace.clone(), str::to_owned);
        let client = Client::try_from(config).with_context(|| format!("connect to {address}"))?;
        Ok(Kubernetes { client, namespace, address })
    }
}

async fn of_context(context: &str) -> anyhow::Result<Config> {
    let kubeconfig =
        Kubeconfig::read().map_err(|error| anyhow::anyhow!("find a Kubernetes: {error}; {REMEDY}"))?;
    let known: Vec<&str> = kubeconfig.contexts.iter().map(|known| known.name.as_str()).collect();
    if !known.contains(&context) {
        anyhow::bail!("there is no context {context} in the kubeconfig; there: {}", known.join(", "));
    }
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    config.with_context(|| format!("use context {context} of the kubeconfig"))
}

impl Kubernetes {
    /// Returns the name of the one cluster of the namespace.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub async fn only_cluster(&self) -> anyhow::Result<String> {
        let (names, namespace) = (self.names().await?, &self.namespace);
        match names.as_slice() {
            [name] => Ok(name.clone()),
            [] => anyhow::bail!("there is no cluster in namespace {namespace} (-n names another)"),
            names => anyhow::bail!("name one of the clusters in namespace {namespace}: {}", names.join(", ")),
        }
    }

    async fn names(&self) -> anyhow::Result<Vec<String>> {
        let clusters = self.clusters().await?;
        let name = |cluster: &Value| Some(cluster.pointer("/metadata/name")?.as_str()?.to_owned());
        Ok(clusters.iter().filter_map(name).collect())
    }

    /// Returns all clusters of the namespace.
    pub async fn clusters(&self) -> anyhow::Result<Vec<Value>> {
        let list = self.api(&clusters()).list(&ListParams::default()).await;
        let list = list.map_err(|error| self.in_words("list clusters", error))?;
        list.items.iter().map(|object| serde_json::to_value(object).context("read a cluster")).collect()
    }

    /// Returns a cluster as it is; `None`: there is none of that name.
    pub async fn cluster(&self, name: &str) -> anyhow::Result<Option<Value>> {
        match self.api(&clusters()).get(name).await {
            Ok(object) => Ok(Some(serde_json::to_value(object).context("read the cluster")?)),
            // The API server says the same of a kind that it does not know, without a name in its details.
            Err(kube::Error::Api(status)) if status.code == 404 && knows_kind(&status) => Ok(None),
            Err(error) => Err(self.in_words(&format!("read cluster {name}"), error)),
        }
    }

    /// Returns a cluster as it is.
    ///
    /// # Errors
    /// Also that there is none of that name.
    pub async fn the_cluster(&self, name: &str) -> anyhow::Result<Value> {
        match self.cluster(name).await? {
            Some(cluster) => Ok(cluster),
            None => {
                let names = self.names().await?;
                let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                let namespace = &self.namespace;
                anyhow::bail!(
                    "there is no cluster {name} in namespace {namespace}; there: {there} (-n names another)"
                )
            }
        }
    }

    /// Merges annotations into a cluster; `None` removes one.
    pub async fn annotate(&self, name: &str, key: &str, value: Option<&str>) -> anyhow::Result<()> {
        let patch = serde_json::json!({ "metadata": { "annotations": { key: value } } });
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let done = self.api(&clusters()).patch_metadata(name, &params, &Patch::Merge(&patch)).await;
        done.map(|_| ()).map_err(|error| self.in_words(&format!("annotate cluster {name}"), error))
    }

    /// Lists children of a cluster; `None`: this Kubernetes does not know the kind.
    pub async fn children(&self, kind: Kind, cluster: &str) -> anyhow::Result<Option<Vec<Value>>> {
        let resource = resource(kind.api_version(), kind.as_str(), kind.plural());
        let (api, params) = (self.api(&resource), of_cluster(cluster));
        let to_json = |object: Result<Value, serde_json::Error>| object.context("read a child");
        // Nobody needs what is in them.
        let listed: Result<Vec<_>, _> = match kind {
            Kind::Secret => api
                .list_metadata(&params)
                .await
                .map(|list| list.items.iter().map(serde_json::to_value).collect()),
            _ => api.list(&params).await.map(|list| list.items.iter().map(serde_json::to_value).collect()),
        };
        match listed {
            Ok(objects) => Ok(Some(objects.into_iter().map(to_json).collect::<Result<_, _>>()?)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(self.in_words(&format!("list {}", kind.plural()), error)),
        }
    }

    /// Returns the uid of a child's controller, if there is an object of that name; `Some("")`: it has none.
    pub async fn controller_of(&self, reference: &ObjectRef) -> anyhow::Result<Option<String>> {
        let kind = reference.kind;
        let resource = resource(kind.api_version(), kind.as_str(), kind.plural());
        match self.api(&resource).get_metadata(&reference.name).await {
            Ok(object) => {
                let owners = object.metadata.owner_references.unwrap_or_default();
                let owner = owners.into_iter().find(|owner| owner.controller == Some(true));
                Ok(Some(owner.map(|owner| owner.uid).unwrap_or_default()))
            }
            Err(kube::Error::Api(status)) if [403, 404].contains(&status.code) => Ok(None),
            Err(error) => Err(self.in_words(&format!("read {reference}"), error)),
        }
    }

    /// Lists what Kubernetes itself has in the namespace.
    pub async fn list<K>(&self, what: &str, params: &ListParams) -> anyhow::Result<Vec<K>>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        let listed = api.list(params).await;
        listed.map(|list| list.items).map_err(|error| self.in_words(&format!("list {what}"), error))
    }

    /// Lists what belongs to no namespace, or is in any; nothing where the user may not.
    pub async fn list_everywhere<K>(&self, what: &str, params: &ListParams) -> anyhow::Result<Option<Vec<K>>>
    where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        self.list_if_allowed(Api::all(self.client.clone()), what, params).await
    }

    /// Lists what is in any namespace, or in this one where the user may see no other; nothing where not even that.
    pub async fn list_where_allowed<K>(&self, what: &str, params: &ListParams) -> anyhow::Result<Vec<K>>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        if let Some(all) = self.list_everywhere(what, params).await? {
            return Ok(all);
        }
        let here = Api::namespaced(self.client.clone(), &self.namespace);
        Ok(self.list_if_allowed(here, what, params).await?.unwrap_or_default())
    }

    async fn list_if_allowed<K>(
        &self,
        api: Api<K>,
        what: &str,
        params: &ListParams,
    ) -> anyhow::Result<Option<Vec<K>>>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        match api.list(params).await {
            Ok(list) => Ok(Some(list.items)),
            Err(kube::Error::Api(status)) if [401, 403].contains(&status.code) => Ok(None),
            Err(error) => Err(self.in_words(&format!("list {what}"), error)),
        }
    }

    fn api(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, resource)
    }

    /// Says what was asked and what can be done.
    fn in_words(&self, what: &str, error: kube::Error) -> anyhow::Error {
        let what = format!("{what} in namespace {}", self.namespace);
        match error {
            kube::Error::Api(status) => {
                let remedy = match status.code {
                    404 => {
                        "this Kubernetes does not know the kind RocketMQCluster: is the operator installed?"
                    }
                    401 | 403 => "the user of this kubeconfig may not (--context names another)",
                    _ => "the API server refused",
                };
                anyhow::anyhow!("{what}: {remedy}: {}", status.message)
            }
            error => {
                let text = format!(
                    "{what}: no answer from the API server {} (--context names another)",
                    self.address
                );
                anyhow::Error::new(error).context(text)
            }
        }
    }
}

/// Whether a 404 is about the name, and not about the kind.
fn knows_kind(status: &kube::core::Status) -> bool {
    status.details.as_ref().is_some_and(|details| !details.name.is_empty())
}

fn clusters() -> ApiResource {
    resource(manifest::API_VERSION, manifest::KIND, "rocketmqclusters")
}

/// Returns where a kind is found.
fn resource(api_version: &str, kind: &str, plural: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// Selects what belongs to a cluster.
pub fn of_cluster(name: &str) -> ListParams {
    ListParams::default().labels(&format!("{}={name}", planner::labels::CLUSTER)).limit(MOST_OBJECTS)
}
