//! What is asked of brokers before a group goes and done for one that joins, as the operator and `gantry up` do it.

use std::collections::BTreeMap;

use ::members::{Copying, Draining, Master, Members, Real};
use planner::facts::{Answer, DrainFacts, OnlyHere};
use protocol::bodies::heartbeat::{ConsumerData, HeartbeatData, SubscriptionData};
use protocol::bodies::subscription_group::SubscriptionGroupConfig;
use protocol::bodies::topic_config::TopicConfig;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::json::JsonBody;
use protocol::requests::{EncodeExt, Fields, NoFields};
use tests::cluster::Cluster;
use tests::ledger::Ledger;
use tests::options::Options;
use tests::talk::{Answer as Said, Talk};
use tests::wait::until;

use crate::LIMIT;

const TOPIC: &str = "Held";
const READERS: &str = "readers";

#[test]
fn a_group_is_held_by_who_has_not_read_and_by_name_servers_that_lead_to_it() {
    let cluster = Cluster::start("drains", &Options { name_servers: 2, groups: 2, ..Options::default() });
    let mut broker = Talk::connect(&cluster.broker(0)).expect("the broker serves");
    let ledger = Ledger::default();
    for (queue, messages) in [(0, 3), (1, 2)] {
        for _ in 0..messages {
            assert!(ledger.send(&mut broker, TOPIC, queue, 100).expect("the broker answers"));
        }
    }
    let asker = Asker::new();
    let draining = draining(&cluster);
    let held = || match asker.drain(&draining) {
        Answer::Known(facts) => facts,
        Answer::Unknown => panic!("the brokers answer"),
    };
    assert_eq!(held(), DrainFacts::default(), "nobody reads it, and producers are led to it");

    // Connected to the other group alone, and never read anything here.
    let reader = connect(&cluster.broker(1));
    let lags = |text: &str| vec![text.to_owned()];
    let expected = DrainFacts { remaining: 5, top_lags: lags("readers on Held: 5"), ..DrainFacts::default() };
    assert_eq!(held(), expected);
    commit(&mut broker, 0, 3);
    commit(&mut broker, 1, 1);
    let expected = DrainFacts { remaining: 1, top_lags: lags("readers on Held: 1"), ..DrainFacts::default() };
    assert_eq!(held(), expected);

    drop(reader);
    let alone =
        until("the broker to miss its client", LIMIT, || Some(held()).filter(|held| held.remaining == 0));
    let idle: Vec<(&str, u64)> = alone.idle.iter().map(|idle| (idle.name.as_str(), idle.remaining)).collect();
    assert_eq!(idle, [(READERS, 1)]);

    commit(&mut broker, 1, 2);
    assert_eq!(held(), DrainFacts::default());
    succeed(&mut broker, RequestCode::UPDATE_BROKER_CONFIG, &NoFields, b"brokerPermission=4");
    until("name servers to lead nobody there", LIMIT, || held().routes_are_read_only.then_some(()));

    let mut with_silent = draining.clone();
    with_silent.name_servers.push(closed_port());
    let facts = asker.drain(&with_silent);
    assert_eq!(
        facts,
        Answer::Known(DrainFacts::default()),
        "a name server that does not answer may lead there"
    );
    let other_is_gone = Master { address: closed_port(), ..draining.other_masters[0].clone() };
    let facts = asker.drain(&Draining { other_masters: vec![other_is_gone], ..draining.clone() });
    assert_eq!(facts, Answer::Unknown, "readers may be connected there");
    let elsewhere = Master { address: cluster.broker(1), ..draining.master.clone() };
    let facts = asker.drain(&Draining { master: elsewhere, ..draining });
    assert_eq!(facts, Answer::Unknown, "another broker has the address");
}

#[test]
fn a_group_that_joins_gets_the_topics_and_groups_of_another_and_only_what_it_lacks() {
    let cluster = Cluster::start("copies", &Options { groups: 2, ..Options::default() });
    let [mut from, mut to] =
        [0, 1].map(|group| Talk::connect(&cluster.broker(group)).expect("the broker serves"));
    let topic = [
        ("topic", TOPIC),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", "3"),
        ("writeQueueNums", "5"),
        ("perm", "4"),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "true"),
        ("attributes", "+message.type=FIFO"),
    ];
    succeed(&mut from, RequestCode::UPDATE_AND_CREATE_TOPIC, &Fields(&topic), b"");
    let group = SubscriptionGroupConfig {
        group_name: READERS.to_owned(),
        retry_max_times: 7,
        ..SubscriptionGroupConfig::default()
    };
    succeed(&mut from, RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &NoFields, &group.encode());
    let asker = Asker::new();
    let copying = Copying { from: vec![master(&cluster, 0)], to: master(&cluster, 1) };
    let lacks = || asker.runtime.block_on(asker.members.copies(&copying));
    let copy = || asker.runtime.block_on(asker.members.copy_metadata(&copying));
    assert_eq!((lacks(), copy(), lacks()), (Answer::Known(2), Ok(2), Answer::Known(0)));
    assert_eq!((copy(), lacks()), (Ok(0), Answer::Known(0)));

    let mut get = |code, fields: &[(&str, &str)]| succeed(&mut to, code, &Fields(fields), b"").body;
    let made =
        TopicConfig::decode(&get(RequestCode::GET_TOPIC_CONFIG, &[("topic", TOPIC)])).expect("a topic");
    let expected = TopicConfig {
        topic_name: TOPIC.to_owned(),
        read_queue_nums: 3,
        write_queue_nums: 5,
        perm: 4,
        order: true,
        attributes: BTreeMap::from([("message.type".to_owned(), "FIFO".to_owned())]),
        ..TopicConfig::default()
    };
    assert_eq!(made, expected);
    let made = get(RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG, &[("group", READERS)]);
    assert_eq!(SubscriptionGroupConfig::decode(&made).expect("a group"), group);

    let other = SubscriptionGroupConfig { retry_max_times: 3, ..group };
    succeed(&mut to, RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &NoFields, &other.encode());
    assert_eq!((lacks(), copy()), (Answer::Known(1), Ok(1)), "what is otherwise is made as it should be");
}

