//! A whole name server behind a real socket: what brokers, clients and tools send and what they get.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use daemon::signals::Shutdown;
use namesrv::{Config, Listeners, RunError};
use protocol::bodies::broker_member_group::BrokerMemberGroupAnswer;
use protocol::bodies::cluster_info::ClusterInfo;
use protocol::bodies::data_version::DataVersion;
use protocol::bodies::kv_table::KvTable;
use protocol::bodies::register_broker::{RegisterBrokerBody, body_crc32};
use protocol::bodies::route::{QueueData, TopicRouteData};
use protocol::bodies::topic_config::{TopicConfig, TopicConfigSerializeWrapper};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, CommandHead, Decoded};
use protocol::header::Serialization;
use protocol::json::JsonBody;
use protocol::requests::{BrokerIdentity, EncodeExt, Fields, NoFields, RegisterBroker};
use remoting::{Client, ClientOptions, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const CALL: Duration = Duration::from_secs(10);

struct Server {
    addr: SocketAddr,
    further: BTreeMap<String, SocketAddr>,
    http: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), RunError>>,
    folder: tempfile::TempDir,
}

impl Server {
    async fn start(settings: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), settings).await
    }

    async fn start_in(folder: tempfile::TempDir, settings: &str) -> Self {
        let text = format!("kvConfigPath={}\n{settings}", folder.path().join("kv.json").display());
        let config = Config::from_properties(&daemon::config::parse(&text).unwrap()).unwrap();
        let remoting = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (mut sockets, mut further) = (Vec::new(), BTreeMap::new());
        for (listener, _) in &config.listener_ports {
            let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
            further.insert(listener.clone(), socket.local_addr().unwrap());
            sockets.push((listener.clone(), socket));
        }
        let (addr, http_addr) = (remoting.local_addr().unwrap(), http.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let task = tokio::spawn(namesrv::run(
            config,
            Listeners { remoting, further: sockets, http: Some(http) },
            shutdown.clone(),
        ));
        Self { addr, further, http: http_addr, shutdown, task, folder }
    }

    async fn stop(self) -> tempfile::TempDir {
        self.shutdown.trigger();
        self.task.await.unwrap().unwrap();
        self.folder
    }

    async fn client(&self) -> Client {
        Client::connect(&self.addr.to_string(), ClientOptions::default()).await.unwrap()
    }

    /// A client that came by a further listener.
    async fn client_at(&self, listener: &str) -> Client {
        Client::connect(&self.further[listener].to_string(), ClientOptions::default()).await.unwrap()
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

async fn call(client: &Client, code: RequestCode, ext: &impl EncodeExt, body: &[u8]) -> Response {
    client.call(code, ext, body, CALL).await.unwrap()
}

async fn ask(client: &Client, code: RequestCode, fields: &[(&str, &str)]) -> Response {
    call(client, code, &Fields(fields), b"").await
}

fn refusal(response: &Response) -> (i32, &str) {
    (response.code.0, response.remark.as_deref().unwrap_or_default())
}

/// Waits for `condition` with a deadline.
async fn until<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    let wait = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(CALL, wait).await.expect("the condition holds in time");
}

fn broker(name: &'static str, id: i64, addr: &'static str) -> RegisterBroker<'static> {
    RegisterBroker {
        broker_name: name.into(),
        broker_addr: addr.into(),
        cluster_name: "C".into(),
        ha_server_addr: "ha:1".into(),
        broker_id: id,
        heartbeat_timeout_millis: None,
        enable_acting_master: Some(false),
        compressed: false,
        body_crc32: 0,
        zone_name: None,
        listeners: None,
    }
}

fn topics(names: &[&str]) -> RegisterBrokerBody {
    let topic = |name: &&str| TopicConfig { topic_name: (*name).to_owned(), ..TopicConfig::default() };
    let mut body = RegisterBrokerBody::default();
    body.topic_config_serialize_wrapper.data_version = version(1);
    body.topic_config_serialize_wrapper.topic_config_table =
        names.iter().map(|name| ((*name).to_owned(), topic(name))).collect();
    body
}

fn version(counter: i64) -> DataVersion {
    DataVersion { counter, state_version: 0, timestamp: 5 }
}

/// Registers `name` with topics T1 and T2 on `client`'s connection.
async fn register(client: &Client, name: &'static str, id: i64, addr: &'static str) {
    let body = topics(&["T1", "T2"]).encode();
    let response = call(client, RequestCode::REGISTER_BROKER, &broker(name, id, addr), &body).await;
    assert_eq!(response.code, ResponseCode::SUCCESS, "{response:?}");
}

