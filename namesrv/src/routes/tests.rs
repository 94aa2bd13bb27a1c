use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use protocol::bodies::data_version::DataVersion;
use protocol::bodies::route::{BrokerData, QueueData, TopicRouteData};
use protocol::bodies::topic_config::{TopicConfig, TopicConfigAndMappingSerializeWrapper};
use protocol::bodies::topic_list::TopicList;
use protocol::bodies::topic_queue_mapping::TopicQueueMappingInfo;
use protocol::listeners::ListenerAddresses;

use super::zone::keep_zone;
use super::*;

const PLAIN: Rules = Rules {
    support_acting_master: false,
    delete_topic_with_broker_registration: false,
    notify_min_broker_id_changed: false,
};
const ACTING: Rules = Rules { support_acting_master: true, notify_min_broker_id_changed: true, ..PLAIN };

/// `addr` in cluster C, registered as `id` of group `name` on a connection of its own, with topics T1 and T2.
fn broker(name: &str, id: i64, addr: &str) -> Registration {
    Registration {
        address: BrokerAddress::new("C", addr),
        broker_name: name.to_owned(),
        broker_id: id,
        ha_addr: format!("ha-{addr}"),
        zone_name: None,
        heartbeat_timeout: None,
        enable_acting_master: Some(false),
        connection: ConnectionId(addr.bytes().fold(0, |number, byte| number * 256 + u64::from(byte))),
        topics: topics(1, &["T1", "T2"]),
        filter_servers: None,
        listeners: ListenerAddresses::default(),
    }
}

fn topics(counter: i64, names: &[&str]) -> TopicConfigAndMappingSerializeWrapper {
    let topic = |name: &&str| TopicConfig { topic_name: (*name).to_owned(), ..TopicConfig::default() };
    TopicConfigAndMappingSerializeWrapper {
        data_version: DataVersion { counter, state_version: 0, timestamp: 7 },
        topic_config_table: names.iter().map(|name| ((*name).to_owned(), topic(name))).collect(),
        ..TopicConfigAndMappingSerializeWrapper::default()
    }
}

fn acting(registration: Registration) -> Registration {
    Registration { enable_acting_master: Some(true), ..registration }
}

fn accepted(is_new: bool) -> Result<Registered, RegisterRefusal> {
    Ok(Registered::Accepted { is_new, master: None, change: None })
}

fn table(rules: &Rules, registrations: impl IntoIterator<Item = Registration>) -> Routes {
    let (mut routes, now) = (Routes::default(), Instant::now());
    for registration in registrations {
        assert!(matches!(routes.register(registration, rules, now), Ok(Registered::Accepted { .. })));
    }
    routes
}

fn addresses(route: &TopicRouteData) -> Vec<(&str, i64, &str)> {
    let mut all = Vec::new();
    for group in &route.broker_datas {
        all.extend(
            group.broker_addrs.iter().map(|(id, addr)| (group.broker_name.as_str(), *id, addr.as_str())),
        );
    }
    all
}

fn perms(routes: &Routes, topic: &str) -> Vec<(String, i32)> {
    let route = routes.route(topic, &PLAIN).unwrap();
    route.queue_datas.into_iter().map(|queue| (queue.broker_name, queue.perm)).collect()
}

fn perm_of(routes: &Routes, topic: &str) -> i32 {
    let perms = perms(routes, topic);
    assert_eq!(perms.len(), 1);
    perms[0].1
}

#[test]
fn a_registered_broker_is_in_the_route_of_its_topics() {
    let mut routes = Routes::default();
    assert_eq!(routes.register(broker("a", 0, "a0:1"), &PLAIN, Instant::now()), accepted(true));
    let wanted = TopicRouteData {
        broker_datas: vec![BrokerData {
            broker_addrs: BTreeMap::from([(0, "a0:1".to_owned())]),
            broker_name: "a".to_owned(),
            cluster: "C".to_owned(),
            enable_acting_master: false,
            zone_name: None,
        }],
        queue_datas: vec![QueueData {
            broker_name: "a".to_owned(),
            perm: 6,
            read_queue_nums: 16,
            topic_sys_flag: 0,
            write_queue_nums: 16,
        }],
        ..TopicRouteData::default()
    };
    assert_eq!(routes.route("T1", &PLAIN), Some(wanted));
    assert_eq!(routes.route("T9", &PLAIN), None);
}

