//! Carries out one step. What a step needs to be harmless it brings along: uids and versions are sent as preconditions,
//! and who comes too late is told so.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use manifest::cluster::ClusterStatus;
use planner::labels::FINALIZER;
use planner::object::{Kind, Object, ObjectRef};
use planner::step::Action;
use rand::Rng;
use serde_json::{Value, json};

use crate::api::{self, CHILD_MANAGER, CLUSTER_MANAGER, REQUEST_TIMEOUT, STATUS_MANAGER};
use crate::caches::{Caches, ClusterKey, Entry};
use crate::failure::Failure;
use crate::leader::Leads;
use crate::members::Members;
use crate::observe::View;

/// How often the manager of a child's fields is noted before the next apply has to.
const MOST_TRIES: usize = 5;
/// How often a service asks for its former address, and the time between: the API server gives it back only a moment
/// after the service is gone.
const ADDRESS_TRIES: usize = 10;
const ADDRESS_PAUSE: Duration = Duration::from_millis(200);
/// Children that may be missing for a moment.
const REMADE: [Kind; 4] =
    [Kind::PodDisruptionBudget, Kind::NetworkPolicy, Kind::PodMonitor, Kind::PrometheusRule];
/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// Carries steps out.
pub struct Executor {
    pub client: Client,
    pub caches: Arc<Caches>,
    pub members: Arc<dyn Members>,
    /// Whoever does not lead writes nothing.
    pub leads: Leads,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    Done,
    /// What was to be made is there: someone else's, or ours and the caches do not know yet.
    Exists(ObjectRef),
    /// Not now; trying again is all there is to do.
    NotYet(String),
}

impl Executor {
    /// Carries a step out for the cluster that was looked at.
    ///
    /// # Errors
    /// What the API server or a member said; nothing was done, or at most this step.
    pub async fn take(&self, view: &View, action: &Action) -> Result<Taken, Failure> {
        self.may_write()?;
        match action {
            Action::AddFinalizer => self.set_finalizer(view, true).await,
            Action::RemoveFinalizer => self.set_finalizer(view, false).await,
            Action::RecordStatus(status) => self.replace_status(view, status).await,
            Action::Create(object) => self.create(view, &object.reference, object.json.clone()).await,
            Action::CreateSecret { object, keys } => {
                self.create(view, &object.reference, with_tokens(object, keys)).await
            }
            Action::Apply { object, uid, resource_version } => {
                self.apply(view, object, uid, resource_version.as_deref()).await
            }
            Action::Delete { object, uid } => {
                self.delete(view, object, uid, DeleteParams::background()).await
            }
            Action::OrphanStatefulSet { name, uid } => {
                let set = ObjectRef::new(Kind::StatefulSet, name);
                self.delete(view, &set, uid, DeleteParams::orphan()).await
            }
            Action::PushConfig { pod, properties, .. } => match view.addresses.admin_port(pod) {
                Some(port) => Ok(self.members.push(&port, properties).await.map(|()| Taken::Done)?),
                None => Ok(Taken::NotYet(format!("{pod} has no address yet"))),
            },
            Action::CopyMetadata { from, to } => match view.addresses.groups().copying(from, *to) {
                Some(copying) => Ok(self.members.copy_metadata(&copying).await.map(|_| Taken::Done)?),
                None => Ok(Taken::NotYet(format!("a master of groups {from:?} and {to} has no address yet"))),
            },
            Action::HandOver { from, what } => match view.addresses.groups().draining_of(*from) {
                Some(draining) => Ok(self.members.hand_over(&draining, what).await.map(|_| Taken::Done)?),
                None => Ok(Taken::NotYet("a master has no address yet".to_owned())),
            },
            Action::Evict { pod, uid, resource_version } => {
                self.evict(view, pod, uid, resource_version).await
            }
            Action::DeletePod { pod, uid, resource_version } => {
                let only = Preconditions {
                    uid: Some(uid.clone()),
                    resource_version: Some(resource_version.clone()),
                };
                let pods = self.objects(view, &api::pods());
                let params = DeleteParams::default().preconditions(only);
                let what = format!("delete pod {pod}");
                Failure::within(REQUEST_TIMEOUT, &what, pods.delete(pod, &params)).await?;
                Ok(Taken::Done)
            }
            Action::PatchPod { pod, uid, patch } => self.merge(view, &api::pods(), pod, uid, patch).await,
            Action::PatchClaim { claim, uid, patch } => {
                self.merge(view, &api::claims(), claim, uid, patch).await
            }
            Action::DeleteClaim { claim, uid } => {
                let claims = self.objects(view, &api::claims());
                let params = DeleteParams::default().preconditions(of_uid(uid));
                let what = format!("delete volume claim {claim}");
                Failure::within(REQUEST_TIMEOUT, &what, claims.delete(claim, &params)).await?;
                Ok(Taken::Done)
            }
        }
    }