async fn route(client: &Client, topic: &str) -> Option<TopicRouteData> {
    let response = ask(client, RequestCode::GET_ROUTEINFO_BY_TOPIC, &[("topic", topic)]).await;
    (response.code == ResponseCode::SUCCESS).then(|| TopicRouteData::decode(&response.body).unwrap())
}

/// One frame there and one back, of a client of any version.
async fn exchange(
    stream: &mut TcpStream,
    head: &CommandHead<'_>,
    ext: &impl EncodeExt,
    body: &[u8],
) -> (i32, Vec<u8>) {
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, head, ext, body);
    stream.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    loop {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "closed without an answer");
        if let Decoded::Frame(frame, _) = frame::decode(&answer) {
            assert_eq!((frame.header.opaque, frame.header.is_response()), (head.opaque, true));
            assert_eq!(frame.header.serialization, head.serialization);
            return (frame.header.code, frame.body.to_vec());
        }
    }
}

#[tokio::test]
async fn a_registered_broker_is_found_by_clients_of_every_version() {
    let server = Server::start("").await;
    let broker = server.client().await;
    register(&broker, "a", 0, "a0:1").await;

    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let queues = r#""filterServerTable":{},"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":16,"topicSysFlag":0,"writeQueueNums":16}]}"#;
    let legacy = format!(
        r#"{{"brokerDatas":[{{"brokerAddrs":{{0:"a0:1"}},"brokerName":"a","cluster":"C","enableActingMaster":false}}],{queues}"#
    );
    let standard = legacy.replace("{0:", "{\"0\":");
    for (serialization, version, asks, wanted) in [
        (Serialization::Json, 393, false, &legacy),
        (Serialization::Binary, 400, false, &legacy),
        (Serialization::Json, 393, true, &standard),
        (Serialization::Json, 401, false, &standard),
        (Serialization::Binary, 479, false, &standard),
    ] {
        let code = RequestCode::GET_ROUTEINFO_BY_TOPIC.0;
        let head = CommandHead { version, ..CommandHead::request(serialization, code, version) };
        let fields = [("topic", "T1"), ("acceptStandardJsonOnly", if asks { "true" } else { "false" })];
        let (code, body) = exchange(&mut stream, &head, &Fields(&fields), b"").await;
        assert_eq!((code, String::from_utf8(body).unwrap()), (0, wanted.clone()), "version {version}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_topic_and_an_unknown_code_are_refused_in_the_reference_words() {
    let server = Server::start("").await;
    let client = server.client().await;
    let response = ask(&client, RequestCode::GET_ROUTEINFO_BY_TOPIC, &[("topic", "T9")]).await;
    let wanted = "No topic route info in name server for the topic: T9\nSee \
                  https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";
    assert_eq!(refusal(&response), (17, wanted));
    let response = ask(&client, RequestCode::SEND_MESSAGE, &[]).await;
    assert_eq!(refusal(&response), (3, " request type 10 not supported"));
    let response = ask(&client, RequestCode::GET_ROUTEINFO_BY_TOPIC, &[]).await;
    assert_eq!(refusal(&response), (1, "the custom field <topic> is null"));
    server.stop().await;
}

#[tokio::test]
async fn a_closed_connection_unregisters_its_brokers_at_once() {
    let server = Server::start("").await;
    let (client, broker) = (server.client().await, server.client().await);
    register(&broker, "a", 0, "a0:1").await;
    register(&client, "b", 0, "b0:1").await;
    drop(broker);
    let only_b = async || {
        let names =
            route(&client, "T1").await.unwrap().broker_datas.into_iter().map(|group| group.broker_name);
        names.collect::<Vec<_>>() == ["b"]
    };
    until(only_b).await;
    server.stop().await;
}

#[tokio::test]
async fn a_reconnected_broker_survives_the_end_of_its_old_connection() {
    let server = Server::start("").await;
    let (client, old, new) = (server.client().await, server.client().await, server.client().await);
    register(&old, "a", 0, "a0:1").await;
    register(&old, "b", 0, "b0:1").await;
    register(&new, "a", 0, "a0:1").await;
    drop(old);
    // When b is gone, the end of the old connection has been handled.
    until(async || route(&client, "T1").await.unwrap().queue_datas.len() == 1).await;
    assert_eq!(route(&client, "T1").await.unwrap().queue_datas[0].broker_name, "a");
    server.stop().await;
}

async fn unregister(client: &Client, name: &'static str, addr: &'static str) {
    let identity = BrokerIdentity {
        broker_name: name.into(),
        broker_addr: addr.into(),
        cluster_name: "C".into(),
        broker_id: 0,
    };
    let response = call(client, RequestCode::UNREGISTER_BROKER, &identity, &[]).await;
    assert_eq!(response.code, ResponseCode::SUCCESS);
}

#[tokio::test]
async fn a_broker_that_was_replaced_does_not_take_its_successor_along() {
    let server = Server::start("").await;
    let (client, old, new) = (server.client().await, server.client().await, server.client().await);
    register(&old, "a", 0, "a0:1").await;
    register(&new, "a", 0, "a0:1").await;
    register(&new, "a", 0, "a0:1").await;
    unregister(&old, "a", "a0:1").await;
    assert!(route(&client, "T1").await.is_some(), "the new one is there");
    unregister(&new, "a", "a0:1").await;
    assert!(route(&client, "T1").await.is_none());
    server.stop().await;
}

#[tokio::test]
async fn a_broker_whose_predecessor_was_the_last_to_register_is_made_to_do_it_again() {
    let server = Server::start("").await;
    let (client, old, new) = (server.client().await, server.client().await, server.client().await);
    register(&new, "a", 0, "a0:1").await;
    register(&old, "a", 0, "a0:1").await;
    unregister(&old, "a", "a0:1").await;
    until(async || new.is_lost()).await;
    assert!(!old.is_lost() && route(&client, "T1").await.is_none());
    server.stop().await;
}

#[tokio::test]
async fn a_silent_broker_expires_and_its_connection_is_closed() {
    let server = Server::start("scanNotActiveBrokerInterval=10\n").await;
    let (client, silent) = (server.client().await, server.client().await);
    register(&client, "b", 0, "b0:1").await;
    let registration = RegisterBroker { heartbeat_timeout_millis: Some(1), ..broker("a", 0, "a0:1") };
    let body = topics(&["T1", "T3"]).encode();
    assert_eq!(
        call(&silent, RequestCode::REGISTER_BROKER, &registration, &body).await.code,
        ResponseCode::SUCCESS
    );
    until(async || route(&client, "T3").await.is_none()).await;
    until(async || silent.is_lost()).await;
    assert_eq!(route(&client, "T1").await.unwrap().queue_datas.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn every_form_of_the_register_body_is_understood_and_a_wrong_checksum_refused() {
    let server = Server::start("").await;
    let client = server.client().await;
    let body = topics(&["T1", "T2"]);
    let (plain, deflated) = (body.encode(), body.deflate());
    let compressed =
        RegisterBroker { compressed: true, body_crc32: body_crc32(&deflated), ..broker("a", 0, "a0:1") };
    assert_eq!(
        call(&client, RequestCode::REGISTER_BROKER, &compressed, &deflated).await.code,
        ResponseCode::SUCCESS
    );
    assert!(route(&client, "T2").await.is_some());

    let wrong = RegisterBroker { body_crc32: 77, ..broker("b", 0, "b0:1") };
    let response = call(&client, RequestCode::REGISTER_BROKER, &wrong, &plain).await;
    assert_eq!(refusal(&response), (1, "crc32 not match"));
    let garbage = call(&client, RequestCode::REGISTER_BROKER, &broker("b", 0, "b0:1"), b"{oops").await;
    assert_eq!(garbage.code, ResponseCode::SYSTEM_ERROR);
    assert!(garbage.remark.unwrap().starts_with("Failed to decode RegisterBrokerBody: "));
    let single =
        call(&client, RequestCode::REGISTER_BROKER, &broker("b", 0, "b0:1"), &topics(&["T1"]).encode()).await;
    assert_eq!(refusal(&single), (1, "register broker failed"));
    assert_eq!(route(&client, "T1").await.unwrap().queue_datas.len(), 1);

    // Brokers of the first days send their topics only.
    let wrapper = TopicConfigSerializeWrapper {
        data_version: version(1),
        topic_config_table: topics(&["T7", "T8"]).topic_config_serialize_wrapper.topic_config_table,
    };
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let request = CommandHead::request(Serialization::Json, RequestCode::REGISTER_BROKER.0, 1);
    let head = CommandHead { version: 36, ..request };
    assert_eq!(exchange(&mut stream, &head, &broker("o", 0, "o0:1"), &wrapper.encode()).await.0, 0);
    assert!(route(&client, "T7").await.is_some());
    server.stop().await;
}

#[tokio::test]
async fn a_slave_is_told_its_masters_addresses_and_every_broker_the_order_configuration() {
    let server = Server::start("orderMessageEnable=true\n").await;
    let client = server.client().await;
    let put = [("namespace", "ORDER_TOPIC_CONFIG"), ("key", "T1"), ("value", "a:4")];
    assert_eq!(ask(&client, RequestCode::PUT_KV_CONFIG, &put).await.code, ResponseCode::SUCCESS);
    let body = topics(&["T1", "T2"]).encode();
    let master = call(&client, RequestCode::REGISTER_BROKER, &broker("a", 0, "a0:1"), &body).await;
    assert_eq!((master.field("masterAddr"), master.field("haServerAddr")), (None, None));
    let slave = call(&client, RequestCode::REGISTER_BROKER, &broker("a", 1, "a1:1"), &body).await;
    assert_eq!((slave.field("masterAddr"), slave.field("haServerAddr")), (Some("a0:1"), Some("ha:1")));
    let order = BTreeMap::from([("T1".to_owned(), "a:4".to_owned())]);
    assert_eq!(KvTable::decode(&slave.body), Ok(KvTable { table: order }));
    assert_eq!(route(&client, "T1").await.unwrap().order_topic_conf.as_deref(), Some("a:4"));
    assert_eq!(route(&client, "T2").await.unwrap().order_topic_conf, None);
    server.stop().await;
}

#[tokio::test]
async fn data_versions_are_compared_and_heartbeats_and_departures_answered() {
    let server = Server::start("").await;
    let client = server.client().await;
    register(&client, "a", 0, "a0:1").await;
    let identity = [("brokerName", "a"), ("brokerAddr", "a0:1"), ("clusterName", "C"), ("brokerId", "0")];
    let query = async |version: DataVersion| {
        let response =
            call(&client, RequestCode::QUERY_DATA_VERSION, &Fields(&identity), &version.encode()).await;
        (response.field("changed").map(str::to_owned), DataVersion::decode(&response.body).ok())
    };
    assert_eq!(query(version(1)).await, (Some("false".to_owned()), Some(version(1))));
    assert_eq!(query(version(2)).await, (Some("true".to_owned()), Some(version(1))));
    assert_eq!(ask(&client, RequestCode::BROKER_HEARTBEAT, &identity).await.code, ResponseCode::SUCCESS);
    assert_eq!(ask(&client, RequestCode::UNREGISTER_BROKER, &identity).await.code, ResponseCode::SUCCESS);
    assert_eq!(query(version(1)).await, (Some("true".to_owned()), None));
    assert_eq!(route(&client, "T1").await, None);
    server.stop().await;
}

#[tokio::test]
async fn tools_list_and_change_brokers_and_topics() {
    let server = Server::start("").await;
    let client = server.client().await;
    register(&client, "a", 0, "a0:1").await;
    let clusters = ask(&client, RequestCode::GET_BROKER_CLUSTER_INFO, &[]).await;
    assert_eq!(
        String::from_utf8(clusters.body.to_vec()).unwrap(),
        r#"{"brokerAddrTable":{"a":{"brokerAddrs":{0:"a0:1"},"brokerName":"a","cluster":"C","enableActingMaster":false}},"clusterAddrTable":{"C":["a"]}}"#
    );
    assert!(ClusterInfo::decode(&clusters.body).is_ok());
    let group =
        ask(&client, RequestCode::GET_BROKER_MEMBER_GROUP, &[("clusterName", "C"), ("brokerName", "a")])
            .await;
    let group = BrokerMemberGroupAnswer::decode(&group.body).unwrap().broker_member_group;
    assert_eq!(group.broker_addrs, BTreeMap::from([(0, "a0:1".to_owned())]));

    let list = async |code, fields: &[(&str, &str)]| {
        let response = ask(&client, code, fields).await;
        String::from_utf8(response.body.to_vec()).unwrap()
    };
    assert_eq!(
        list(RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &[]).await,
        r#"{"topicList":["T1","T2"]}"#
    );
    assert_eq!(
        list(RequestCode::GET_TOPICS_BY_CLUSTER, &[("cluster", "C")]).await,
        r#"{"topicList":["T1","T2"]}"#
    );
    assert_eq!(list(RequestCode::GET_TOPICS_BY_CLUSTER, &[("cluster", "D")]).await, r#"{"topicList":[]}"#);
    let system = list(RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_NS, &[]).await;
    assert_eq!(system, r#"{"brokerAddr":"a0:1","topicList":["C","a"]}"#);
    for code in [
        RequestCode::GET_UNIT_TOPIC_LIST,
        RequestCode::GET_HAS_UNIT_SUB_TOPIC_LIST,
        RequestCode::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST,
    ] {
        assert_eq!(list(code, &[]).await, r#"{"topicList":[]}"#);
    }

    let perm = async || route(&client, "T1").await.unwrap().queue_datas[0].perm;
    let wiped = ask(&client, RequestCode::WIPE_WRITE_PERM_OF_BROKER, &[("brokerName", "a")]).await;
    assert_eq!((wiped.field("wipeTopicCount"), perm().await), (Some("2"), 4));
    let added = ask(&client, RequestCode::ADD_WRITE_PERM_OF_BROKER, &[("brokerName", "a")]).await;
    assert_eq!((added.field("addTopicCount"), perm().await), (Some("2"), 6));

    let queue = QueueData { broker_name: "a".to_owned(), perm: 6, ..QueueData::default() };
    let by_hand = TopicRouteData { queue_datas: vec![queue], ..TopicRouteData::default() };
    let fields = [("topic", "T7")];
    call(&client, RequestCode::REGISTER_TOPIC_IN_NAMESRV, &Fields(&fields), &by_hand.encode()).await;
    assert!(route(&client, "T7").await.is_some());
    ask(&client, RequestCode::DELETE_TOPIC_IN_NAMESRV, &[("topic", "T7"), ("clusterName", "D")]).await;
    assert!(route(&client, "T7").await.is_some());
    ask(&client, RequestCode::DELETE_TOPIC_IN_NAMESRV, &fields).await;
    assert!(route(&client, "T7").await.is_none());
    server.stop().await;
}

#[tokio::test]
async fn the_kv_configuration_survives_a_restart() {
    let server = Server::start("").await;
    let client = server.client().await;
    let item = [("namespace", "n"), ("key", "k"), ("value", "v")];
    assert_eq!(ask(&client, RequestCode::PUT_KV_CONFIG, &item).await.code, ResponseCode::SUCCESS);
    let nowhere = ask(&client, RequestCode::PUT_KV_CONFIG, &item[1..]).await;
    assert_eq!(refusal(&nowhere), (1, "namespace or key is null"));
    let nothing = ask(&client, RequestCode::PUT_KV_CONFIG, &item[..2]).await;
    assert_eq!(refusal(&nothing), (1, "the custom field <value> is null"));

    let server = Server::start_in(server.stop().await, "").await;
    let client = server.client().await;
    assert_eq!(ask(&client, RequestCode::GET_KV_CONFIG, &item[..2]).await.field("value"), Some("v"));
    let list = ask(&client, RequestCode::GET_KVLIST_BY_NAMESPACE, &item[..1]).await;
    assert_eq!(list.body, r#"{"table":{"k":"v"}}"#);
    assert_eq!(ask(&client, RequestCode::DELETE_KV_CONFIG, &item[..2]).await.code, ResponseCode::SUCCESS);
    let gone = ask(&client, RequestCode::GET_KV_CONFIG, &item[..2]).await;
    assert_eq!(refusal(&gone), (22, "No config item, Namespace: n Key: k"));
    let gone = ask(&client, RequestCode::GET_KVLIST_BY_NAMESPACE, &[("namespace", "m")]).await;
    assert_eq!(refusal(&gone), (22, "No config item, Namespace: m"));
    server.stop().await;
}

#[tokio::test]
async fn live_settings_take_effect_at_once_and_are_stored_and_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("namesrv.properties");
    let server = Server::start_in(folder, &format!("configStorePath={}\n", store.display())).await;
    let client = server.client().await;
    let update = async |text: &str| {
        call(&client, RequestCode::UPDATE_NAMESRV_CONFIG, &NoFields, text.as_bytes()).await
    };
    assert_eq!(update("enableAllTopicList=false\nenableTopicList=false\n").await.code, ResponseCode::SUCCESS);
    for (code, fields) in [
        (RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, vec![]),
        (RequestCode::GET_TOPICS_BY_CLUSTER, vec![("cluster", "C")]),
        (RequestCode::GET_UNIT_TOPIC_LIST, vec![]),
    ] {
        assert_eq!(refusal(&ask(&client, code, &fields).await), (1, "disable"));
    }
    assert!(std::fs::read_to_string(&store).unwrap().contains("enableTopicList=false\n"));

    assert_eq!(refusal(&update("kvConfigPath=/tmp/x\n").await), (16, "Can not update config in black list."));
    let restart = update("enableTopicList=true\nlistenPort=1\n").await;
    assert_eq!(restart.code, ResponseCode::SYSTEM_ERROR);
    assert!(
        restart.remark.unwrap().starts_with("listenPort=1: cannot be changed while the name server runs")
    );
    assert!(
        update("enableTopicList=maybe\n")
            .await
            .remark
            .unwrap()
            .starts_with("enableTopicList=maybe: allowed is")
    );
    let shown = ask(&client, RequestCode::GET_NAMESRV_CONFIG, &[]).await;
    let shown = String::from_utf8(shown.body.to_vec()).unwrap();
    assert!(shown.contains("listenPort=9876\n") && shown.contains("enableTopicList=false\n"), "{shown}");
    server.stop().await;
}

#[tokio::test]
async fn routes_wait_for_brokers_when_the_settings_say_so() {
    let server = Server::start("needWaitForService=true\n").await;
    let client = server.client().await;
    register(&client, "a", 0, "a0:1").await;
    let early = ask(&client, RequestCode::GET_ROUTEINFO_BY_TOPIC, &[("topic", "T1")]).await;
    assert_eq!(refusal(&early), (1, "name server not ready"));
    call(&client, RequestCode::UPDATE_NAMESRV_CONFIG, &NoFields, b"waitSecondsForService=0").await;
    assert!(route(&client, "T1").await.is_some());
    server.stop().await;
}

#[tokio::test]
async fn a_client_of_one_zone_sees_that_zone() {
    let server = Server::start("").await;
    let client = server.client().await;
    let body = topics(&["T1", "T2"]).encode();
    for (name, addr, zone) in [("a", "a0:1", "east"), ("b", "b0:1", "west")] {
        let registration = RegisterBroker { zone_name: Some(zone.into()), ..broker(name, 0, addr) };
        call(&client, RequestCode::REGISTER_BROKER, &registration, &body).await;
    }
    for (mode, zone, groups) in
        [("true", "WEST", 1), ("false", "west", 2), ("true", " ", 2), ("true", "north", 0)]
    {
        let fields = [("topic", "T1"), ("__ZONE_MODE", mode), ("__ZONE_NAME", zone)];
        let response = ask(&client, RequestCode::GET_ROUTEINFO_BY_TOPIC, &fields).await;
        let route = TopicRouteData::decode(&response.body).unwrap();
        assert_eq!((route.broker_datas.len(), route.queue_datas.len()), (groups, groups), "{mode} {zone}");
    }
    server.stop().await;
}

#[tokio::test]
async fn members_are_told_of_a_new_lowest_id() {
    let server = Server::start("notifyMinBrokerIdChanged=true\n").await;
    let client = server.client().await;
    let member = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr: &'static str = member.local_addr().unwrap().to_string().leak();
    register(&client, "a", 1, addr).await;
    register(&client, "a", 0, "127.0.0.1:1").await;
    let mut bytes = Vec::new();
    let (mut stream, _) = tokio::time::timeout(CALL, member.accept()).await.unwrap().unwrap();
    stream.read_to_end(&mut bytes).await.unwrap();
    let Decoded::Frame(frame, _) = frame::decode(&bytes) else { panic!("a whole frame") };
    assert_eq!((frame.header.code, frame.header.is_oneway()), (905, true));
    assert_eq!(frame.header.ext.get("minBrokerAddr").as_deref(), Some("127.0.0.1:1"));
    server.stop().await;
}

#[tokio::test]
async fn malformed_input_closes_that_connection_only() {
    let server = Server::start("").await;
    let client = server.client().await;
    register(&client, "a", 0, "a0:1").await;
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".as_slice(),
        &[0xff; 64],
        &[0, 0, 0, 0, 0, 0, 0, 0],
        &[0, 0, 0, 8, 9, 0, 0, 0, 1, 1, 1, 1],
        &[0, 0, 0, 12, 0, 0, 0, 8, b'{', b'o', b'o', b'p', b's', b'}', b'}', b'}'],
    ] {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let closed = tokio::time::timeout(CALL, stream.read(&mut [0; 64])).await.expect("closed in time");
        assert_eq!(closed.unwrap_or(0), 0, "{bytes:?}");
    }
    assert!(route(&client, "T1").await.is_some());
    let text = server.get("/metrics").await;
    assert!(text.contains("gantry_namesrv_connections_malformed_total 5"), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn one_way_requests_are_carried_out_and_never_answered() {
    let server = Server::start("").await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let mut bytes = Vec::new();
    let head = CommandHead::request(Serialization::Json, RequestCode::REGISTER_BROKER.0, 1).oneway();
    frame::encode(&mut bytes, &head, &broker("a", 0, "a0:1"), &topics(&["T1", "T2"]).encode());
    let unknown = CommandHead::request(Serialization::Json, 9999, 2).oneway();
    frame::encode(&mut bytes, &unknown, &NoFields, b"");
    stream.write_all(&bytes).await.unwrap();
    // `exchange` insists that the first answer belongs to its own request.
    let head = CommandHead::request(Serialization::Json, RequestCode::GET_ROUTEINFO_BY_TOPIC.0, 3);
    assert_eq!(exchange(&mut stream, &head, &Fields(&[("topic", "T1")]), b"").await.0, 0);
    server.stop().await;
}

#[tokio::test]
async fn health_and_metrics_tell_what_the_server_does() {
    let server = Server::start("").await;
    let client = server.client().await;
    register(&client, "a", 0, "a0:1").await;
    assert!(route(&client, "T9").await.is_none());
    for path in ["/livez", "/readyz", "/startupz"] {
        assert!(server.get(path).await.starts_with("HTTP/1.1 200 "), "{path}");
    }
    let text = server.get("/metrics").await;
    for line in [
        r#"gantry_namesrv_requests_total{request="REGISTER_BROKER",result="SUCCESS"} 1"#,
        r#"gantry_namesrv_requests_total{request="GET_ROUTEINFO_BY_TOPIC",result="TOPIC_NOT_EXIST"} 1"#,
        "gantry_namesrv_brokers 1.0",
        "gantry_namesrv_topics 2.0",
        "gantry_namesrv_connections 1.0",
    ] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn several_name_servers_know_nothing_of_each_other() {
    let (one, two) = (Server::start("").await, Server::start("").await);
    let (of_one, of_two) = (one.client().await, two.client().await);
    register(&of_one, "a", 0, "a0:1").await;
    assert!(route(&of_one, "T1").await.is_some());
    assert!(route(&of_two, "T1").await.is_none());
    register(&of_two, "a", 0, "a0:1").await;
    one.stop().await;
    assert!(route(&of_two, "T1").await.is_some());
    two.stop().await;
}

/// Ports are bound by the test; these only name the listeners.
const LISTENERS: &str = "listenerPorts=external=9877,other=9878\n";

/// Registers `a` as a Gantry broker with addresses at further listeners does.
async fn register_at(client: &Client, listeners: &'static str) -> Response {
    let registration =
        RegisterBroker { listeners: Some(listeners.into()), ..broker("a", 0, "10.0.0.1:10911") };
    call(client, RequestCode::REGISTER_BROKER, &registration, &topics(&["T1", "T2"]).encode()).await
}

#[tokio::test]
async fn clients_of_every_version_get_the_addresses_of_the_listener_they_came_by() {
    let server = Server::start(LISTENERS).await;
    let broker = server.client().await;
    let listeners = "internal=10.0.0.1:10911,external=mq.example.com:20911,other=192.0.2.7:30911";
    assert_eq!(register_at(&broker, listeners).await.code, ResponseCode::SUCCESS);

    for (port, addr) in [
        (server.addr, "10.0.0.1:10911"),
        (server.further["external"], "mq.example.com:20911"),
        (server.further["other"], "192.0.2.7:30911"),
    ] {
        let mut stream = TcpStream::connect(port).await.unwrap();
        let queues = r#""filterServerTable":{},"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":16,"topicSysFlag":0,"writeQueueNums":16}]}"#;
        let group = format!(
            r#"{{"brokerAddrs":{{0:"{addr}"}},"brokerName":"a","cluster":"C","enableActingMaster":false}}"#
        );
        let legacy = format!(r#"{{"brokerDatas":[{group}],{queues}"#);
        let standard = legacy.replace("{0:", "{\"0\":");
        let code = RequestCode::GET_ROUTEINFO_BY_TOPIC.0;
        for (serialization, version, asks, wanted) in [
            (Serialization::Json, 393, false, &legacy),
            (Serialization::Binary, 400, false, &legacy),
            (Serialization::Json, 393, true, &standard),
            (Serialization::Binary, 479, false, &standard),
        ] {
            let head = CommandHead { version, ..CommandHead::request(serialization, code, version) };
            let fields = [("topic", "T1"), ("acceptStandardJsonOnly", if asks { "true" } else { "false" })];
            let (code, body) = exchange(&mut stream, &head, &Fields(&fields), b"").await;
            assert_eq!((code, String::from_utf8(body).unwrap()), (0, wanted.clone()), "version {version}");
        }
        let ask = async |stream: &mut TcpStream, code: RequestCode, fields: &[(&str, &str)]| {
            let head = CommandHead::request(Serialization::Json, code.0, 9);
            String::from_utf8(exchange(stream, &head, &Fields(fields), b"").await.1).unwrap()
        };
        assert_eq!(
            ask(&mut stream, RequestCode::GET_BROKER_CLUSTER_INFO, &[]).await,
            format!(r#"{{"brokerAddrTable":{{"a":{group}}},"clusterAddrTable":{{"C":["a"]}}}}"#)
        );
        let of_a = [("clusterName", "C"), ("brokerName", "a")];
        let members = ask(&mut stream, RequestCode::GET_BROKER_MEMBER_GROUP, &of_a).await;
        assert!(members.contains(&format!(r#""brokerAddrs":{{0:"{addr}"}}"#)), "{members}");
        let system = ask(&mut stream, RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_NS, &[]).await;
        assert_eq!(system, format!(r#"{{"brokerAddr":"{addr}","topicList":["C","a"]}}"#));
    }
    assert!(
        server.get("/metrics").await.contains(r#"gantry_namesrv_listener_brokers{listener="other"} 1.0"#)
    );
    server.stop().await;
}

#[tokio::test]
async fn a_changed_address_is_seen_at_once_and_brokers_without_one_are_seen_inside_only() {
    let server = Server::start(LISTENERS).await;
    let (inside, outside) = (server.client().await, server.client_at("external").await);
    // As Java brokers and clusters with one listener register.
    register(&inside, "b", 0, "b0:1").await;
    assert_eq!(route(&inside, "T1").await.unwrap().queue_datas.len(), 1);
    let nowhere = ask(&outside, RequestCode::GET_ROUTEINFO_BY_TOPIC, &[("topic", "T1")]).await;
    assert_eq!(nowhere.code, ResponseCode::TOPIC_NOT_EXIST);

    for addr in ["external=mq:1", "external=mq:2"] {
        assert_eq!(register_at(&inside, addr).await.code, ResponseCode::SUCCESS);
        let seen = route(&outside, "T1").await.unwrap();
        let wanted = addr.strip_prefix("external=").unwrap().to_owned();
        assert_eq!(seen.broker_datas[0].broker_addrs, BTreeMap::from([(0, wanted)]));
        assert_eq!((seen.broker_datas.len(), seen.queue_datas.len()), (1, 1), "b is not there");
    }
    assert_eq!(route(&inside, "T1").await.unwrap().broker_datas.len(), 2);
    let other = server.client_at("other").await;
    assert_eq!(route(&other, "T1").await, None);
    server.stop().await;
}

#[tokio::test]
async fn addresses_that_cannot_be_used_are_refused_in_words_and_change_nothing() {
    let server = Server::start(LISTENERS).await;
    let client = server.client().await;
    assert_eq!(register_at(&client, "external=mq:1").await.code, ResponseCode::SUCCESS);
    for (listeners, words) in [
        ("external=mq", "gantryListeners: `mq` of listener external is no host:port"),
        ("a=h:1,b=h:1,c=h:1,d=h:1,e=h:1,f=h:1,g=h:1,h=h:1,i=h:1", "gantryListeners: more than 8 listeners"),
    ] {
        let refused = register_at(&client, listeners).await;
        assert_eq!(refusal(&refused), (1, words));
    }
    let outside = server.client_at("external").await;
    assert_eq!(route(&outside, "T1").await.unwrap().broker_datas[0].broker_addrs[&0], "mq:1");
    server.stop().await;
}

#[tokio::test]
async fn a_starting_server_answers_but_is_not_ready_before_brokers_have_come_or_the_time_is_over() {
    let server = Server::start("warmUpMillis=600000\n").await;
    assert!(server.get("/startupz").await.starts_with("HTTP/1.1 200 "));
    assert!(server.get("/livez").await.starts_with("HTTP/1.1 200 "));
    let early = server.get("/readyz").await;
    let words = "warming up: brokers registered so far: 0, waiting for more for 600 s at most (warmUpMillis)";
    assert!(early.starts_with("HTTP/1.1 503 ") && early.contains(words), "{early}");
    let client = server.client().await;
    register(&client, "a", 0, "a0:1").await;
    assert!(route(&client, "T1").await.is_some(), "it answers whoever asks");
    until(async || server.get("/readyz").await.starts_with("HTTP/1.1 200 ")).await;
    server.stop().await;

    let alone = Server::start("warmUpMillis=1\n").await;
    until(async || alone.get("/readyz").await.starts_with("HTTP/1.1 200 ")).await;
    alone.stop().await;
}
