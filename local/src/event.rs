//! What happens to the members of a cluster, as the caller hears it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use manifest::Role;

/// One thing that happened. Events of one member come in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A member answered that it is ready, for the first time.
    Ready(Ready),
    /// A member that had died is ready again.
    Restarted(Ready),
    /// A member ended although nobody asked it to, or did not become ready in time.
    Died {
        member: String,
        /// How it ended: `exit status: 1`, `signal: 9 (SIGKILL)`.
        how: String,
        /// The last line of its log, when there is one that may say why.
        last_words: Option<String>,
        log: PathBuf,
        restart_in: Duration,
    },
    /// A member ended because it was asked to.
    Stopped {
        member: String,
        /// How it ended, when that was not a clean end.
        problem: Option<String>,
    },
    /// A member did not end in time and was killed.
    Killed { member: String, after: Duration },
    /// An edited manifest is followed from now on.
    EditAccepted,
    /// An edited manifest is not followed; what runs goes on as it is.
    EditRefused { problems: Vec<String> },
    /// Something is done on the way to what the manifest says.
    Step {
        /// In one word, as the events of a Kubernetes cluster have it: `DrainStarted`.
        reason: &'static str,
        text: String,
    },
    /// Something is still to come; told once until it is over.
    Waiting {
        /// In one word, as the conditions of a Kubernetes cluster have it: `ScalingOut`.
        reason: &'static str,
        text: String,
        /// Whether a person has to do something.
        blocked: bool,
    },
    /// What was edited is done: all is as the manifest says.
    AsWanted,
    /// Something the user should know that stops nothing.
    Note(String),
}

/// A member that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    pub member: String,
    pub role: Role,
    /// What it is in its cluster: `name server`, `master`, `slave`.
    pub duty: &'static str,
    /// Where clients reach it.
    pub address: SocketAddr,
    /// Where its probes and metrics are.
    pub health: SocketAddr,
    pub pid: u32,
    /// From the start of the process to the first answer that it is ready.
    pub took: Duration,
}
