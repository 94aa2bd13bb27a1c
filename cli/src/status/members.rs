//! What the brokers said, put together: one row per broker, and what is not as it should be. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use protocol::bodies::ha_runtime_info::{HaClientRuntimeInfo, HaConnectionRuntimeInfo, HaRuntimeInfo};
use protocol::bodies::route::MASTER_ID;
use serde::Serialize;

use super::words;

/// Java's rule where a master says nothing better: a slave with a smaller gap is in sync.
const IN_SYNC_BELOW: i64 = 256 << 20;

/// A broker that a name server knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    pub cluster: String,
    /// The broker name.
    pub group: String,
    pub id: i64,
    pub address: String,
    /// What it said, or why it said nothing.
    pub answer: Result<Answer, String>,
}

/// What a broker said of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    pub log_end: Option<i64>,
    /// `None`: it does not know the request.
    pub replication: Option<HaRuntimeInfo>,
}

/// What is shown of a broker; `None` is not known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub cluster: String,
    pub group: String,
    pub id: i64,
    pub role: &'static str,
    pub address: String,
    pub reachable: bool,
    /// Where its log ends.
    pub log_end: Option<i64>,
    /// Up to where its master knows that a slave has the log.
    pub acked: Option<i64>,
    /// Bytes of the master's log that a slave has not acknowledged.
    pub lag_bytes: Option<i64>,
    /// For how long a slave has not had everything.
    pub lag_ms: Option<i64>,
    /// Whether its master counts a slave as in sync.
    pub in_sync: Option<bool>,
    /// Whether a slave is sent messages that are no longer in its master's memory.
    pub catching_up: Option<bool>,
    /// On a master: how many members of its group are in sync, itself among them.
    pub in_sync_members: Option<usize>,
    /// How many members of the group the name server knows.
    pub members: usize,
    /// Why it is not as it should be.
    pub problem: Option<String>,
}

/// What is shown of all brokers.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// By cluster, group and id.
    pub rows: Vec<Row>,
    /// Everything that is not as it should be, in words.
    pub problems: Vec<String>,
}

/// Puts together what the brokers said.
pub fn judge(observed: Vec<Observed>) -> Status {
    let mut groups: BTreeMap<(String, String), Vec<Observed>> = BTreeMap::new();
    for broker in observed {
        groups.entry((broker.cluster.clone(), broker.group.clone())).or_default().push(broker);
    }
    let largest = |cluster: &str| {
        let of_cluster = groups.iter().filter(|((name, _), _)| name == cluster);
        of_cluster.map(|(_, members)| members.len()).max().unwrap_or(0)
    };
    let expected: Vec<usize> = groups.keys().map(|(cluster, _)| largest(cluster)).collect();
    let mut status = Status { rows: Vec::new(), problems: Vec::new() };
    if groups.is_empty() {
        status.problems.push("no broker is registered".to_owned());
    }
    for (((_, name), members), expected) in groups.into_iter().zip(expected) {
        judge_group(&name, members, expected, &mut status);
    }
    status
}

/// `expected` members have the largest group of the cluster: a manifest makes all alike.
fn judge_group(name: &str, mut members: Vec<Observed>, expected: usize, status: &mut Status) {
    members.sort_by_key(|member| member.id);
    let registered: BTreeSet<i64> = members.iter().map(|member| member.id).collect();
    if !registered.contains(&MASTER_ID) {
        status.problems.push(format!("{name} has no master: only slaves are registered"));
    } else if members.len() < expected {
        let missing =
            format!("{name} has {} of the {expected} members that other groups have", members.len());
        status.problems.push(missing);
    }
    let mut rows: Vec<Row> = members.iter().map(|member| row(member, members.len())).collect();
    let master = members.iter().find(|member| member.id == MASTER_ID);
    let master = master.and_then(|master| master.answer.as_ref().ok());
    if let Some(master) = master {
        let followers = followers(master, &members);
        for (row, follower) in rows.iter_mut().zip(followers).filter(|(row, _)| row.id != MASTER_ID) {
            fill_slave(row, master, follower);
        }
    }
    let in_sync = 1 + rows.iter().filter(|row| row.in_sync == Some(true)).count();
    for row in &mut rows {
        row.in_sync_members = (row.id == MASTER_ID && row.reachable).then_some(in_sync);
        let problem =
            row.problem.as_ref().map(|problem| format!("{} {} of {name} {problem}", row.role, row.id));
        status.problems.extend(problem);
    }
    status.rows.append(&mut rows);
}

