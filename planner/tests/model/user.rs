//! The user and other misfortunes: changes of the manifest, of children and volumes by hand, and the end of the cluster.

use manifest::Validated;
use planner::labels::{APPROVE, CLUSTER, CLUSTER_UID, INTENT_HASH, REPLACE, RESTART};
use planner::object::Kind;
use serde_json::{Value, json};

use crate::Random;
use crate::kubernetes::{BAD_VERSION, Foreign, World};
use crate::operator::{WINDOW, WINDOW_MINUTES};

/// What users change.
#[derive(Debug)]
struct Spec {
    version: &'static str,
    name_servers: u64,
    groups: u64,
    replicas: u64,
    /// Zero: the brokers' files are in an EmptyDir.
    size: u64,
    sync: bool,
    max_message_size: &'static str,
    stopped: bool,
    paused: bool,
    policy: &'static str,
    remove: Vec<i32>,
    when_scaled: &'static str,
    on_lost_volume: &'static str,
    approval: &'static str,
    groups_in_parallel: u64,
    pause_between: u64,
    window: bool,
    protection: bool,
    deletion: &'static str,
}

/// Who has a cluster, and their doings that are undone in the end.
pub struct User {
    spec: Spec,
    /// Claims whose volumes were swapped.
    swapped: Vec<[String; 2]>,
}

impl User {
    pub fn new(random: &mut Random) -> User {
        let spec = Spec {
            version: "0.1.0",
            name_servers: 1 + random.below(3),
            groups: 1 + random.below(3),
            replicas: 1 + random.below(3),
            size: if random.one_in(8) { 0 } else { 10 },
            sync: random.one_in(2),
            max_message_size: "4MiB",
            stopped: false,
            paused: false,
            policy: "Drain",
            remove: Vec::new(),
            when_scaled: if random.one_in(2) { "Delete" } else { "Retain" },
            on_lost_volume: if random.one_in(2) { "Replace" } else { "Block" },
            approval: if random.one_in(4) { "Supervised" } else { "Automatic" },
            groups_in_parallel: 1 + random.below(3),
            pause_between: if random.one_in(4) { random.below(30) } else { 0 },
            window: random.one_in(4),
            protection: false,
            deletion: if random.one_in(2) { "Delete" } else { "Retain" },
        };
        User { spec, swapped: Vec::new() }
    }

    pub fn manifest(&self) -> Validated {
        let spec = &self.spec;
        let mode = if spec.sync && spec.replicas > 1 { "Sync" } else { "Async" };
        let storage = match spec.size {
            0 => "type: EmptyDir".to_owned(),
            size => format!(
                "size: {size}Gi, whenScaled: {}, onLostVolume: {}",
                spec.when_scaled, spec.on_lost_volume
            ),
        };
        let window = match spec.window {
            true => format!("[{{ schedule: \"{WINDOW}\", duration: {WINDOW_MINUTES}m }}]"),
            false => "[]".to_owned(),
        };
        let text = format!(
            "
apiVersion: gantry.rs/v1alpha1
kind: RocketMQCluster
metadata: {{ name: mq, namespace: default }}
spec:
  version: {}
  stopped: {}
  paused: {}
  deletion: {{ policy: {}, protection: {} }}
  nameServers: {{ replicas: {} }}
  brokers:
    groups: {}
    replicasPerGroup: {}
    remove: {:?}
    replication: {{ mode: {mode} }}
    config: {{ maxMessageSize: {} }}
    storage: {{ {storage} }}
    scaleIn: {{ policy: {}, minDrainTime: 20s }}
    rollout:
      approval: {}
      maxGroupsInParallel: {}
      pauseBetween: {}s
      window: {window}
",
            spec.version,
            spec.stopped,
            spec.paused,
            spec.deletion,
            spec.protection,
            spec.name_servers,
            spec.groups,
            spec.replicas,
            spec.remove,
            spec.max_message_size,
            spec.policy,
            spec.approval,
            spec.groups_in_parallel,
            spec.pause_between,
        );
        manifest::load(&text).unwrap()
    }

    /// Now and then somebody does something.
    pub fn act(&mut self, world: &mut World, random: &mut Random) {
        if world.gone {
            return;
        }
        if random.one_in(12) {
            self.edit(world, random);
        }
        if random.one_in(15) {
            delete_child(world, random);
        }
        if random.one_in(20) {
            meddle(world, random);
        }
        if random.one_in(40) {
            self.touch_volumes(world, random);
        }
        if random.one_in(40)
            && let Some(pod) = random.one_of(world.pods.keys().cloned())
        {
            world.log(|| format!("somebody deletes pod {pod}"));
            world.pods.get_mut(&pod).unwrap().facts.terminating = true;
        }
        if random.one_in(60) {
            let asked = world.fresh();
            annotate(world, RESTART, asked);
        }
        if random.one_in(15) {
            self.help(world);
        }
        if random.one_in(700) {
            world.delete_cluster();
        }
    }

