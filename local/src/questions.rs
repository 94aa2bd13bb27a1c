//! Where members are reached, so that they can be asked before a plan is made.

use manifest::cluster::status::GroupStatus;
use manifest::group_name;
use members::{AdminPort, Group, Groups, Master, Questions, Token};
use planner::facts::PodFacts;

use crate::placement::Site;
use crate::ports::loopback;
use crate::world::{World, is_broker};

/// Returns what there is to ask now.
pub(crate) fn questions(world: &World, site: &Site) -> Questions {
    let token = Token(world.kept.token.clone());
    let admin = |pod: &PodFacts| {
        let address = loopback(site.ports(world, &pod.name)?.of_broker?.admin);
        Some(AdminPort { address, token: token.clone() })
    };
    let brokers = world.pods.values().filter(|pod| is_broker(pod));
    let brokers = brokers.map(|pod| (pod.name.clone(), admin(pod))).collect();
    Questions::of(brokers, &groups(world, site))
}

/// Returns where groups are reached.
pub(crate) fn groups(world: &World, site: &Site) -> Groups {
    let address = |pod: &PodFacts| Some(loopback(site.ports(world, &pod.name)?.remoting).to_string());
    let group = |status: &GroupStatus| {
        let index = u32::try_from(status.index).ok()?;
        let (pod, name) = (world.master(index), group_name(world.manifest(), index));
        Some(Group {
            index,
            state: status.state.clone(),
            master: pod.and_then(address).map(|address| Master { name, address }),
            master_is_ready: pod.is_some_and(|pod| pod.ready),
        })
    };
    let name_servers = world.pods.values().filter(|pod| !is_broker(pod));
    Groups {
        cluster: world.manifest().name().to_owned(),
        groups: world.kept.status.brokers.group_statuses.iter().filter_map(group).collect(),
        name_servers: name_servers.filter_map(address).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use members::{Answers, Draining};
    use planner::Timestamp;

    use super::*;
    use crate::world::Kept;

    /// Consumers of the one that is left out would look idle, and what they have not read would go with the group.
    #[test]
    fn what_a_group_holds_is_asked_only_while_the_masters_of_all_others_are_there() {
        let text = "{ apiVersion: gantry.rs/v1alpha1, kind: RocketMQCluster, metadata: { name: dev }, spec: { version: 0.1.0, \
                    nameServers: { replicas: 1 }, brokers: { groups: 3, replicasPerGroup: 1, storage: { size: 1Gi } } } }";
        let manifest = manifest::load(text).unwrap().elsewhere().unwrap();
        let mut world = World::new(manifest, Kept::default(), Timestamp::UNIX_EPOCH).unwrap();
        world.settle(&Answers::default(), Timestamp::UNIX_EPOCH);
        world.kept.status.brokers.group_statuses[0].state = "Draining".to_owned();
        let site = Site { data: "data".into(), offset: 0, stops_within: Duration::from_secs(30) };
        let master =
            |name: &str, port: u16| Master { name: name.to_owned(), address: loopback(port).to_string() };
        let draining = Draining {
            cluster: "dev".to_owned(),
            master: master("dev-broker-0", 10911),
            other_masters: vec![master("dev-broker-1", 10931), master("dev-broker-2", 10951)],
            heirs: vec![master("dev-broker-1", 10931), master("dev-broker-2", 10951)],
            name_servers: vec![loopback(9876).to_string()],
        };
        assert_eq!(questions(&world, &site).drains, [(0, Some(draining))]);
        world.pod_has_gone("dev-broker-2-0");
        assert_eq!(questions(&world, &site).drains, [(0, None)]);
    }
}