#[test]
fn registering_again_is_not_new() {
    let mut routes = table(&PLAIN, [broker("a", 0, "a0:1")]);
    assert_eq!(routes.register(broker("a", 0, "a0:1"), &PLAIN, Instant::now()), accepted(false));
    assert_eq!(routes.live_brokers(), 1);
}

#[test]
fn a_slave_hears_where_its_master_is_and_its_topics_do_not_count() {
    let mut routes = table(&PLAIN, [broker("a", 0, "a0:1")]);
    let slave = Registration { topics: topics(5, &["T1", "T9"]), ..broker("a", 1, "a1:1") };
    let master = MasterAddress { addr: "a0:1".to_owned(), ha_addr: "ha-a0:1".to_owned() };
    assert_eq!(
        routes.register(slave, &PLAIN, Instant::now()),
        Ok(Registered::Accepted { is_new: true, master: Some(master), change: None })
    );
    assert_eq!(addresses(&routes.route("T1", &PLAIN).unwrap()), [("a", 0, "a0:1"), ("a", 1, "a1:1")]);
    assert_eq!(routes.route("T9", &PLAIN), None);
}

#[test]
fn topics_change_only_with_the_data_version_but_missing_ones_are_added() {
    let mut routes = table(&PLAIN, [broker("a", 0, "a0:1")]);
    assert_eq!(routes.wipe_write_perm("a"), 2);

    let same = Registration { topics: topics(1, &["T1", "T2", "T3"]), ..broker("a", 0, "a0:1") };
    routes.register(same, &PLAIN, Instant::now()).unwrap();
    assert_eq!([perm_of(&routes, "T1"), perm_of(&routes, "T3")], [4, 6]);

    let newer = Registration { topics: topics(2, &["T1", "T2"]), ..broker("a", 0, "a0:1") };
    routes.register(newer, &PLAIN, Instant::now()).unwrap();
    assert_eq!(perm_of(&routes, "T1"), 6);
    assert!(routes.route("T3", &PLAIN).is_some(), "a topic not named again stays");
}

#[test]
fn a_registration_can_be_the_whole_truth() {
    let rules = Rules { delete_topic_with_broker_registration: true, ..PLAIN };
    let mut routes = table(&rules, [broker("a", 0, "a0:1"), broker("b", 0, "b0:1")]);
    let fewer = Registration { topics: topics(2, &["T1", "T3"]), ..broker("a", 0, "a0:1") };
    routes.register(fewer, &rules, Instant::now()).unwrap();
    assert_eq!(perms(&routes, "T2"), [("b".to_owned(), 6)]);
    assert_eq!(perms(&routes, "T3"), [("a".to_owned(), 6)]);
}

#[test]
fn an_address_has_one_id_so_a_promoted_slave_gives_its_old_one_up() {
    let mut routes = table(&PLAIN, [broker("a", 0, "a0:1"), broker("a", 1, "a1:1")]);
    routes.register(broker("a", 0, "a1:1"), &PLAIN, Instant::now()).unwrap();
    assert_eq!(addresses(&routes.route("T1", &PLAIN).unwrap()), [("a", 0, "a1:1")]);
}

#[test]
fn an_id_belongs_to_the_later_epoch() {
    let in_epoch = |epoch: i64, addr: &str| {
        let mut registration = broker("a", 0, addr);
        registration.topics.data_version.state_version = epoch;
        registration
    };
    let mut routes = table(&PLAIN, [in_epoch(5, "new:1"), broker("a", 1, "old:1")]);
    let by = "new:1".to_owned();
    assert_eq!(
        routes.register(in_epoch(4, "old:1"), &PLAIN, Instant::now()),
        Ok(Registered::Superseded { by })
    );
    assert_eq!(addresses(&routes.route("T1", &PLAIN).unwrap()), [("a", 0, "new:1")]);
    assert_eq!(routes.live_brokers(), 1);

    // Equal epochs: the last word counts, as after a restart at another address.
    routes.register(in_epoch(5, "other:1"), &PLAIN, Instant::now()).unwrap();
    assert_eq!(addresses(&routes.route("T1", &PLAIN).unwrap()), [("a", 0, "other:1")]);
}