    /// Returns the objects of a kind in the cluster's namespace.
    fn objects(&self, view: &View, resource: &ApiResource) -> Api<DynamicObject> {
        api::objects(&self.client, resource, Some(&view.addresses.cluster.namespace))
    }

    fn may_write(&self) -> Result<(), Failure> {
        if self.leads.now() { Ok(()) } else { Err(Failure::NotLeading) }
    }

    async fn set_finalizer(&self, view: &View, wanted: bool) -> Result<Taken, Failure> {
        let cluster = &view.addresses.cluster;
        let mut finalizers = cluster.finalizers.clone();
        match wanted {
            true => finalizers.insert(FINALIZER.to_owned()),
            false => finalizers.remove(FINALIZER),
        };
        let patch = json!({ "metadata": {
            "resourceVersion": cluster.resource_version,
            "finalizers": finalizers,
        } });
        let params =
            PatchParams { field_manager: Some(CLUSTER_MANAGER.to_owned()), ..PatchParams::default() };
        let clusters = self.objects(view, &api::clusters());
        let what = format!("set finalizers of {}", cluster.name);
        let patched = send(&clusters, &cluster.name, &params, Patch::Merge(patch), &what).await?;
        if finalizers.is_empty() && cluster.deleting {
            self.caches.clusters.remove(&cluster.namespace, &cluster.name, &cluster.uid, None);
        } else {
            self.keep_cluster(view, patched);
        }
        Ok(Taken::Done)
    }

    /// Writes the status over the one that was read.
    ///
    /// # Errors
    /// The cluster's object is another by now, or the API server did not take it.
    pub async fn replace_status(&self, view: &View, status: &ClusterStatus) -> Result<Taken, Failure> {
        self.may_write()?;
        let cluster = &view.addresses.cluster;
        let resource = api::clusters();
        let mut object = DynamicObject::new(&cluster.name, &resource).within(&cluster.namespace);
        object.metadata.resource_version = Some(cluster.resource_version.clone());
        object.metadata.uid = Some(cluster.uid.clone());
        object.data = json!({ "status": status });
        let params = PostParams { field_manager: Some(STATUS_MANAGER.to_owned()), ..PostParams::default() };
        let clusters = self.objects(view, &resource);
        let what = format!("write status of {}", cluster.name);
        let replaced = clusters.replace_status(&cluster.name, &params, &object);
        self.keep_cluster(view, Failure::within(REQUEST_TIMEOUT, &what, replaced).await?);
        Ok(Taken::Done)
    }

    async fn create(&self, view: &View, reference: &ObjectRef, json: Value) -> Result<Taken, Failure> {
        let objects = self.objects(view, &api::resource(reference.kind));
        let params = PostParams { field_manager: Some(CHILD_MANAGER.to_owned()), ..PostParams::default() };
        let what = format!("create {reference}");
        let without = without_former_address(&json).map(dynamic).transpose()?;
        let object = dynamic(json)?;
        let create =
            async |object| Failure::in_time(REQUEST_TIMEOUT, &what, objects.create(&params, object)).await;
        let mut created = create(&object).await?;
        if let Some(without) = without {
            for _ in 1..ADDRESS_TRIES {
                if !is_invalid(&created) {
                    break;
                }
                tokio::time::sleep(ADDRESS_PAUSE).await;
                created = create(&object).await?;
            }
            if is_invalid(&created) {
                tracing::warn!("{what}: its former address cannot be had");
                created = create(&without).await?;
            }
        }
        match created {
            Ok(created) => {
                self.keep_child(view, reference, created);
                Ok(Taken::Done)
            }
            Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => {
                Ok(Taken::Exists(reference.clone()))
            }
            Err(error) => Err(Failure::of(&what, error)),
        }
    }

