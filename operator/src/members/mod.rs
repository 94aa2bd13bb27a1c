//! Asking and telling a cluster's members: the one seam between the operator and the processes it looks after. Whoever
//! calls brings addresses, of pods as they were observed; no name is looked up for a broker, and nothing here knows of
//! Kubernetes.
//!
//! | Module   | Holds                                                                       |
//! |----------|-----------------------------------------------------------------------------|
//! | [`fake`] | members whose answers are set, for tests of what is made of them            |
//!
//! An answer that did not come is [`Answer::Unknown`], never a zero and never the answer of before.

pub mod fake;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use futures::future::BoxFuture;
use planner::facts::{Answer, DrainFacts, MemberFacts};

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

/// The masters and name servers that know what a draining group still holds. All addresses are `host:port` of the
/// remoting port: of brokers the pod's address and the port of the listener `internal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draining {
    /// Namespace and name; with `group` it says what is remembered from one look to the next.
    pub cluster: String,
    /// The group's `brokerName`.
    pub group: String,
    /// Its master.
    pub master: String,
    /// The masters of all other groups that run: a consumer group that is connected to any of them has members. One
    /// that is left out makes consumer groups look idle.
    pub other_masters: Vec<String>,
    /// Every name server that clients may ask, also those that are not ready, and external ones.
    pub name_servers: Vec<String>,
}

/// The masters of the group that has the topics and of the one that is to have them, as `host:port` of the remoting
/// port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copying {
    pub from: String,
    pub to: String,
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

    /// Asks how many topics and subscription groups the one has and the other lacks or has otherwise.
    fn copies(&self, copying: &Copying) -> BoxFuture<'_, Answer<u32>>;

    /// Makes those topics and subscription groups and returns how many there were. Repeatable; what it made before it
    /// failed stays.
    fn copy_metadata(&self, copying: &Copying) -> BoxFuture<'_, Result<u32, TellError>>;
}
