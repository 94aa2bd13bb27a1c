//! Whom to ask what so that a plan can be made, and where they are reached.

use manifest::group_name;
use members::{AdminPort, Copying, Draining, Master, Questions, Token};
use planner::facts::PodFacts;

use crate::placement::Site;
use crate::ports::loopback;
use crate::world::{World, group_of, is_broker, ordinal};

/// Returns what there is to ask now.
pub(crate) fn questions(world: &World, site: &Site) -> Questions {
    let addresses = Addresses { world, site };
    let token = Token(world.kept.token.clone());
    let admin = |pod: &PodFacts| {
        let address = loopback(site.ports(world, &pod.name)?.of_broker?.admin);
        Some(AdminPort { address, token: token.clone() })
    };
    let brokers = world.pods.values().filter(|pod| is_broker(pod));
    let draining = world.groups_in_state("Draining");
    let joining = world.groups_in_state("Joining");
    Questions {
        status: brokers.map(|pod| (pod.name.clone(), admin(pod))).collect(),
        drains: draining.map(|group| (group, addresses.draining(group))).collect(),
        copies: joining.map(|group| (group, copying(world, site, group))).collect(),
    }
}

/// Returns from where a group that joins gets its topics: the first group that takes messages.
pub(crate) fn copying(world: &World, site: &Site, to: u32) -> Option<Copying> {
    let addresses = Addresses { world, site };
    let ready = |group: &u32| world.master(*group).is_some_and(|pod| pod.ready);
    let from = world.groups_in_state("Active").find(ready)?;
    Some(Copying { from: addresses.master(from)?, to: addresses.master(to)? })
}

struct Addresses<'a> {
    world: &'a World,
    site: &'a Site,
}

impl Addresses<'_> {
    fn draining(&self, group: u32) -> Option<Draining> {
        let pods = self.world.pods_in_order().into_iter();
        let others = pods
            .filter(|pod| is_broker(pod) && ordinal(pod) == 0)
            .filter_map(group_of)
            .filter(|other| *other != group);
        let name_servers = self.world.pods.values().filter(|pod| !is_broker(pod));
        Some(Draining {
            cluster: self.world.manifest().name().to_owned(),
            master: self.master(group)?,
            other_masters: others.filter_map(|other| self.master(other)).collect(),
            name_servers: name_servers.filter_map(|pod| self.of(&pod.name)).collect(),
        })
    }

    fn master(&self, group: u32) -> Option<Master> {
        let address = self.of(&self.world.master(group)?.name)?;
        Some(Master { name: group_name(self.world.manifest(), group), address })
    }

    fn of(&self, member: &str) -> Option<String> {
        Some(loopback(self.site.ports(self.world, member)?.remoting).to_string())
    }
}
