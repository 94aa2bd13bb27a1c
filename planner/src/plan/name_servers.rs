//! How many name servers there are next and which of them brokers and clients are told of. No broker restarts for it.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::scale_in::elapsed;
use crate::shape::NameServersShape;

/// How long clients may still ask one that they are not told of any more: they look for name servers every two minutes,
/// and go on to the next when one refuses.
const CLIENTS_LEAVE: Duration = Duration::from_secs(60);

/// What decides.
pub(crate) struct NameServers {
    /// Of the StatefulSet, if there is one.
    pub(crate) now: Option<u32>,
    pub(crate) wanted: u32,
    /// The highest pod's place and one more.
    pub(crate) pods: u32,
    /// Since when all brokers are told of those that stay, and have confirmed it.
    pub(crate) confirmed_since: Option<Timestamp>,
    /// Whether one of those that stay is ready.
    pub(crate) one_stays_ready: bool,
    pub(crate) time: Timestamp,
}

/// Returns the next numbers, and what they wait for.
pub(crate) fn decide(servers: &NameServers) -> (NameServersShape, Option<&'static str>) {
    let wanted = servers.wanted;
    let (replicas, waiting) = match servers.now {
        None => (wanted.max(servers.pods), None),
        Some(now) if now <= wanted => (wanted, None),
        Some(now) => match servers.confirmed_since {
            None => (now, Some("brokers take over the shorter list of name servers")),
            Some(since) if elapsed(since, servers.time) < CLIENTS_LEAVE => {
                (now, Some("clients leave the name servers that go"))
            }
            Some(_) if !servers.one_stays_ready => (now, Some("no name server that stays is ready")),
            Some(_) => (wanted, None),
        },
    };
    // One that is not there yet is told of when its StatefulSet has it.
    let listed = servers.now.filter(|now| *now > 0).map_or(wanted, |now| now.min(wanted));
    (NameServersShape { replicas, listed, addressed: replicas.max(wanted).max(servers.pods) }, waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_after_name_servers_and_shrink_before_them() {
        let at = |second: i64| Timestamp::from_second(1_900_000_000 + second).unwrap();
        let usual = |now, wanted| NameServers {
            now,
            wanted,
            pods: now.unwrap_or(0),
            confirmed_since: Some(at(0)),
            one_stays_ready: true,
            time: at(60),
        };
        let cases = [
            ("made", usual(None, 3), (3, 3, 3)),
            ("as it should be", usual(Some(3), 3), (3, 3, 3)),
            ("more", usual(Some(1), 3), (3, 1, 3)),
            ("fewer", usual(Some(3), 1), (1, 1, 3)),
            ("not confirmed", NameServers { confirmed_since: None, ..usual(Some(3), 1) }, (3, 1, 3)),
            ("clients still ask", NameServers { time: at(59), ..usual(Some(3), 1) }, (3, 1, 3)),
            (
                "the one that stays is down",
                NameServers { one_stays_ready: false, ..usual(Some(3), 1) },
                (3, 1, 3),
            ),
        ];
        for (name, servers, (replicas, listed, addressed)) in cases {
            assert_eq!(decide(&servers).0, NameServersShape { replicas, listed, addressed }, "{name}");
        }
    }
}