    fn edit(&mut self, world: &mut World, random: &mut Random) {
        let spec = &mut self.spec;
        let groups = world.cluster.status.brokers.group_statuses.iter().map(|group| group.index);
        match random.below(19) {
            0 => spec.version = ["0.1.0", "0.1.1", BAD_VERSION][random.below(3) as usize],
            1 => spec.name_servers = 1 + random.below(3),
            2..=4 => spec.groups = 1 + random.below(4),
            5 => spec.replicas = 1 + random.below(3),
            6 if spec.size > 0 => spec.size += random.below(10),
            7 => spec.max_message_size = ["4MiB", "8MiB"][random.below(2) as usize],
            8 => spec.stopped = !spec.stopped,
            9 => spec.paused = !spec.paused,
            10 => spec.policy = ["Drain", "Force", "Refuse"][random.below(3) as usize],
            11 => spec.remove = random.one_of(groups).into_iter().collect(),
            12 => spec.approval = ["Automatic", "Supervised"][random.below(2) as usize],
            13 => spec.groups_in_parallel = 1 + random.below(3),
            14 => spec.pause_between = random.below(30),
            15 => spec.window = !spec.window,
            16 => spec.when_scaled = ["Retain", "Delete"][random.below(2) as usize],
            17 => spec.on_lost_volume = ["Block", "Replace"][random.below(2) as usize],
            _ => {
                spec.protection = random.one_in(2);
                spec.deletion = ["Retain", "Delete"][random.below(2) as usize];
            }
        }
        spec.sync ^= random.one_in(4);
        self.apply(world);
    }

    fn apply(&self, world: &mut World) {
        world.manifest = self.manifest();
        world.cluster.generation += 1;
        world.cluster.resource_version = world.fresh();
        world.log(|| format!("manifest: {:?}", self.spec));
    }

    /// A volume is lost with its claim or without, its claim is deleted, or two are swapped.
    fn touch_volumes(&mut self, world: &mut World, random: &mut Random) {
        let Some(claim) = random.one_of(world.claims.keys().cloned()) else { return };
        let pod = claim.trim_start_matches("data-").to_owned();
        match random.below(4) {
            0 => {
                world.log(|| format!("the volume of {claim} is another and empty"));
                let uid = world.fresh();
                let known = world.claims.get_mut(&claim).unwrap();
                (known.uid, known.lost, known.deleting) = (uid, false, false);
                known.annotations.retain(|key, _| key == CLUSTER_UID);
                world.stores.remove(&claim);
            }
            1 => {
                world.log(|| format!("the volume of {claim} is gone"));
                world.claims.get_mut(&claim).unwrap().lost = true;
                world.stores.remove(&claim);
            }
            2 => {
                world.log(|| format!("somebody deletes claim {claim}"));
                world.delete_claim(&claim);
                // Often they go on with the pod, sometimes they see what they have done.
                if random.one_in(2) {
                    return;
                }
            }
            _ => {
                let other = random.one_of(world.claims.keys().filter(|other| **other != claim).cloned());
                let Some(other) = other else { return };
                let pair = [claim, other];
                swap(world, &pair);
                self.swapped.push(pair);
            }
        }
        if let Some(pod) = world.pods.get_mut(&pod) {
            pod.facts.terminating = true;
        }
    }

    /// Does what messages ask a person for. Returns whether there was anything to do.
    pub fn help(&mut self, world: &mut World) -> bool {
        let mut helped = false;
        for waiting in world.waiting.clone().iter().filter(|waiting| waiting.blocked) {
            let asked = |key: &str| {
                let from = waiting.message.find(&format!("{key}="))? + key.len() + 1;
                waiting.message[from..].split_whitespace().next().map(str::to_owned)
            };
            if let Some(rollout) = asked(APPROVE) {
                helped |= annotate(world, APPROVE, rollout);
            }
            if let Some(entry) = asked(REPLACE) {
                // A volume that has the wrong store is emptied before it is given up.
                if waiting.reason == "StoreIdentityMismatch" {
                    if !self.swapped.is_empty() {
                        continue;
                    }
                    let pod = entry.split('=').next().unwrap();
                    world.stores.remove(&format!("data-{pod}"));
                }
                let before = world.cluster.annotations.get(REPLACE).cloned().unwrap_or_default();
                if !before.split(',').any(|known| known == entry) {
                    helped |= annotate(world, REPLACE, format!("{before},{entry}"));
                }
            }
            // A claim of which nobody knows what was on it, or that is on its way out.
            for word in waiting.message.split([' ', ',', ';']).filter(|word| word.starts_with("data-")) {
                let pod = word.trim_start_matches("data-").to_owned();
                if waiting.message.contains("being deleted") && world.pods.contains_key(&pod) {
                    world.log(|| format!("somebody deletes pod {pod}"));
                    world.pods.get_mut(&pod).unwrap().facts.terminating = true;
                    helped = true;
                }
                if waiting.message.contains("nobody knows") && world.claims.contains_key(word) {
                    world.log(|| format!("somebody deletes pod {pod} and claim {word}"));
                    world.delete_claim(word);
                    world.pods.values_mut().filter(|known| known.facts.name == pod).for_each(|pod| {
                        pod.facts.terminating = true;
                    });
                    helped = true;
                }
            }
        }
        helped
    }

