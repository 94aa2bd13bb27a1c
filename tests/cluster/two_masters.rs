//! Two masters and two name servers that know nothing of each other: topics on both, also after a crash of one.

use protocol::codes::{RequestCode, ResponseCode};
use protocol::requests::Fields;
use tests::cluster::Cluster;
use tests::ledger::Ledger;
use tests::options::Options;
use tests::talk::Talk;
use tests::wait::until;

use crate::LIMIT;

const TOPIC: &str = "Both";

#[test]
fn a_topic_on_two_masters_is_routed_by_both_name_servers_also_after_one_master_was_killed() {
    let cluster = Cluster::start("two", &Options { name_servers: 2, groups: 2, ..Options::default() });
    for group in 0..2 {
        create_topic(&cluster.broker(group));
    }
    for index in 0..2 {
        until("both masters in the route", LIMIT, || (routed(&cluster, index) == [true, true]).then_some(()));
    }
    let ledgers = [Ledger::default(), Ledger::default()];
    for (group, ledger) in (0..).zip(&ledgers) {
        let mut talk = Talk::connect(&cluster.broker(group)).expect("the broker serves");
        assert!(ledger.send(&mut talk, TOPIC, 1, 100).expect("the broker answers"));
    }

    cluster.kill(&cluster.broker_member(1));
    cluster.wait_ready(&cluster.broker_member(1));
    for index in 0..2 {
        until("the master to come back", LIMIT, || (routed(&cluster, index) == [true, true]).then_some(()));
    }
    for (group, ledger) in (0..).zip(&ledgers) {
        assert_eq!(ledger.judge(&cluster.broker(group), TOPIC, 4).broken, Vec::<String>::new());
    }
}

fn create_topic(broker: &str) {
    let fields = [
        ("topic", TOPIC),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", "4"),
        ("writeQueueNums", "4"),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "false"),
    ];
    let mut talk = Talk::connect(broker).expect("the broker serves");
    let answer =
        talk.call(RequestCode::UPDATE_AND_CREATE_TOPIC, &Fields(&fields), b"").expect("the broker answers");
    assert_eq!(answer.code, ResponseCode::SUCCESS, "{}", answer.remark);
}

/// Says for each master whether a name server routes the topic to it.
fn routed(cluster: &Cluster, index: u32) -> [bool; 2] {
    let mut talk = Talk::connect(&cluster.name_server(index)).expect("the name server serves");
    let answer = talk.call(RequestCode::GET_ROUTEINFO_BY_TOPIC, &Fields(&[("topic", TOPIC)]), b"");
    let body = answer.expect("the name server answers").body;
    let route = String::from_utf8_lossy(&body).into_owned();
    [0, 1].map(|group| route.contains(&cluster.broker(group)))
}