    async fn apply(
        &self,
        view: &View,
        object: &Object,
        uid: &str,
        resource_version: Option<&str>,
    ) -> Result<Taken, Failure> {
        let reference = &object.reference;
        let objects = self.objects(view, &api::resource(reference.kind));
        let mut json = object.json.clone();
        json["metadata"]["uid"] = json!(uid);
        if let Some(version) = resource_version {
            json["metadata"]["resourceVersion"] = json!(version);
        }
        let params = PatchParams::apply(CHILD_MANAGER).force();
        let what = format!("apply {reference}");
        let name = &reference.name;
        let first = send(&objects, name, &params, Patch::Apply(json.clone()), &what).await;
        let had_effect = match &first {
            Ok(applied) => !has_drifted(object, applied),
            Err(Failure::Refused { .. }) => false,
            Err(_) => true,
        };
        let mut applied = if had_effect {
            first?
        } else {
            // What makes an entry of a list another was changed by hand: an apply adds ours beside it. Replacing whole
            // lists takes away also what others added to them.
            if let Ok(applied) = &first {
                json["metadata"]["resourceVersion"] = json!(applied.metadata.resource_version);
            }
            let patched = send(&objects, name, &by_merge(), Patch::Merge(whole_lists(&json)), &what).await;
            json["metadata"]["resourceVersion"] = match (patched, first) {
                (Ok(patched), _) => json!(patched.metadata.resource_version),
                // Someone set a field that excludes one of ours. Nobody misses it until the next look makes it again.
                (Err(Failure::Refused { .. }), _) if REMADE.contains(&reference.kind) => {
                    return self.delete(view, reference, uid, DeleteParams::background()).await;
                }
                // Why the apply was refused says more.
                (Err(Failure::Refused { .. }), Err(refusal)) => return Err(refusal),
                (Err(failure), _) => return Err(failure),
            };
            send(&objects, name, &params, Patch::Apply(json.clone()), &what).await?
        };
        // It was made by a POST, whose fields an apply would never take away: what is in a secret must stay.
        for _ in 0..MOST_TRIES {
            let noted = as_applied(&applied).filter(|_| reference.kind != Kind::Secret);
            let Some(managers) = noted else { break };
            let version = applied.metadata.resource_version.clone();
            let patch = json!({ "metadata": { "resourceVersion": version, "managedFields": managers } });
            let note = format!("note the manager of {reference}");
            match send(&objects, name, &PatchParams::default(), Patch::Merge(patch), &note).await {
                Ok(noted) => {
                    json["metadata"]["resourceVersion"] = json!(noted.metadata.resource_version);
                    applied = send(&objects, name, &params, Patch::Apply(json.clone()), &what).await?;
                }
                // Its controller writes its status just now.
                Err(Failure::Conflict { .. }) => {
                    applied = Failure::within(REQUEST_TIMEOUT, &note, objects.get(name)).await?;
                }
                Err(failure) => return Err(failure),
            }
        }
        self.keep_child(view, reference, applied);
        Ok(Taken::Done)
    }

    async fn delete(
        &self,
        view: &View,
        reference: &ObjectRef,
        uid: &str,
        params: DeleteParams,
    ) -> Result<Taken, Failure> {
        let objects = self.objects(view, &api::resource(reference.kind));
        let what = format!("delete {reference}");
        let params = params.preconditions(of_uid(uid));
        let answer =
            Failure::within(REQUEST_TIMEOUT, &what, objects.delete(&reference.name, &params)).await?;
        // Others answer with the object, which stays until its finalizers are gone, or for its pods' grace period.
        match answer.left() {
            Some(object) if object.metadata.deletion_timestamp.is_some() => {
                self.keep_child(view, reference, object);
            }
            _ => {
                let namespace = &view.addresses.cluster.namespace;
                self.caches.children_of(reference.kind).remove(namespace, &reference.name, uid, None);
            }
        }
        Ok(Taken::Done)
    }

