//! The user and other misfortunes: changes of the manifest, children deleted by hand.

use manifest::Validated;
use planner::object::Kind;

use crate::Random;
use crate::kubernetes::{BAD_VERSION, World};

/// What users change.
struct Spec {
    version: &'static str,
    name_servers: u64,
    groups: u64,
    replicas: u64,
    size: u64,
    sync: bool,
    max_message_size: &'static str,
    stopped: bool,
    paused: bool,
    policy: &'static str,
    when_scaled: &'static str,
}

fn manifest(spec: &Spec) -> Validated {
    let mode = if spec.sync && spec.replicas > 1 { "Sync" } else { "Async" };
    let text = format!(
        "
apiVersion: gantry.rs/v1alpha1
kind: RocketMQCluster
metadata: {{ name: mq, namespace: default }}
spec:
  version: {}
  stopped: {}
  paused: {}
  nameServers: {{ replicas: {} }}
  brokers:
    groups: {}
    replicasPerGroup: {}
    replication: {{ mode: {mode} }}
    config: {{ maxMessageSize: {} }}
    storage: {{ size: {}Gi, whenScaled: {} }}
    scaleIn: {{ policy: {}, minDrainTime: 20s }}
",
        spec.version,
        spec.stopped,
        spec.paused,
        spec.name_servers,
        spec.groups,
        spec.replicas,
        spec.max_message_size,
        spec.size,
        spec.when_scaled,
        spec.policy
    );
    manifest::load(&text).unwrap()
}

fn spec_of(validated: &Validated) -> Spec {
    let spec = &validated.cluster().spec;
    let pick = |text: &str, all: &[&'static str]| *all.iter().find(|one| **one == text).unwrap();
    Spec {
        version: pick(&spec.version, &["0.1.0", "0.1.1", BAD_VERSION]),
        name_servers: spec.name_servers.replicas as u64,
        groups: spec.brokers.groups as u64,
        replicas: spec.brokers.replicas_per_group as u64,
        size: spec.brokers.storage.size.as_ref().unwrap().trim_end_matches("Gi").parse().unwrap(),
        sync: spec.brokers.replication.mode == manifest::cluster::ReplicationMode::Sync,
        max_message_size: pick(&spec.brokers.config["maxMessageSize"], &["4MiB", "8MiB"]),
        stopped: spec.stopped,
        paused: spec.paused,
        policy: pick(&format!("{:?}", spec.brokers.scale_in.policy), &["Drain", "Force", "Refuse"]),
        when_scaled: pick(&format!("{:?}", spec.brokers.storage.when_scaled), &["Retain", "Delete"]),
    }
}

pub fn first_spec(random: &mut Random) -> Validated {
    manifest(&Spec {
        version: "0.1.0",
        name_servers: 1 + random.below(3),
        groups: 1 + random.below(3),
        replicas: 1 + random.below(3),
        size: 10,
        sync: random.one_in(2),
        max_message_size: "4MiB",
        stopped: false,
        paused: false,
        policy: "Drain",
        when_scaled: if random.one_in(2) { "Delete" } else { "Retain" },
    })
}

/// Now and then somebody changes something.
pub fn act(world: &mut World, random: &mut Random) {
    if random.one_in(12) {
        let mut spec = spec_of(&world.manifest);
        match random.below(11) {
            0 => spec.version = ["0.1.0", "0.1.1", BAD_VERSION][random.below(3) as usize],
            1 => spec.name_servers = 1 + random.below(3),
            2..=4 => spec.groups = 1 + random.below(4),
            5 => spec.replicas = 1 + random.below(3),
            6 => spec.size += random.below(10),
            7 => spec.max_message_size = if random.one_in(2) { "4MiB" } else { "8MiB" },
            8 => spec.stopped = !spec.stopped,
            9 => spec.paused = !spec.paused,
            _ => spec.policy = ["Drain", "Force"][random.below(2) as usize],
        }
        spec.sync ^= random.one_in(4);
        change(world, &spec);
    }
    if random.one_in(15) && !world.objects.is_empty() {
        let place = random.below(world.objects.len() as u64) as usize;
        let reference = world.objects.keys().nth(place).unwrap().clone();
        world.log(|| format!("somebody deletes {reference}"));
        world.objects.remove(&reference);
        if reference.kind == Kind::StatefulSet {
            let start = format!("{}-", reference.name);
            let pods = world.pods.values_mut().filter(|pod| pod.facts.name.starts_with(&start));
            pods.for_each(|pod| pod.facts.terminating = true);
        }
    }
    if random.one_in(25) {
        let replaced = world.objects.values_mut().find(|_| random.one_in(9));
        if let Some(object) = replaced {
            object.json["metadata"]["labels"]["gantry.rs/cluster"] = "changed".into();
        }
    }
}

/// The last change: a cluster that can be.
pub fn settle(world: &mut World) {
    let mut spec = spec_of(&world.manifest);
    spec.stopped = false;
    spec.paused = false;
    if spec.version == BAD_VERSION {
        spec.version = "0.1.1";
    }
    change(world, &spec);
}

fn change(world: &mut World, spec: &Spec) {
    world.manifest = manifest(spec);
    world.cluster.generation += 1;
    world.cluster.resource_version = world.fresh();
    world.log(|| {
        format!(
            "manifest: version {} namesrv {} groups {} replicas {} size {} stopped {} paused {} policy {}",
            spec.version,
            spec.name_servers,
            spec.groups,
            spec.replicas,
            spec.size,
            spec.stopped,
            spec.paused,
            spec.policy
        )
    });
}