#[test]
fn a_single_topic_is_refused_before_the_full_registration_and_leaves_nothing() {
    let mut routes = Routes::default();
    let single = || Registration { topics: topics(2, &["T3"]), ..broker("a", 0, "a0:1") };
    assert_eq!(routes.register(single(), &PLAIN, Instant::now()), Err(RegisterRefusal::SingleTopicFirst));
    assert_eq!(routes.cluster_info(), ClusterInfo::default());

    routes.register(broker("a", 0, "a0:1"), &PLAIN, Instant::now()).unwrap();
    assert_eq!(routes.register(single(), &PLAIN, Instant::now()), accepted(false));
    assert!(routes.route("T3", &PLAIN).is_some());
}

#[test]
fn the_data_version_is_compared_per_broker() {
    let routes = table(&PLAIN, [broker("a", 0, "a0:1")]);
    let version = |counter| DataVersion { counter, state_version: 0, timestamp: 7 };
    let known = BrokerAddress::new("C", "a0:1");
    for (address, version, changed) in [
        (&known, version(1), false),
        (&known, version(2), true),
        (&BrokerAddress::new("C2", "a0:1"), version(1), true),
        (&BrokerAddress::new("C", "a9:1"), version(1), true),
    ] {
        assert_eq!(routes.is_changed(address, &version), changed, "{address:?} {version:?}");
    }
    assert_eq!(routes.data_version(&known), Some(&version(1)));
}

#[test]
fn silence_longer_than_the_timeout_ends_a_broker() {
    let start = Instant::now();
    let mut routes = Routes::default();
    let brief = Registration { heartbeat_timeout: Some(Duration::from_secs(10)), ..broker("b", 0, "b0:1") };
    routes.register(broker("a", 0, "a0:1"), &PLAIN, start).unwrap();
    routes.register(brief.clone(), &PLAIN, start).unwrap();

    assert_eq!(routes.expire(&PLAIN, start + Duration::from_secs(10)), []);
    let gone = routes.expire(&PLAIN, start + Duration::from_millis(10_001));
    assert_eq!(gone, [Departed { address: brief.address, connection: brief.connection, changes: vec![] }]);
    assert_eq!(perms(&routes, "T1"), [("a".to_owned(), 6)]);

    assert_eq!(routes.expire(&PLAIN, start + Duration::from_secs(120)), []);
    assert_eq!(routes.expire(&PLAIN, start + Duration::from_millis(120_001)).len(), 1);
    assert_eq!(routes.cluster_info(), ClusterInfo::default());
    assert_eq!(routes.topic_count(), 0);
}

#[test]
fn every_sign_of_life_counts() {
    let start = Instant::now();
    let address = BrokerAddress::new("C", "a0:1");
    let mut routes = Routes::default();
    routes.register(broker("a", 0, "a0:1"), &PLAIN, start).unwrap();
    routes.touch(&address, start + Duration::from_secs(100));
    routes.touch(&BrokerAddress::new("C", "unknown:1"), start);
    assert_eq!(routes.expire(&PLAIN, start + Duration::from_secs(220)), []);
    assert_eq!(routes.expire(&PLAIN, start + Duration::from_secs(221)).len(), 1);
}

#[test]
fn a_closed_connection_ends_every_broker_registered_on_it_last() {
    let shared = ConnectionId(7);
    let on = |connection, registration| Registration { connection, ..registration };
    let mut routes = table(
        &PLAIN,
        [
            on(shared, broker("a", 0, "a0:1")),
            on(shared, broker("b", 0, "b0:1")),
            on(shared, broker("c", 0, "c0:1")),
            on(ConnectionId(8), broker("c", 0, "c0:1")),
        ],
    );
    let gone = routes.connection_closed(shared, &PLAIN);
    let gone: Vec<_> = gone.iter().map(|departed| departed.address.addr.as_str()).collect();
    assert_eq!(gone, ["a0:1", "b0:1"]);
    assert_eq!(perms(&routes, "T1"), [("c".to_owned(), 6)]);
    assert_eq!(routes.connection_closed(shared, &PLAIN), []);
}

