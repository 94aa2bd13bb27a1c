//! Members whose answers are set by a test, and which remember what they were told. Whoever has no answer set does not
//! answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use parking_lot::Mutex;
use planner::facts::{Answer, DrainFacts, MemberFacts, OnlyHere};

use crate::{AdminPort, Copying, Draining, Members, TellError};

/// What they would answer and what they were told.
#[derive(Debug, Default)]
pub struct Fake {
    pub says: Mutex<Says>,
    pub told: Mutex<Vec<Told>>,
}

/// The answers.
#[derive(Debug, Clone, Default)]
pub struct Says {
    /// By admin address; who has no entry here takes no settings either.
    pub status: BTreeMap<SocketAddr, MemberFacts>,
    /// By name of the group's master.
    pub drains: BTreeMap<String, DrainFacts>,
    /// By name of the master that lacks something.
    pub copies: BTreeMap<String, u32>,
}

/// Something they were told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Push { at: SocketAddr, properties: BTreeMap<String, String> },
    CopyMetadata(Copying),
    HandOver { from: String, what: OnlyHere },
}

impl Members for Fake {
    fn status(&self, at: &AdminPort) -> BoxFuture<'_, Answer<MemberFacts>> {
        ready(answer(self.says.lock().status.get(&at.address))).boxed()
    }

    /// A member that takes settings says from then on that it runs with their revision and permission.
    fn push(
        &self,
        at: &AdminPort,
        properties: &BTreeMap<String, String>,
    ) -> BoxFuture<'_, Result<(), TellError>> {
        self.told.lock().push(Told::Push { at: at.address, properties: properties.clone() });
        let mut says = self.says.lock();
        let Some(member) = says.status.get_mut(&at.address) else {
            return ready(Err(no_answer(format!("push settings to {}", at.address)))).boxed();
        };
        let number = |key: &str| properties.get(key).and_then(|text| text.parse::<u64>().ok());
        if let Some(revision) = number("configRevision").filter(|revision| *revision > member.config_revision)
        {
            member.config_revision = revision;
            let permission = number("brokerPermission").and_then(|number| u8::try_from(number).ok());
            member.permission = permission.unwrap_or(member.permission);
        }
        ready(Ok(())).boxed()
    }

    fn drain(&self, draining: &Draining) -> BoxFuture<'_, Answer<DrainFacts>> {
        ready(answer(self.says.lock().drains.get(&draining.master.name))).boxed()
    }

    fn copies(&self, copying: &Copying) -> BoxFuture<'_, Answer<u32>> {
        ready(answer(self.says.lock().copies.get(&copying.to.name))).boxed()
    }

    fn copy_metadata(&self, copying: &Copying) -> BoxFuture<'_, Result<u32, TellError>> {
        self.told.lock().push(Told::CopyMetadata(copying.clone()));
        let copied = match self.says.lock().copies.get_mut(&copying.to.name) {
            Some(lacking) => Ok(std::mem::take(lacking)),
            None => Err(no_answer(format!("copy topics and groups to {}", copying.to.name))),
        };
        ready(copied).boxed()
    }

    fn hand_over(&self, draining: &Draining, what: &OnlyHere) -> BoxFuture<'_, Result<u32, TellError>> {
        let from = draining.master.name.clone();
        self.told.lock().push(Told::HandOver { from: from.clone(), what: what.clone() });
        let made = match self.says.lock().drains.get_mut(&from) {
            Some(found) => {
                let made = std::mem::take(&mut found.only_here);
                Ok(u32::try_from(made.topics.len() + made.groups.len()).unwrap_or(u32::MAX))
            }
            None => Err(no_answer(format!("make what only {from} has on other groups"))),
        };
        ready(made).boxed()
    }
}

fn answer<T: Clone>(set: Option<&T>) -> Answer<T> {
    set.cloned().map_or(Answer::Unknown, Answer::Known)
}

fn no_answer(what: String) -> TellError {
    TellError::NoAnswer { what, why: "nobody there".to_owned() }
}
