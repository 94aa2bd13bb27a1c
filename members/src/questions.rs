//! What members are asked before a plan is made, whom and in which order, and what they say.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::future::{BoxFuture, OptionFuture, join, join_all};
use planner::facts::{Answer, DrainFacts, MemberFacts};

use crate::{AdminPort, Copying, Draining, Master, Members};

/// How many members of a cluster are asked at a time how they are.
const MOST_ASKED_AT_A_TIME: usize = 32;

/// A cluster's groups, as they are recorded and reached.
#[derive(Debug)]
pub struct Groups {
    /// See [`Draining::cluster`].
    pub cluster: String,
    pub groups: Vec<Group>,
    /// See [`Draining::name_servers`].
    pub name_servers: Vec<String>,
}

/// One of them.
#[derive(Debug)]
pub struct Group {
    pub index: u32,
    /// `Joining`, `Active`, `Draining` or `Removing`.
    pub state: String,
    /// Nobody as long as it has no address.
    pub master: Option<Master>,
    pub master_is_ready: bool,
}

/// Everything there is to ask. Who has no address cannot be asked, and so does not answer.
#[derive(Debug, Default)]
pub struct Questions {
    /// By broker.
    pub status: Vec<(String, Option<AdminPort>)>,
    /// By group that drains.
    pub drains: Vec<(u32, Option<Draining>)>,
    /// By group that joins.
    pub copies: Vec<(u32, Option<Copying>)>,
}

/// What members and name servers said.
#[derive(Debug, Default)]
pub struct Answers {
    /// By broker.
    pub members: BTreeMap<String, Answer<MemberFacts>>,
    /// By group.
    pub drains: BTreeMap<u32, Answer<DrainFacts>>,
    pub copies: BTreeMap<u32, Answer<u32>>,
}

impl Groups {
    /// Returns the masters of groups and of the one that is to have what they have.
    pub fn copying(&self, from: &[u32], to: u32) -> Option<Copying> {
        let master = |index| self.groups.iter().find(|group| group.index == index)?.master.clone();
        let from = from.iter().map(|index| master(*index)).collect::<Option<_>>()?;
        Some(Copying { from, to: master(to)? })
    }

    /// Returns from where a group that joins gets its topics: all groups that take messages. One whose master does not run
    /// is not waited for: what only it has stays where clients find it, and more room may be just what is missing.
    fn copying_to(&self, to: u32) -> Option<Copying> {
        let active = self.groups.iter().filter(|group| group.state == "Active" && group.master_is_ready);
        let from: Vec<u32> = active.map(|group| group.index).collect();
        self.copying(&from, to).filter(|copying| !copying.from.is_empty())
    }

    /// Returns who knows what the group of this number still holds, and who is to have what only it has.
    pub fn draining_of(&self, index: u32) -> Option<Draining> {
        self.draining(self.groups.iter().find(|group| group.index == index)?)
    }

    /// Returns who knows what a group still holds. One that cannot be asked would make consumers look idle, so then nobody
    /// is.
    fn draining(&self, group: &Group) -> Option<Draining> {
        let others =
            || self.groups.iter().filter(|other| other.index != group.index && other.state != "Removing");
        let masters = |of: Vec<&Group>| of.into_iter().map(|other| other.master.clone()).collect();
        let other_masters: Option<Vec<Master>> = masters(others().collect());
        let heirs: Option<Vec<Master>> = masters(others().filter(|other| other.state == "Active").collect());
        Some(Draining {
            cluster: self.cluster.clone(),
            master: group.master.clone()?,
            other_masters: other_masters?,
            heirs: heirs?,
            name_servers: self.name_servers.clone(),
        })
    }
}

impl Questions {
    /// Returns what there is to ask these brokers, by name, and groups.
    pub fn of(brokers: Vec<(String, Option<AdminPort>)>, of: &Groups) -> Questions {
        let in_state = |state| of.groups.iter().filter(move |group| group.state == state);
        Questions {
            status: brokers,
            drains: in_state("Draining").map(|group| (group.index, of.draining(group))).collect(),
            copies: in_state("Joining").map(|group| (group.index, of.copying_to(group.index))).collect(),
        }
    }

    /// Asks how members are, then what they hold: what is found on a group after it said that it takes no messages is all
    /// that it will ever hold. Each question has its own limit of time. Safe to cancel.
    pub async fn ask(&self, members: &dyn Members) -> Answers {
        let status = asked(&self.status, |at| members.status(at));
        let status = futures::stream::iter(status).buffer_unordered(MOST_ASKED_AT_A_TIME).collect().await;
        // All at once: one that does not answer takes its whole time.
        let drains = join_all(asked(&self.drains, |draining| members.drain(draining)));
        let copies = join_all(asked(&self.copies, |copying| members.copies(copying)));
        let (drains, copies) = join(drains, copies).await;
        Answers {
            members: status,
            drains: drains.into_iter().collect(),
            copies: copies.into_iter().collect(),
        }
    }
}