#[test]
fn the_last_member_takes_group_cluster_topics_and_static_queues_along() {
    let mut with_mapping = broker("a", 0, "a0:1");
    let mapping =
        TopicQueueMappingInfo { bname: "a".to_owned(), topic: "T1".to_owned(), ..Default::default() };
    with_mapping.topics.topic_queue_mapping_info_map.insert("T1".to_owned(), mapping.clone());
    with_mapping.filter_servers = Some(vec!["filter:1".to_owned()]);
    let mut routes = table(&PLAIN, [with_mapping, broker("a", 1, "a1:1")]);
    let route = routes.route("T1", &PLAIN).unwrap();
    assert_eq!(route.topic_queue_mapping_by_broker, Some(BTreeMap::from([("a".to_owned(), mapping)])));
    assert_eq!(route.filter_server_table, BTreeMap::from([("a0:1".to_owned(), vec!["filter:1".to_owned()])]));

    assert_eq!(routes.unregister(&BrokerAddress::new("C", "a0:1"), "a", &PLAIN), None);
    assert_eq!(addresses(&routes.route("T1", &PLAIN).unwrap()), [("a", 1, "a1:1")]);
    assert_eq!(perm_of(&routes, "T1"), 6, "without acting masters the topics stay as they are");

    assert_eq!(routes.unregister(&BrokerAddress::new("C", "a1:1"), "a", &PLAIN), None);
    let empty = format!("{:?}", Routes::default());
    assert_eq!(format!("{routes:?}"), empty, "nothing is left behind");
}

#[test]
fn unregistering_what_is_unknown_changes_nothing() {
    let mut routes = table(&PLAIN, [broker("a", 0, "a0:1")]);
    let before = format!("{routes:?}");
    assert_eq!(routes.unregister(&BrokerAddress::new("C", "a9:1"), "a", &PLAIN), None);
    assert_eq!(routes.unregister(&BrokerAddress::new("C", "a9:1"), "z", &PLAIN), None);
    assert_eq!(format!("{routes:?}"), before);
}

#[test]
fn without_its_master_the_lowest_id_acts_read_only_until_the_master_is_back() {
    let group =
        || [acting(broker("a", 0, "a0:1")), acting(broker("a", 1, "a1:1")), acting(broker("a", 2, "a2:1"))];
    let mut routes = table(&ACTING, group());
    routes.unregister(&BrokerAddress::new("C", "a0:1"), "a", &ACTING);
    assert_eq!(perm_of(&routes, "T1"), 4);
    let route = routes.route("T1", &ACTING).unwrap();
    assert_eq!(addresses(&route), [("a", 0, "a1:1"), ("a", 2, "a2:1")]);
    assert_eq!(addresses(&routes.route("T1", &PLAIN).unwrap()), [("a", 1, "a1:1"), ("a", 2, "a2:1")]);

    // The stand-in registers on its own: its topics count, without the write bit.
    let stand_in = Registration { topics: topics(9, &["T1", "T3"]), ..acting(broker("a", 1, "a1:1")) };
    routes.register(stand_in, &ACTING, Instant::now()).unwrap();
    assert_eq!([perm_of(&routes, "T1"), perm_of(&routes, "T3")], [4, 4]);

    routes.register(acting(broker("a", 0, "a0:1")), &ACTING, Instant::now()).unwrap();
    assert_eq!(perm_of(&routes, "T1"), 6);
    assert_eq!(addresses(&routes.route("T1", &ACTING).unwrap()).len(), 3);
}

#[test]
fn nobody_acts_where_the_topic_can_be_written_or_members_watch_each_other_or_the_group_does_not_want_it() {
    let sync = "rmq_sys_SYNC_BROKER_MEMBER_a";
    let slave = |wants: bool| Registration {
        enable_acting_master: Some(wants),
        topics: topics(1, &["T1", sync]),
        ..broker("a", 1, "a1:1")
    };
    let mut routes = table(&ACTING, [slave(true)]);
    assert_eq!(addresses(&routes.route("T1", &ACTING).unwrap()), [("a", 0, "a1:1")]);
    assert_eq!(addresses(&routes.route(sync, &ACTING).unwrap()), [("a", 1, "a1:1")]);
    routes.add_write_perm("a");
    assert_eq!(addresses(&routes.route("T1", &ACTING).unwrap()), [("a", 1, "a1:1")]);

    let unwilling = table(&ACTING, [slave(false)]);
    assert_eq!(addresses(&unwilling.route("T1", &ACTING).unwrap()), [("a", 1, "a1:1")]);
}

