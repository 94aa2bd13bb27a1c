//! What members are asked so that a plan can be made, and their answers. Whom to ask is decided here, how is not.

use std::collections::BTreeMap;

use futures::future::{join, join_all};
use manifest::group_name;
use members::{AdminPort, Copying, Draining, Master, Members, Token};
use planner::facts::{Answer, PodFacts};

use crate::placement::Site;
use crate::ports::loopback;
use crate::world::{Answers, World, group_of, is_broker, ordinal};

/// Everything that is asked at once.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    /// By member.
    status: Vec<(String, AdminPort)>,
    /// By group.
    drains: Vec<(u32, Draining)>,
    copies: Vec<(u32, Copying)>,
}

impl Questions {
    /// Returns what there is to ask now.
    pub(crate) fn of(world: &World, site: &Site) -> Questions {
        let addresses = Addresses { world, site };
        let token = Token(world.kept.token.clone());
        let admin = |pod: &PodFacts| {
            let address = loopback(site.ports(world, &pod.name)?.of_broker?.admin);
            Some((pod.name.clone(), AdminPort { address, token: token.clone() }))
        };
        Questions {
            status: world.pods.values().filter_map(admin).collect(),
            drains: world
                .groups_in_state("Draining")
                .filter_map(|group| Some((group, addresses.draining(group)?)))
                .collect(),
            copies: world
                .groups_in_state("Joining")
                .filter_map(|group| Some((group, copying(world, site, group)?)))
                .collect(),
        }
    }

    /// Asks how members are, then what they hold: what is found on a group after it said that it takes no messages is all
    /// that it will ever hold. Each question has its own limit of time. Safe to cancel.
    pub(crate) async fn ask(&self, members: &dyn Members) -> Answers {
        let status = self.status.iter().map(async |(name, at)| (name.clone(), members.status(at).await));
        let drains =
            self.drains.iter().map(async |(group, draining)| (*group, members.drain(draining).await));
        let copies = self.copies.iter().map(async |(group, copying)| (*group, members.copies(copying).await));
        let status = join_all(status).await;
        let (drains, copies) = join(join_all(drains), join_all(copies)).await;
        Answers {
            members: status.into_iter().collect(),
            drains: drains.into_iter().collect(),
            copies: copies.into_iter().collect::<BTreeMap<u32, Answer<u32>>>(),
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::FutureExt;
    use futures::future::BoxFuture;
    use members::TellError;
    use planner::facts::{DrainFacts, MemberFacts};

    use super::*;

    /// Members that take a moment to say how they are.
    #[derive(Default)]
    struct Slow(Mutex<Vec<&'static str>>);

    impl Members for Slow {
        fn status(&self, _: &AdminPort) -> BoxFuture<'_, Answer<MemberFacts>> {
            async {
                tokio::task::yield_now().await;
                self.0.lock().unwrap().push("status");
                Answer::Unknown
            }
            .boxed()
        }

        fn drain(&self, _: &Draining) -> BoxFuture<'_, Answer<DrainFacts>> {
            async {
                self.0.lock().unwrap().push("drain");
                Answer::Unknown
            }
            .boxed()
        }

        fn push(&self, _: &AdminPort, _: &BTreeMap<String, String>) -> BoxFuture<'_, Result<(), TellError>> {
            unreachable!()
        }

        fn copies(&self, _: &Copying) -> BoxFuture<'_, Answer<u32>> {
            unreachable!()
        }

        fn copy_metadata(&self, _: &Copying) -> BoxFuture<'_, Result<u32, TellError>> {
            unreachable!()
        }
    }

    /// Otherwise a message could come in after the look and before the answer that no more come.
    #[tokio::test]
    async fn what_a_group_holds_is_looked_for_after_it_said_whether_it_takes_messages() {
        let master = Master { name: "g".to_owned(), address: String::new() };
        let draining =
            Draining { cluster: String::new(), master, other_masters: Vec::new(), name_servers: Vec::new() };
        let port = AdminPort { address: loopback(1), token: Token(String::new()) };
        let questions = Questions {
            status: vec![("g-0".to_owned(), port)],
            drains: vec![(0, draining)],
            copies: Vec::new(),
        };
        let members = Slow::default();
        questions.ask(&members).await;
        assert_eq!(*members.0.lock().unwrap(), ["status", "drain"]);
    }
}