fn asked<'a, K: Clone + Send, Q, T: 'a>(
    questions: &'a [(K, Option<Q>)],
    ask: impl Fn(&Q) -> BoxFuture<'a, Answer<T>>,
) -> impl Iterator<Item = impl Future<Output = (K, Answer<T>)>> {
    questions.iter().map(move |(of, question)| {
        let answer = OptionFuture::from(question.as_ref().map(&ask));
        async move { (of.clone(), answer.await.unwrap_or_default()) }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::FutureExt;
    use planner::facts::OnlyHere;

    use super::*;
    use crate::{Master, TellError, Token};

    /// Members that take a moment to say how they are.
    #[derive(Default)]
    struct Slow(Mutex<Vec<&'static str>>);

    impl Slow {
        fn say<T>(&self, begin: &'static str, end: &'static str) -> BoxFuture<'_, Answer<T>> {
            async move {
                self.0.lock().unwrap().push(begin);
                tokio::task::yield_now().await;
                self.0.lock().unwrap().push(end);
                Answer::Unknown
            }
            .boxed()
        }
    }

    impl Members for Slow {
        fn status(&self, _: &AdminPort) -> BoxFuture<'_, Answer<MemberFacts>> {
            self.say("status?", "status")
        }

        fn drain(&self, _: &Draining) -> BoxFuture<'_, Answer<DrainFacts>> {
            self.say("drain?", "drain")
        }

        fn copies(&self, _: &Copying) -> BoxFuture<'_, Answer<u32>> {
            self.say("copies?", "copies")
        }

        fn push(&self, _: &AdminPort, _: &BTreeMap<String, String>) -> BoxFuture<'_, Result<(), TellError>> {
            unreachable!()
        }

        fn copy_metadata(&self, _: &Copying) -> BoxFuture<'_, Result<u32, TellError>> {
            unreachable!()
        }

        fn hand_over(&self, _: &Draining, _: &OnlyHere) -> BoxFuture<'_, Result<u32, TellError>> {
            unreachable!()
        }
    }

    #[test]
    fn a_group_that_joins_gets_what_all_have_that_take_messages_and_run() {
        let group = |index: u32, state: &str, ready: bool| {
            let master = Master { name: format!("g{index}"), address: String::new() };
            Group { index, state: state.to_owned(), master: Some(master), master_is_ready: ready }
        };
        let of = |groups: Vec<Group>| {
            let groups = Groups { cluster: String::new(), groups, name_servers: Vec::new() };
            let questions = Questions::of(Vec::new(), &groups);
            let of =
                |copying: Copying| copying.from.into_iter().map(|master| master.name).collect::<Vec<_>>();
            questions.copies.into_iter().map(|(to, copying)| (to, copying.map(of))).collect::<Vec<_>>()
        };
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let groups = [
            group(0, "Active", true),
            group(1, "Draining", true),
            group(2, "Active", true),
            group(3, "Active", false),
        ];
        let joins = || group(4, "Joining", true);
        assert_eq!(of(groups.into_iter().chain([joins()]).collect()), [(4, names(&["g0", "g2"]))]);
        assert_eq!(of(vec![group(3, "Active", false), joins()]), [(4, None)]);
    }

    /// Otherwise a message could come in after the look and before the answer that no more come.
    #[tokio::test]
    async fn what_a_group_holds_is_looked_for_after_it_said_whether_it_takes_messages() {
        let master = Master { name: "g".to_owned(), address: String::new() };
        let copying = Copying { from: vec![master.clone()], to: master.clone() };
        let draining = Draining {
            cluster: String::new(),
            master,
            other_masters: vec![],
            heirs: vec![],
            name_servers: vec![],
        };
        let port = AdminPort { address: ([127, 0, 0, 1], 1).into(), token: Token(String::new()) };
        let questions = Questions {
            status: vec![("g-0".to_owned(), Some(port)), ("nowhere".to_owned(), None)],
            drains: vec![(0, Some(draining)), (1, None)],
            copies: vec![(2, Some(copying.clone())), (3, Some(copying)), (4, None)],
        };
        let members = Slow::default();
        let answers = questions.ask(&members).await;
        let said = ["drain?", "copies?", "copies?", "drain", "copies", "copies"];
        assert_eq!(*members.0.lock().unwrap(), [&["status?", "status"], &said[..]].concat());
        assert_eq!(answers.members["nowhere"], Answer::Unknown);
        assert_eq!(
            answers.drains.keys().chain(answers.copies.keys()).collect::<Vec<_>>(),
            [&0, &1, &2, &3, &4]
        );
    }
}