    async fn evict(&self, view: &View, pod: &str, uid: &str, version: &str) -> Result<Taken, Failure> {
        let pods = self.objects(view, &api::pods());
        let eviction = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": { "name": pod, "namespace": view.addresses.cluster.namespace },
            "deleteOptions": { "preconditions": { "uid": uid, "resourceVersion": version } },
        });
        let what = format!("evict {pod}");
        let params = PostParams::default();
        // The client's own call sends no preconditions.
        let request = pods.create_subresource::<_, Value>("eviction", pod, &params, &eviction);
        match Failure::in_time(REQUEST_TIMEOUT, &what, request).await? {
            Ok(_) => Ok(Taken::Done),
            // The disruption budget says no: someone else disturbs the group just now.
            Err(kube::Error::Api(status)) if status.code == 429 => Ok(Taken::NotYet(status.message)),
            Err(error) => Err(Failure::of(&what, error)),
        }
    }

    async fn merge(
        &self,
        view: &View,
        resource: &ApiResource,
        name: &str,
        uid: &str,
        patch: &Value,
    ) -> Result<Taken, Failure> {
        let objects = self.objects(view, resource);
        let mut patch = patch.clone();
        patch["metadata"]["uid"] = json!(uid);
        let what = format!("patch {} {name}", resource.kind);
        let patched = send(&objects, name, &by_merge(), Patch::Merge(patch), &what).await?;
        let key = ClusterKey::new(&view.addresses.cluster.namespace, &view.addresses.cluster.name);
        match resource.kind.as_str() {
            "Pod" => keep(&self.caches.pods, &key, name, patched),
            _ => keep(&self.caches.claims, &key, name, patched),
        }
        Ok(Taken::Done)
    }

    /// What was written is known at once: the next look need not wait for the watch.
    fn keep_child(&self, view: &View, reference: &ObjectRef, object: DynamicObject) {
        let object = api::typed(object, &api::resource(reference.kind));
        let key = ClusterKey::new(&view.addresses.cluster.namespace, &view.addresses.cluster.name);
        keep(self.caches.children_of(reference.kind), &key, &reference.name, object);
    }

    fn keep_cluster(&self, view: &View, object: DynamicObject) {
        let object = api::typed(object, &api::clusters());
        let key = ClusterKey::new(&view.addresses.cluster.namespace, &view.addresses.cluster.name);
        keep(&self.caches.clusters, &key, &view.addresses.cluster.name, object);
    }
}

fn keep<F: crate::caches::Facts>(
    shelf: &crate::caches::Shelf<F>,
    key: &ClusterKey,
    name: &str,
    object: DynamicObject,
) {
    // One that cannot be read comes by the watch, which says so.
    if let Ok(entry) = Entry::read(object) {
        shelf.put(key, name, entry);
    }
}

async fn send(
    objects: &Api<DynamicObject>,
    name: &str,
    params: &PatchParams,
    patch: Patch<Value>,
    what: &str,
) -> Result<DynamicObject, Failure> {
    Failure::within(REQUEST_TIMEOUT, what, objects.patch(name, params, &patch)).await
}

fn has_drifted(object: &Object, applied: &DynamicObject) -> bool {
    let json = serde_json::to_value(applied).unwrap_or_default();
    planner::drift(object, &json).is_some()
}