#[test]
fn a_slave_older_than_acting_masters_brings_no_topics() {
    let slave = Registration { enable_acting_master: None, ..broker("a", 1, "a1:1") };
    let routes = table(&PLAIN, [slave]);
    assert_eq!(routes.topic_count(), 0);
}

#[test]
fn members_hear_of_a_new_lowest_id() {
    let mut routes = table(&ACTING, [acting(broker("a", 2, "a2:1"))]);
    let change =
        |min: i64, addr: &str, offline: Option<&str>, ha: Option<&str>, notify: &[&str]| MinBrokerIdChange {
            broker_name: "a".to_owned(),
            min_broker_id: min,
            min_broker_addr: addr.to_owned(),
            offline_broker_addr: offline.map(str::to_owned),
            ha_broker_addr: ha.map(str::to_owned),
            notify: notify.iter().map(|addr| (*addr).to_owned()).collect(),
        };
    let mut join =
        |id, addr: &str| match routes.register(acting(broker("a", id, addr)), &ACTING, Instant::now()) {
            Ok(Registered::Accepted { change, .. }) => change,
            other => panic!("{other:?}"),
        };
    assert_eq!(join(3, "a3:1"), None);
    assert_eq!(join(0, "a0:1"), Some(change(0, "a0:1", None, Some("ha-a0:1"), &["a2:1", "a3:1"])));
    assert_eq!(join(0, "a0:1"), None);

    let mut leave = |addr: &str| routes.unregister(&BrokerAddress::new("C", addr), "a", &ACTING);
    assert_eq!(leave("a0:1"), Some(change(2, "a2:1", Some("a0:1"), None, &["a2:1", "a3:1"])));
    assert_eq!(leave("a3:1"), None);
    assert_eq!(leave("a2:1"), None);
}

#[test]
fn members_hear_of_a_silent_master_too() {
    let start = Instant::now();
    let brief =
        Registration { heartbeat_timeout: Some(Duration::from_secs(1)), ..acting(broker("a", 0, "a0:1")) };
    let mut routes = Routes::default();
    routes.register(brief, &ACTING, start).unwrap();
    routes.register(acting(broker("a", 1, "a1:1")), &ACTING, start).unwrap();
    let gone = routes.expire(&ACTING, start + Duration::from_secs(2));
    let changes: Vec<_> = gone.iter().flat_map(|departed| &departed.changes).collect();
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].min_broker_id, changes[0].notify.as_slice()), (1, ["a1:1".to_owned()].as_slice()));
}

#[test]
fn topics_can_be_registered_by_hand_for_known_brokers_only() {
    let mut routes = table(&PLAIN, [broker("a", 0, "a0:1"), broker("b", 0, "b0:1")]);
    let queue = |name: &str| QueueData { broker_name: name.to_owned(), perm: 6, ..QueueData::default() };
    routes.register_topic("T7", vec![queue("a"), queue("nobody")]);
    routes.register_topic("T7", vec![]);
    assert_eq!(routes.route("T7", &PLAIN), None);
    routes.register_topic("T7", vec![queue("a")]);
    routes.register_topic("T7", vec![queue("b")]);
    assert_eq!(perms(&routes, "T7"), [("a".to_owned(), 6), ("b".to_owned(), 6)]);
}

#[test]
fn topics_are_deleted_everywhere_or_in_one_cluster() {
    let elsewhere = Registration { address: BrokerAddress::new("C2", "b0:1"), ..broker("b", 0, "b0:1") };
    let mut routes = table(&PLAIN, [broker("a", 0, "a0:1"), elsewhere]);
    routes.delete_topic("T1", Some("C9"));
    routes.delete_topic("T9", Some("C"));
    routes.delete_topic("T1", Some("C"));
    assert_eq!(perms(&routes, "T1"), [("b".to_owned(), 6)]);
    routes.delete_topic("T1", Some("C2"));
    assert_eq!(routes.route("T1", &PLAIN), None);
    routes.delete_topic("T2", None);
    assert_eq!(routes.topic_count(), 0);
}