fn row(broker: &Observed, members: usize) -> Row {
    Row {
        cluster: broker.cluster.clone(),
        group: broker.group.clone(),
        id: broker.id,
        role: if broker.id == MASTER_ID { "master" } else { "slave" },
        address: broker.address.clone(),
        reachable: broker.answer.is_ok(),
        log_end: broker.answer.as_ref().ok().and_then(|answer| answer.log_end),
        acked: None,
        lag_bytes: None,
        lag_ms: None,
        in_sync: None,
        catching_up: None,
        in_sync_members: None,
        members,
        problem: broker.answer.as_ref().err().map(|error| format!("does not answer: {error}")),
    }
}

/// Says how far a slave is; `follower` is its connection at its master.
fn fill_slave(row: &mut Row, master: &Answer, follower: Option<&HaConnectionRuntimeInfo>) {
    let gap = master.log_end.zip(row.log_end).map(|(master, slave)| (master - slave).max(0));
    let Some(follower) = follower else {
        row.lag_bytes = gap;
        row.in_sync = match master.replication {
            // It says nothing about its slaves.
            None => gap.map(|gap| gap < IN_SYNC_BELOW),
            Some(_) => Some(false),
        };
        if row.in_sync == Some(false) && row.problem.is_none() {
            row.problem = Some(match master.replication {
                None => format!("is not in sync: {} behind", words::bytes(gap.unwrap_or(0))),
                Some(_) => "is not connected to its master".to_owned(),
            });
        }
        return;
    };
    row.acked = Some(follower.slave_ack_offset);
    row.lag_bytes = Some(follower.diff.max(0));
    row.lag_ms = follower.lag_millis;
    row.in_sync = Some(follower.in_sync);
    row.catching_up = follower.catching_up;
    if !follower.in_sync && row.problem.is_none() {
        let time = follower.lag_millis.map(|ms| format!(" for {}", words::time(ms))).unwrap_or_default();
        row.problem = Some(format!("is not in sync: {} behind{time}", words::bytes(follower.diff.max(0))));
    }
}

/// Finds each member's connection at the master. A slave of ours tells its own end of it; of others, one that
/// is alone on its host is known by that; the rest is matched by how far they are, which is what is shown.
fn followers<'a>(master: &'a Answer, members: &[Observed]) -> Vec<Option<&'a HaConnectionRuntimeInfo>> {
    let mut free: Vec<&HaConnectionRuntimeInfo> =
        master.replication.iter().flat_map(|replication| &replication.ha_connection_info).collect();
    let mut found = vec![None; members.len()];
    let slaves = || (0..members.len()).filter(|index| members[*index].id != MASTER_ID);
    for index in slaves() {
        let own = link(&members[index]).and_then(|link| link.local_addr.as_deref());
        if let Some(at) = free.iter().position(|follower| Some(follower.addr.as_str()) == own) {
            found[index] = Some(free.swap_remove(at));
        }
    }
    for index in slaves() {
        if found[index].is_some() {
            continue;
        }
        let host = host(&members[index].address);
        let alone = slaves().filter(|other| self::host(&members[*other].address) == host).count() == 1;
        let mut here = (0..free.len()).filter(|at| self::host(&free[*at].addr) == host);
        if let (true, Some(at), None) = (alone, here.next(), here.next()) {
            found[index] = Some(free.swap_remove(at));
        }
    }
    let mut rest: Vec<usize> = slaves().filter(|index| found[*index].is_none()).collect();
    let activated = |index: usize| link(&members[index]).is_some_and(|link| link.activated);
    rest.sort_by_key(|index| Reverse((activated(*index), log_end(&members[*index]))));
    free.sort_by_key(|follower| Reverse(follower.slave_ack_offset));
    for (index, follower) in rest.into_iter().zip(free) {
        found[index] = Some(follower);
    }
    found
}

fn link(broker: &Observed) -> Option<&HaClientRuntimeInfo> {
    broker.answer.as_ref().ok()?.replication.as_ref()?.ha_client_runtime_info.as_ref()
}

