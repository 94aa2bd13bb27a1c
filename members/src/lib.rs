//! Asking and telling a cluster's members: the one seam between whoever carries out plans, the operator or `gantry up`,
//! and the processes. Callers bring addresses as they observed them; nothing here knows where a member runs.
//!
//! | Module   | Holds                                                                       |
//! |----------|-----------------------------------------------------------------------------|
//! | [`real`] | the members of real clusters, and a bound on each call                      |
//! | `questions` | what is asked before a plan is made, whom and in which order            |
//! | `admin_port` | status and settings, by HTTP                                            |
//! | `look`, `held`, `idle` | what a draining group holds: asked, decided, and for how long nobody reads |
//! | `copying` | topics and subscription groups for a group that joins                      |
//! | [`fake`] | members whose answers are set, for tests of what is made of them            |
//!
//! An answer that did not come is [`Answer::Unknown`], never a zero and never the answer of before.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admin_port;
mod copying;
pub mod fake;
mod held;
mod idle;
mod look;
mod questions;
pub mod real;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use futures::future::BoxFuture;
use planner::facts::{Answer, DrainFacts, MemberFacts, OnlyHere};

pub use questions::{Answers, Group, Groups, Questions};
pub use real::Real;

/// A broker's admin port and what opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminPort {
    /// The pod's address and its port `admin`.
    pub address: SocketAddr,
    /// `token` of the secret `<c>-internal`.
    pub token: Token,
}

/// A secret; its text is nowhere but in requests.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// A group's master by its remoting port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Master {
    /// The group's `brokerName`. A broker of another name at the address is not taken for this one: addresses of pods
    /// are given away again.
    pub name: String,
    /// The pod's address and its port `remoting`, `host:port`.
    pub address: String,
}

/// Everyone who knows what a draining group still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draining {
    /// Namespace and name; with the group it says what is remembered from one look to the next.
    pub cluster: String,
    pub master: Master,
    /// The masters of all other groups that run: a consumer group that is connected to any of them has members. One
    /// that is left out makes consumer groups look idle.
    pub other_masters: Vec<Master>,
    /// Those of them whose groups take messages and are to stay.
    pub heirs: Vec<Master>,
    /// Every name server that clients may ask as `host:port`, also those that are not ready, and external ones.
    pub name_servers: Vec<String>,
}

/// The masters that have the topics and the one that is to have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copying {
    /// What one of them has is copied; of what several have, the first one's.
    pub from: Vec<Master>,
    pub to: Master,
}

/// Why a member was not told something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TellError {
    /// No answer in time: it may have been taken over all the same. Telling it again does no harm.
    #[error("{what}: {why}")]
    NoAnswer { what: String, why: String },
    /// The member refuses it, in its words.
    #[error("{what}: refused: {why}")]
    Refused { what: String, why: String },
}

/// The members of all clusters. Every call ends within a named time and may be dropped at any moment; none is retried
/// here.
pub trait Members: Send + Sync {
    /// Asks a broker about itself.
    fn status(&self, at: &AdminPort) -> BoxFuture<'_, Answer<MemberFacts>>;

    /// Hands a broker its live settings. Returns when they hold, or when it has newer ones.
    fn push(
        &self,
        at: &AdminPort,
        properties: &BTreeMap<String, String>,
    ) -> BoxFuture<'_, Result<(), TellError>>;

    /// Asks what a draining group still holds.
    fn drain(&self, draining: &Draining) -> BoxFuture<'_, Answer<DrainFacts>>;

    /// Asks how many topics and subscription groups the others have and the one lacks or has otherwise.
    fn copies(&self, copying: &Copying) -> BoxFuture<'_, Answer<u32>>;

    /// Makes those topics and subscription groups and returns how many there were. Repeatable; what it made before it
    /// failed stays.
    fn copy_metadata(&self, copying: &Copying) -> BoxFuture<'_, Result<u32, TellError>>;

    /// Makes what only a draining group has on all that stay, as far as none of them has it, and returns how many there
    /// were. Repeatable; what it made before it failed stays.
    fn hand_over(&self, draining: &Draining, what: &OnlyHere) -> BoxFuture<'_, Result<u32, TellError>>;
}