    /// The last changes: a cluster that can be, often after one more restart of all brokers.
    pub fn settle(&mut self, world: &mut World, random: &mut Random) {
        if world.gone {
            return;
        }
        // Who deleted a claim goes on with its pod.
        let doomed = world.claims.values().filter(|claim| claim.deleting).map(|claim| claim.name.clone());
        for claim in doomed.collect::<Vec<_>>() {
            let pod = world.pods.get_mut(claim.trim_start_matches("data-"));
            pod.into_iter().for_each(|pod| pod.facts.terminating = true);
        }
        for pair in std::mem::take(&mut self.swapped).iter().rev() {
            swap(world, pair);
        }
        let spec = &mut self.spec;
        (spec.stopped, spec.paused, spec.protection) = (false, false, false);
        if spec.version == BAD_VERSION {
            spec.version = "0.1.1";
        }
        if spec.policy == "Refuse" {
            spec.policy = "Drain";
        }
        if random.one_in(2) {
            spec.max_message_size = if spec.max_message_size == "4MiB" { "8MiB" } else { "4MiB" };
        }
        self.apply(world);
    }
}

fn swap(world: &mut World, [one, other]: &[String; 2]) {
    if !world.claims.contains_key(one) || !world.claims.contains_key(other) {
        return;
    }
    world.log(|| format!("the volumes of {one} and {other} are swapped"));
    let stores = [world.stores.remove(one), world.stores.remove(other)];
    for (claim, store) in [other, one].into_iter().zip(stores) {
        world.stores.extend(store.map(|store| (claim.clone(), store)));
        let pod = claim.trim_start_matches("data-");
        world.pods.values_mut().filter(|known| known.facts.name == pod).for_each(|pod| {
            pod.facts.terminating = true;
        });
    }
}

fn annotate(world: &mut World, key: &str, value: String) -> bool {
    world.log(|| format!("annotation {key}={value}"));
    world.cluster.resource_version = world.fresh();
    world.cluster.annotations.insert(key.to_owned(), value.clone()) != Some(value)
}

/// At once, or with its pods, or without them, or when its own finalizer is through.
fn delete_child(world: &mut World, random: &mut Random) {
    let Some(reference) = random.one_of(world.objects.keys().cloned()) else { return };
    let how = random.below(3);
    world.log(|| format!("somebody deletes {reference} ({how})"));
    match how {
        0 => world.remove(&reference),
        1 => {
            world.objects.remove(&reference);
        }
        _ => {
            let version = world.fresh();
            let object = world.objects.get_mut(&reference).unwrap();
            (object.deleting, object.resource_version) = (true, version);
        }
    }
}

/// Somebody changes a child by hand: what is theirs, or what is ours.
fn meddle(world: &mut World, random: &mut Random) {
    let Some(reference) = random.one_of(world.objects.keys().cloned()) else { return };
    let version = world.fresh();
    let object = world.objects.get_mut(&reference).unwrap();
    object.resource_version = version;
    let (json, uid) = (&mut object.json, object.uid.clone());
    let mut places = vec!["/metadata/labels", "/metadata/annotations"];
    match reference.kind {
        Kind::ConfigMap if json["immutable"] != json!(true) => places.push("/data"),
        Kind::StatefulSet => places.push("/spec/template/metadata/annotations"),
        Kind::Service => places.push("/spec"),
        _ => {}
    }
    let place = places[random.below(places.len() as u64) as usize];
    let what = match random.below(6) {
        0 => {
            json["metadata"]["labels"][CLUSTER] = json!("changed");
            "its label".to_owned()
        }
        1 => {
            json["metadata"]["annotations"].as_object_mut().unwrap().remove(INTENT_HASH);
            "its hash".to_owned()
        }
        2 if reference.kind == Kind::StatefulSet => {
            let replicas = random.below(4);
            json["spec"]["replicas"] = json!(replicas);
            format!("replicas {replicas}")
        }
        2 if reference.name.ends_with("-live") => match world.earlier(&reference, random) {
            Some(earlier) => {
                world.objects.get_mut(&reference).unwrap().json = earlier;
                world.foreign.retain(|foreign| foreign.of != reference);
                "as it was".to_owned()
            }
            None => return,
        },
        _ => {
            json.pointer_mut(place).unwrap()["theirs"] = Value::from("theirs");
            let of = reference.clone();
            world.foreign.push(Foreign { of, uid, place: format!("{place}/theirs") });
            place.to_owned()
        }
    };
    world.log(|| format!("somebody changes {reference}: {what}"));
}