fn log_end(broker: &Observed) -> Option<i64> {
    broker.answer.as_ref().ok()?.log_end
}

fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master(log_end: i64, followers: Vec<HaConnectionRuntimeInfo>) -> Result<Answer, String> {
        let replication =
            HaRuntimeInfo { master: true, ha_connection_info: followers, ..HaRuntimeInfo::default() };
        Ok(Answer { log_end: Some(log_end), replication: Some(replication) })
    }

    fn follower(addr: &str, acked: i64, diff: i64) -> HaConnectionRuntimeInfo {
        HaConnectionRuntimeInfo {
            addr: addr.to_owned(),
            slave_ack_offset: acked,
            diff,
            in_sync: diff < 100,
            lag_millis: Some(diff * 10),
            catching_up: Some(false),
            ..HaConnectionRuntimeInfo::default()
        }
    }

    /// A slave of ours; of Java, without its own end of the link.
    fn slave(log_end: i64, local_addr: Option<&str>) -> Result<Answer, String> {
        let link = HaClientRuntimeInfo {
            activated: local_addr.is_some(),
            local_addr: local_addr.map(str::to_owned),
            ..HaClientRuntimeInfo::default()
        };
        let replication = HaRuntimeInfo { ha_client_runtime_info: Some(link), ..HaRuntimeInfo::default() };
        Ok(Answer { log_end: Some(log_end), replication: Some(replication) })
    }

    fn broker(group: &str, id: i64, address: &str, answer: Result<Answer, String>) -> Observed {
        Observed { cluster: "C".to_owned(), group: group.to_owned(), id, address: address.to_owned(), answer }
    }

    /// Id, acknowledged offset, lag and whether in sync.
    type Lag = (i64, Option<i64>, Option<i64>, Option<bool>);

    fn lags(status: &Status) -> Vec<Lag> {
        status.rows.iter().map(|row| (row.id, row.acked, row.lag_bytes, row.in_sync)).collect()
    }

    #[test]
    fn a_group_that_is_well_has_no_problem() {
        let status = judge(vec![
            broker("a", 1, "h:2", slave(990, Some("h:50000"))),
            broker("a", 0, "h:1", master(1_000, vec![follower("h:50000", 990, 10)])),
        ]);
        let row = Row {
            cluster: "C".to_owned(),
            group: "a".to_owned(),
            id: 0,
            role: "master",
            address: "h:1".to_owned(),
            reachable: true,
            log_end: Some(1_000),
            acked: None,
            lag_bytes: None,
            lag_ms: None,
            in_sync: None,
            catching_up: None,
            in_sync_members: Some(2),
            members: 2,
            problem: None,
        };
        let slave = Row {
            id: 1,
            role: "slave",
            address: "h:2".to_owned(),
            log_end: Some(990),
            acked: Some(990),
            lag_bytes: Some(10),
            lag_ms: Some(100),
            in_sync: Some(true),
            catching_up: Some(false),
            in_sync_members: None,
            ..row.clone()
        };
        assert_eq!(status, Status { rows: vec![row, slave], problems: Vec::new() });
    }

    #[test]
    fn slaves_of_one_host_are_told_apart_by_their_own_end_of_the_link() {
        let status = judge(vec![
            broker(
                "a",
                0,
                "h:1",
                master(1_000, vec![follower("h:50001", 10, 990), follower("h:50002", 1_000, 0)]),
            ),
            broker("a", 1, "h:2", slave(1_000, Some("h:50001"))),
            broker("a", 2, "h:3", slave(10, Some("h:50002"))),
        ]);
        let expected = [
            (0, None, None, None),
            (1, Some(10), Some(990), Some(false)),
            (2, Some(1_000), Some(0), Some(true)),
        ];
        assert_eq!(lags(&status), expected);
        assert_eq!(status.rows[0].in_sync_members, Some(2));
        assert_eq!(status.problems, ["slave 1 of a is not in sync: 990 B behind for 9.9 s"]);
    }

    #[test]
    fn a_java_slave_is_told_by_its_host_and_by_how_far_it_is() {
        let followers =
            vec![follower("h:50002", 400, 600), follower("g:50001", 10, 990), follower("h:50003", 990, 10)];
        let status = judge(vec![
            broker("a", 0, "h:1", master(1_000, followers)),
            broker("a", 1, "g:2", slave(20, None)),
            broker("a", 2, "h:3", slave(990, None)),
            broker("a", 3, "h:4", slave(410, None)),
        ]);
        let acked: Vec<Option<i64>> = status.rows.iter().map(|row| row.acked).collect();
        assert_eq!(acked, [None, Some(10), Some(990), Some(400)]);
    }

    #[test]
    fn a_slave_without_a_connection_is_out_of_sync_and_takes_nobody_elses() {
        let status = judge(vec![
            broker("a", 0, "h:1", master(1_000, vec![follower("h:50002", 500, 500)])),
            broker("a", 1, "h:2", slave(900, None)),
            broker("a", 2, "h:3", slave(500, Some("h:50002"))),
        ]);
        let expected = [
            (0, None, None, None),
            (1, None, Some(100), Some(false)),
            (2, Some(500), Some(500), Some(false)),
        ];
        assert_eq!(lags(&status), expected);
        assert_eq!(
            status.problems,
            [
                "slave 1 of a is not connected to its master",
                "slave 2 of a is not in sync: 500 B behind for 5.0 s",
            ]
        );
    }

    #[test]
    fn a_broker_that_does_not_answer_is_a_row_with_its_reason() {
        let status = judge(vec![
            broker("a", 0, "h:1", Err("connect to h:1: refused".to_owned())),
            broker("a", 1, "h:2", slave(900, None)),
        ]);
        assert_eq!(status.problems, ["master 0 of a does not answer: connect to h:1: refused"]);
        assert_eq!((status.rows[0].reachable, status.rows[0].in_sync_members), (false, None));
        assert_eq!(lags(&status)[1], (1, None, None, None));
    }

    #[test]
    fn a_slave_that_does_not_answer_is_shown_as_its_master_sees_it() {
        let status = judge(vec![
            broker("a", 0, "h:1", master(1_000, vec![follower("h:50001", 990, 10)])),
            broker("a", 1, "h:2", Err("no answer".to_owned())),
        ]);
        assert_eq!(lags(&status)[1], (1, Some(990), Some(10), Some(true)));
        assert_eq!(status.problems, ["slave 1 of a does not answer: no answer"]);
    }

    #[test]
    fn a_master_that_says_nothing_of_its_slaves_is_judged_by_the_ends_of_the_logs() {
        let old = |log_end| Ok(Answer { log_end: Some(log_end), replication: None });
        let status = judge(vec![
            broker("a", 0, "h:1", old(1 << 30)),
            broker("a", 1, "h:2", old((1 << 30) - 5)),
            broker("a", 2, "h:3", old(0)),
        ]);
        let expected =
            [(0, None, None, None), (1, None, Some(5), Some(true)), (2, None, Some(1 << 30), Some(false))];
        assert_eq!(lags(&status), expected);
        assert_eq!(status.problems, ["slave 2 of a is not in sync: 1.0 GiB behind"]);
    }

    #[test]
    fn a_group_with_fewer_members_than_the_others_misses_one() {
        let status = judge(vec![
            broker("a", 0, "h:1", master(0, vec![follower("h:5", 0, 0)])),
            broker("a", 1, "h:2", slave(0, None)),
            broker("b", 0, "h:3", master(0, Vec::new())),
            broker("c", 1, "h:4", slave(0, None)),
        ]);
        assert_eq!(
            status.problems,
            [
                "b has 1 of the 2 members that other groups have",
                "c has no master: only slaves are registered",
            ]
        );
    }

    #[test]
    fn clusters_are_not_compared_with_each_other_and_none_at_all_is_a_problem() {
        let mut other = broker("b", 0, "h:3", master(0, Vec::new()));
        other.cluster = "D".to_owned();
        let status = judge(vec![
            broker("a", 0, "h:1", master(0, vec![follower("h:5", 0, 0)])),
            broker("a", 1, "h:2", slave(0, None)),
            other,
        ]);
        assert_eq!(status.problems, [""; 0]);
        assert_eq!(judge(Vec::new()).problems, ["no broker is registered"]);
    }
}