#[test]
fn what_only_a_group_has_that_goes_is_made_on_those_that_stay_and_nothing_else() {
    let cluster = Cluster::start("heirs", &Options { groups: 2, ..Options::default() });
    let [mut goes, mut stays] =
        [0, 1].map(|group| Talk::connect(&cluster.broker(group)).expect("the broker serves"));
    let make = |talk: &mut Talk, name: &str, queues: &str| {
        let topic = [
            ("topic", name),
            ("defaultTopic", "TBW102"),
            ("readQueueNums", queues),
            ("writeQueueNums", queues),
            ("perm", "6"),
            ("topicFilterType", "SINGLE_TAG"),
            ("topicSysFlag", "0"),
            ("order", "false"),
        ];
        succeed(talk, RequestCode::UPDATE_AND_CREATE_TOPIC, &Fields(&topic), b"");
    };
    make(&mut goes, "Alone", "3");
    make(&mut goes, "Both", "3");
    make(&mut stays, "Both", "7");
    let group =
        SubscriptionGroupConfig { group_name: READERS.to_owned(), ..SubscriptionGroupConfig::default() };
    succeed(&mut goes, RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &NoFields, &group.encode());
    let asker = Asker::new();
    let draining = Draining {
        name_servers: vec![cluster.name_server(0)],
        heirs: vec![master(&cluster, 1)],
        ..draining(&cluster)
    };
    let only_here = || asker.drain(&draining).known().expect("all answer").only_here.clone();
    let alone = OnlyHere { topics: vec!["Alone".to_owned()], groups: vec![READERS.to_owned()] };
    assert_eq!(only_here(), alone);
    let hand_over = |what: &OnlyHere| asker.runtime.block_on(asker.members.hand_over(&draining, what));
    let topics = OnlyHere { groups: Vec::new(), ..alone.clone() };
    assert_eq!((hand_over(&topics), only_here()), (Ok(1), OnlyHere { topics: Vec::new(), ..alone.clone() }));
    assert_eq!((hand_over(&alone), only_here(), hand_over(&alone)), (Ok(1), OnlyHere::default(), Ok(0)));
    for (name, queues) in [("Alone", 3), ("Both", 7)] {
        let there = succeed(&mut stays, RequestCode::GET_TOPIC_CONFIG, &Fields(&[("topic", name)]), b"").body;
        assert_eq!(TopicConfig::decode(&there).expect("a topic").write_queue_nums, queues, "{name}");
    }
}

struct Asker {
    runtime: tokio::runtime::Runtime,
    members: Real,
}

impl Asker {
    fn new() -> Asker {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Asker { runtime: runtime.expect("a runtime"), members: Real::new() }
    }

    fn drain(&self, draining: &Draining) -> Answer<DrainFacts> {
        self.runtime.block_on(self.members.drain(draining))
    }
}

fn master(cluster: &Cluster, group: u32) -> Master {
    let member = cluster.broker_member(group);
    let (name, _) = member.rsplit_once('-').expect("a name ends with an ordinal");
    Master { name: name.to_owned(), address: cluster.broker(group) }
}

fn draining(cluster: &Cluster) -> Draining {
    Draining {
        cluster: "default/drains".to_owned(),
        master: master(cluster, 0),
        other_masters: vec![master(cluster, 1)],
        heirs: Vec::new(),
        name_servers: (0..2).map(|index| cluster.name_server(index)).collect(),
    }
}

/// Connects a consumer; it is gone when the connection is dropped.
fn connect(broker: &str) -> Talk {
    let subscription = SubscriptionData {
        topic: TOPIC.to_owned(),
        sub_string: "*".to_owned(),
        ..SubscriptionData::default()
    };
    let consumer = ConsumerData {
        group_name: READERS.to_owned(),
        subscription_data_set: vec![subscription],
        ..ConsumerData::default()
    };
    let heartbeat = HeartbeatData {
        client_id: "reader".to_owned(),
        consumer_data_set: vec![consumer],
        ..HeartbeatData::default()
    };
    let mut talk = Talk::connect(broker).expect("the broker serves");
    succeed(&mut talk, RequestCode::HEART_BEAT, &NoFields, &heartbeat.encode());
    talk
}

fn commit(broker: &mut Talk, queue: i32, offset: i64) {
    let (queue, offset) = (queue.to_string(), offset.to_string());
    let fields =
        [("consumerGroup", READERS), ("topic", TOPIC), ("queueId", &queue), ("commitOffset", &offset)];
    succeed(broker, RequestCode::UPDATE_CONSUMER_OFFSET, &Fields(&fields), b"");
}

fn succeed(talk: &mut Talk, code: RequestCode, ext: &impl EncodeExt, body: &[u8]) -> Said {
    let answer = talk.call(code, ext, body).expect("the broker answers");
    assert_eq!(answer.code, ResponseCode::SUCCESS, "{code:?}: {}", answer.remark);
    answer
}

/// Returns an address at which nobody listens.
fn closed_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").to_string()
}