/// Returns the parameters of a merge patch of a child.
fn by_merge() -> PatchParams {
    PatchParams { field_manager: Some(CHILD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// Returns a merge patch that makes every list of a child as it should be, with the child's preconditions.
fn whole_lists(json: &Value) -> Value {
    let mut patch = json.clone();
    let metadata = &json["metadata"];
    patch["metadata"] = json!({ "uid": metadata["uid"] });
    if let Some(version) = metadata.get("resourceVersion") {
        patch["metadata"]["resourceVersion"] = version.clone();
    }
    patch
}

fn of_uid(uid: &str) -> Preconditions {
    Preconditions { uid: Some(uid.to_owned()), resource_version: None }
}

fn dynamic(json: Value) -> Result<DynamicObject, Failure> {
    serde_json::from_value(json).map_err(|error| Failure::Unreadable(error.to_string()))
}

fn is_invalid<T>(created: &Result<T, kube::Error>) -> bool {
    matches!(created, Err(kube::Error::Api(status)) if status.code == 422)
}

/// Returns a service without the address that it is to have, if it is to have one: somebody else may have it by now.
fn without_former_address(json: &Value) -> Option<Value> {
    json.pointer("/spec/clusterIP").filter(|address| *address != "None")?;
    let mut without = json.clone();
    without["spec"].as_object_mut()?.remove("clusterIP");
    Some(without)
}

/// Returns a secret with a random text under each key.
fn with_tokens(object: &Object, keys: &[&'static str]) -> Value {
    let mut json = object.json.clone();
    for key in keys {
        let mut bytes = [0_u8; TOKEN_BYTES];
        rand::rng().fill(&mut bytes);
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        json["stringData"][*key] = json!(text);
    }
    json
}

/// Returns the managers of a child that was made by a POST as if it had been applied, or `None` if it was. What a POST
/// wrote belongs to it alone; only what was applied goes when it is not applied any more.
fn as_applied(object: &DynamicObject) -> Option<Vec<Value>> {
    let managers = object.metadata.managed_fields.as_ref()?;
    let ours = |operation: &str| {
        managers.iter().position(|entry| {
            entry.manager.as_deref() == Some(CHILD_MANAGER)
                && entry.operation.as_deref() == Some(operation)
                && entry.subresource.is_none()
        })
    };
    let (posted, applied) = (ours("Update")?, ours("Apply"));
    let entries = managers.iter().enumerate().filter(|(place, _)| Some(*place) != applied);
    let changed = entries.map(|(place, entry)| {
        let mut entry = serde_json::to_value(entry).unwrap_or_default();
        if place == posted {
            entry["operation"] = json!("Apply");
        }
        entry
    });
    Some(changed.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_posted_counts_as_applied_from_the_first_apply_on() {
        let entry = |manager: &str, operation: &str, fields: &str| {
            json!({ "manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1",
                    "time": "2030-01-01T00:00:00Z", "fieldsV1": { fields: {} } })
        };
        let object = |entries: Vec<Value>| -> DynamicObject {
            serde_json::from_value(json!({ "metadata": { "name": "x", "managedFields": entries } })).unwrap()
        };
        let theirs = entry("kubectl-edit", "Update", "f:theirs");
        let first = object(vec![
            entry(CHILD_MANAGER, "Apply", "f:new"),
            entry(CHILD_MANAGER, "Update", "f:posted"),
            theirs.clone(),
        ]);
        let managers = as_applied(&first).unwrap();
        assert_eq!(managers, [entry(CHILD_MANAGER, "Apply", "f:posted"), theirs.clone()]);
        assert_eq!(as_applied(&object(vec![entry(CHILD_MANAGER, "Apply", "f:new"), theirs])), None);
    }

    #[test]
    fn only_a_service_that_asks_for_an_address_may_go_without_it() {
        let service = |spec: Value| json!({ "metadata": { "name": "s" }, "spec": spec });
        let asking = service(json!({ "clusterIP": "10.96.0.7", "type": "ClusterIP" }));
        assert_eq!(without_former_address(&asking), Some(service(json!({ "type": "ClusterIP" }))));
        assert_eq!(without_former_address(&service(json!({ "clusterIP": "None" }))), None);
        assert_eq!(without_former_address(&json!({ "metadata": { "name": "s" } })), None);
    }

    #[test]
    fn each_token_is_drawn_anew() {
        let object = Object {
            reference: ObjectRef::new(Kind::Secret, "s"),
            json: json!({ "metadata": { "name": "s" } }),
        };
        let (first, second) = (with_tokens(&object, &["a", "b"]), with_tokens(&object, &["a", "b"]));
        let texts: std::collections::BTreeSet<&str> = [&first, &second]
            .iter()
            .flat_map(|secret| ["a", "b"].map(|key| secret["stringData"][key].as_str().unwrap()))
            .collect();
        assert_eq!(texts.len(), 4);
        assert!(
            texts.iter().all(|text| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        );
    }
}
