//! Where each member stands, for everyone who waits for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use manifest::Role;
use tokio::sync::watch;

/// A member that is beyond help: it died too often in a row, or its settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{member} is given up: {how}{}; its log is {}", quoted(.last_words), log.display())]
pub struct MemberFailed {
    pub member: String,
    /// How its last process ended.
    pub how: String,
    /// The last line of its log, when there is one.
    pub last_words: Option<String>,
    pub log: PathBuf,
}

/// Where one member stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) role: Role,
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// Whether the cluster ends when it is given up: it was there from the start.
    pub(crate) vital: bool,
    /// The process, while there is one.
    pub(crate) pid: Option<u32>,
    pub(crate) ready: bool,
    /// Whether nobody waits for it any more: a slave that has far to go.
    pub(crate) late: bool,
    pub(crate) failed: Option<MemberFailed>,
}

/// Where all members stand, by name.
#[derive(Debug, Clone)]
pub(crate) struct Board(watch::Sender<BTreeMap<String, Standing>>);

impl Standing {
    /// Returns the standing of a member that is about to start.
    pub(crate) fn new(role: Role, address: SocketAddr) -> Standing {
        Standing { role, address, vital: true, pid: None, ready: false, late: false, failed: None }
    }
}

impl Board {
    /// Returns a board without members.
    pub(crate) fn new() -> Board {
        Board(watch::Sender::new(BTreeMap::new()))
    }

    /// Adds a member, or puts it back to its beginning.
    pub(crate) fn add(&self, member: &str, standing: Standing) {
        self.0.send_modify(|members| {
            members.insert(member.to_owned(), standing);
        });
    }

    /// Takes a member away.
    pub(crate) fn remove(&self, member: &str) {
        self.0.send_modify(|members| {
            members.remove(member);
        });
    }

    /// Returns the addresses of all members of a role, ordered by name.
    pub(crate) fn addresses(&self, role: Role) -> Vec<SocketAddr> {
        let members = self.0.borrow();
        members.values().filter(|standing| standing.role == role).map(|standing| standing.address).collect()
    }

    /// Returns whether a member serves.
    pub(crate) fn is_ready(&self, member: &str) -> bool {
        self.0.borrow().get(member).is_some_and(|standing| standing.ready)
    }

    /// Changes one member's standing.
    pub(crate) fn update(&self, member: &str, change: impl FnOnce(&mut Standing)) {
        self.0.send_modify(|members| {
            if let Some(standing) = members.get_mut(member) {
                change(standing);
            }
        });
    }

    /// Returns the process of a member, while there is one.
    pub(crate) fn pid(&self, member: &str) -> Option<u32> {
        self.0.borrow().get(member).and_then(|standing| standing.pid)
    }

    /// Waits until all members of the role are ready at once, or late; `None` is every member.
    pub(crate) async fn all_ready(&self, role: Option<Role>) {
        let concerns = |standing: &Standing| role.is_none_or(|role| standing.role == role);
        // The sender lives as long as `self`, so the wait ends only with the condition.
        let _ = self
            .0
            .subscribe()
            .wait_for(|members| {
                members.values().all(|standing| standing.ready || standing.late || !concerns(standing))
            })
            .await;
    }

    /// Waits until a member is given up that was there from the start.
    pub(crate) async fn first_failure(&self) -> MemberFailed {
        let mut receiver = self.0.subscribe();
        loop {
            let failed = receiver
                .borrow_and_update()
                .values()
                .filter(|standing| standing.vital)
                .find_map(|standing| standing.failed.clone());
            if let Some(failed) = failed {
                return failed;
            }
            let _ = receiver.changed().await;
        }
    }
}

fn quoted(last_words: &Option<String>) -> String {
    last_words.as_ref().map(|words| format!("; it last said: {words}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        let board = Board::new();
        for (name, role) in [("n", Role::NameServer), ("b", Role::Broker)] {
            board.add(name, Standing::new(role, "127.0.0.1:1".parse().unwrap()));
        }
        board
    }

    #[tokio::test]
    async fn name_servers_are_ready_before_the_whole_cluster_is() {
        let board = board();
        board.update("n", |standing| standing.ready = true);
        board.all_ready(Some(Role::NameServer)).await;
        let whole = tokio::spawn({
            let board = board.clone();
            async move { board.all_ready(None).await }
        });
        board.update("b", |standing| standing.ready = true);
        whole.await.unwrap();
    }

    #[tokio::test]
    async fn nobody_waits_for_a_member_that_is_late() {
        let board = board();
        board.update("n", |standing| standing.ready = true);
        board.update("b", |standing| standing.late = true);
        board.all_ready(None).await;
    }

    #[tokio::test]
    async fn a_failure_is_told_with_the_last_words_and_the_log() {
        let board = board();
        let failed = MemberFailed {
            member: "b".to_owned(),
            how: "exit status: 2".to_owned(),
            last_words: Some("listenPort=x".to_owned()),
            log: "/d/b/log".into(),
        };
        board.update("b", |standing| standing.failed = Some(failed.clone()));
        assert_eq!(board.first_failure().await, failed);
        assert_eq!(
            failed.to_string(),
            "b is given up: exit status: 2; it last said: listenPort=x; its log is /d/b/log"
        );
    }
}
