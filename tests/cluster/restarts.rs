//! A clean stop and a new start on the same data: everything is as it was.

use protocol::codes::{RequestCode, ResponseCode};
use protocol::requests::Fields;
use tests::cluster::Cluster;
use tests::consumer::{commit, committed};
use tests::ledger::Ledger;
use tests::options::Options;
use tests::talk::Talk;

#[test]
fn messages_topics_groups_offsets_and_name_server_keys_survive_a_clean_restart() {
    let mut cluster = Cluster::start("again", &Options::default());
    let ledger = Ledger::default();
    let mut broker = Talk::connect(&cluster.broker(0)).expect("the broker serves");
    for number in 0..300 {
        assert!(ledger.send(&mut broker, "Again", number % 4, 500).expect("the broker answers"));
    }
    commit(&mut broker, "G", "Again", 2, 41).expect("the broker answers");
    let mut names = Talk::connect(&cluster.name_server(0)).expect("the name server serves");
    let key = [("namespace", "TEST"), ("key", "k"), ("value", "kept")];
    names.call(RequestCode::PUT_KV_CONFIG, &Fields(&key), b"").expect("the name server answers");

    assert!(cluster.stop(), "{}", cluster.printed().join("\n"));
    cluster.start_again();

    let mut broker = Talk::connect(&cluster.broker(0)).expect("the broker serves again");
    assert_eq!(committed(&mut broker, "G", "Again", 2).expect("the broker answers"), Some(41));
    assert_eq!(ledger.judge(&cluster.broker(0), "Again", 4).broken, Vec::<String>::new());
    assert!(ledger.send(&mut broker, "Again", 0, 500).expect("the broker answers"));
    let mut names = Talk::connect(&cluster.name_server(0)).expect("the name server serves again");
    let answer =
        names.call(RequestCode::GET_KV_CONFIG, &Fields(&key[..2]), b"").expect("the name server answers");
    assert_eq!((answer.code, answer.field("value")), (ResponseCode::SUCCESS, "kept"));
    assert!(cluster.stop());
    assert_eq!(cluster.complaints(), Vec::<String>::new());
}

#[test]
fn a_second_cluster_on_the_same_ports_or_data_is_refused_with_the_reason() {
    let cluster = Cluster::start("first", &Options::default());
    let port = cluster.name_server(0).rsplit_once(':').map(|(_, port)| port.to_string()).unwrap_or_default();
    let manifest = cluster.data().with_file_name("cluster.yaml");
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let refused = tests::command::up(&manifest, elsewhere.path(), cluster.port_offset(), None);
    let output = refused.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains(&port), "{text}");

    let refused = tests::command::up(&manifest, &cluster.data(), cluster.port_offset() + 1, None);
    let output = refused.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("data"), "{text}");
}