#[test]
fn write_permission_is_wiped_and_added_per_group_and_counted() {
    let mut routes = table(&PLAIN, [broker("a", 0, "a0:1"), broker("b", 0, "b0:1")]);
    assert_eq!([routes.wipe_write_perm("a"), routes.wipe_write_perm("z")], [2, 0]);
    assert_eq!(perms(&routes, "T1"), [("a".to_owned(), 4), ("b".to_owned(), 6)]);
    assert_eq!(routes.add_write_perm("a"), 2);
    assert_eq!(perms(&routes, "T1"), [("a".to_owned(), 6), ("b".to_owned(), 6)]);
}

#[test]
fn topics_are_listed_by_cluster_and_by_unit() {
    let mut a = broker("a", 0, "a0:1");
    for (flag, name) in ["U0", "U1", "U2", "U3"].into_iter().enumerate() {
        let topic = TopicConfig {
            topic_name: name.to_owned(),
            topic_sys_flag: flag as i32,
            ..TopicConfig::default()
        };
        a.topics.topic_config_table.insert(name.to_owned(), topic);
    }
    let b = Registration { address: BrokerAddress::new("C2", "b0:1"), ..broker("b", 0, "b0:1") };
    let routes = table(&PLAIN, [a, b]);
    let names = |list: TopicList| list.topic_list.into_iter().collect::<Vec<_>>();
    assert_eq!(names(routes.all_topics()), ["T1", "T2", "U0", "U1", "U2", "U3"]);
    assert_eq!(names(routes.topics_of_cluster("C2")), ["T1", "T2"]);
    assert_eq!(names(routes.topics_of_cluster("C9")), Vec::<String>::new());
    assert_eq!(names(routes.unit_topics(UnitTopics::Unit)), ["U1", "U3"]);
    assert_eq!(names(routes.unit_topics(UnitTopics::UnitSubscribed)), ["U2", "U3"]);
    assert_eq!(names(routes.unit_topics(UnitTopics::UnitSubscribedOnly)), ["U2"]);
    let system = routes.system_topics();
    assert_eq!(system.broker_addr.as_deref(), Some("a0:1"));
    assert_eq!(names(system), ["C", "C2", "a", "b"]);
}

#[test]
fn groups_and_clusters_are_listed() {
    let routes = table(&PLAIN, [broker("a", 0, "a0:1"), broker("a", 1, "a1:1"), broker("b", 0, "b0:1")]);
    let info = routes.cluster_info();
    let names = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    assert_eq!(info.cluster_addr_table, BTreeMap::from([("C".to_owned(), names)]));
    let members = BTreeMap::from([(0, "a0:1".to_owned()), (1, "a1:1".to_owned())]);
    assert_eq!(info.broker_addr_table["a"].broker_addrs, members);
    assert_eq!(routes.member_group("C", "a").broker_addrs, members);
    assert_eq!(routes.member_group("C", "z").broker_addrs, BTreeMap::new());
}

#[test]
fn a_zone_sees_its_own_groups_and_those_without_a_master() {
    let zoned = |zone: &str, registration: Registration| Registration {
        zone_name: Some(zone.to_owned()),
        filter_servers: Some(vec!["f:1".to_owned()]),
        enable_acting_master: Some(false),
        ..registration
    };
    let routes = table(
        &PLAIN,
        [
            zoned("East", broker("a", 0, "a0:1")),
            zoned("west", broker("b", 0, "b0:1")),
            zoned("west", broker("c", 1, "c1:1")),
            broker("d", 0, "d0:1"),
        ],
    );
    let mut route = routes.route("T1", &PLAIN).unwrap();
    keep_zone(&mut route, "EAST");
    assert_eq!(addresses(&route), [("a", 0, "a0:1"), ("c", 1, "c1:1")]);
    let queues: Vec<_> = route.queue_datas.iter().map(|queue| queue.broker_name.as_str()).collect();
    assert_eq!(queues, ["a", "c"]);
    assert_eq!(route.filter_server_table.keys().collect::<Vec<_>>(), ["a0:1", "c1:1"]);
}

fn at(listeners: &str, registration: Registration) -> Registration {
    Registration { listeners: ListenerAddresses::parse(listeners).unwrap(), ..registration }
}

#[test]
fn a_listener_shows_its_own_addresses_and_only_brokers_that_have_one() {
    let routes = table(
        &PLAIN,
        [
            at("out=mq:20001,far=far:1", broker("a", 0, "a0:1")),
            at("out=mq:20002", broker("a", 1, "a1:1")),
            at("out=mq:20003", broker("b", 0, "b0:1")),
            broker("c", 0, "c0:1"),
        ],
    );
    let route = |listener: &str| routes.route_at(listener, routes.route("T1", &PLAIN).unwrap());
    let out = route("out").unwrap();
    assert_eq!(addresses(&out), [("a", 0, "mq:20001"), ("a", 1, "mq:20002"), ("b", 0, "mq:20003")]);
    let queues: Vec<_> = out.queue_datas.iter().map(|queues| queues.broker_name.as_str()).collect();
    assert_eq!(queues, ["a", "b"], "no queue without a broker");
    assert_eq!(addresses(&route("far").unwrap()), [("a", 0, "far:1")]);
    assert_eq!(route("none"), None);

    let info = routes.cluster_info_at("far");
    assert_eq!(info.broker_addr_table["a"].broker_addrs, BTreeMap::from([(0, "far:1".to_owned())]));
    assert_eq!(info.cluster_addr_table["C"], BTreeSet::from(["a".to_owned()]), "tools look up each name");
    assert!(routes.cluster_info_at("none").cluster_addr_table.is_empty());
    assert_eq!(
        routes.member_group_at("out", "C", "a").broker_addrs.into_values().collect::<Vec<_>>(),
        ["mq:20001", "mq:20002"]
    );
    assert!(routes.member_group_at("out", "C", "c").broker_addrs.is_empty());
    assert_eq!(routes.system_topics_at("far").broker_addr.as_deref(), Some("far:1"));
    assert_eq!((routes.brokers_at("out"), routes.brokers_at("far"), routes.brokers_at("none")), (3, 1, 0));
    assert_eq!(
        addresses(&routes.route("T1", &PLAIN).unwrap())[0],
        ("a", 0, "a0:1"),
        "inside nothing changes"
    );
}

#[test]
fn a_listeners_address_changes_and_goes_with_the_next_registration_and_stays_with_signs_of_life() {
    let mut routes = table(&PLAIN, [at("out=mq:1", broker("a", 0, "a0:1"))]);
    let seen = |routes: &Routes| {
        let route = routes.route_at("out", routes.route("T1", &PLAIN)?)?;
        addresses(&route).first().map(|(_, _, addr)| (*addr).to_owned())
    };
    routes.touch(&BrokerAddress::new("C", "a0:1"), Instant::now());
    assert_eq!(seen(&routes).as_deref(), Some("mq:1"));
    routes.register(at("out=mq:2", broker("a", 0, "a0:1")), &PLAIN, Instant::now()).unwrap();
    assert_eq!(seen(&routes).as_deref(), Some("mq:2"));
    routes.register(broker("a", 0, "a0:1"), &PLAIN, Instant::now()).unwrap();
    assert_eq!(seen(&routes), None);
}

#[test]
fn a_slave_that_stands_in_is_the_master_outside_too() {
    let slave = Registration { topics: topics(1, &["T1", "T2"]), ..acting(broker("a", 1, "a1:1")) };
    let mut routes = table(&ACTING, [acting(broker("a", 0, "a0:1")), at("out=mq:2", slave)]);
    routes.unregister(&BrokerAddress::new("C", "a0:1"), "a", &ACTING);
    let route = routes.route_at("out", routes.route("T1", &ACTING).unwrap()).unwrap();
    assert_eq!(addresses(&route), [("a", 0, "mq:2")]);
}

#[test]
fn only_brokers_that_were_not_there_count_as_new() {
    let (mut routes, start) = (Routes::default(), Instant::now());
    let later = start + Duration::from_secs(1);
    assert_eq!(routes.last_came(), None);
    routes.register(broker("a", 0, "a0:1"), &PLAIN, start).unwrap();
    routes.register(broker("a", 0, "a0:1"), &PLAIN, later).unwrap();
    assert_eq!(routes.last_came(), Some(start));
    routes.register(broker("a", 1, "a1:1"), &PLAIN, later).unwrap();
    assert_eq!(routes.last_came(), Some(later));
}
