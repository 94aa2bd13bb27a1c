//! Changing the mode of replication while everything runs, and what a slave refuses.

use std::sync::Arc;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::requests::Fields;
use tests::group::{Group, Setup};
use tests::ledger::{Ledger, send};
use tests::talk::Talk;

use crate::{CONFIG, TOPIC, assert_has_everything};

#[test]
fn the_mode_changes_while_the_master_runs_and_holds_from_the_next_send_on() {
    let group = Group::start(&Setup { config: CONFIG, ..Setup::default() });
    let ledger = Arc::new(Ledger::default());
    let mut talk = Talk::connect(&group.master.addr()).expect("the master serves");
    let mut send = || ledger.send(&mut talk, TOPIC, 0, 100).expect("the master answers");
    group.cut();
    assert!(send(), "asynchronous: nobody waits for a slave");
    set(&group, "brokerRole=SYNC_MASTER\ninSyncReplicas=2\n");
    assert!(!send(), "synchronous: acknowledged without the slave");
    assert_eq!(ledger.late(ResponseCode::FLUSH_SLAVE_TIMEOUT), 1);
    set(&group, "brokerRole=ASYNC_MASTER\n");
    assert!(send(), "asynchronous again");
    group.heal();
    group.assert_logs_identical();
    set(&group, "brokerRole=SYNC_MASTER\n");
    assert!(send(), "synchronous, with the slave");
    assert_has_everything(&ledger, &group.slave().addr());
    assert_eq!(group.complaints(&[]), Vec::<String>::new());
}

#[test]
fn a_slave_refuses_sends_and_changes_in_the_words_of_the_reference() {
    let group = Group::start(&Setup { config: CONFIG, ..Setup::default() });
    let mut talk = Talk::connect(&group.slave().addr()).expect("the slave serves");
    let answer = send(&mut talk, TOPIC, 0, 1, 100).expect("the slave answers");
    assert_eq!(answer.code, ResponseCode::SYSTEM_BUSY);
    assert_eq!(answer.remark, "[REJECTREQUEST]system busy, start flow control for a while");
    let topic = [
        ("topic", "New"),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", "4"),
        ("writeQueueNums", "4"),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "false"),
    ];
    let answer = talk.call(RequestCode::UPDATE_AND_CREATE_TOPIC, &Fields(&topic), b"").expect("an answer");
    assert_eq!(answer.code, ResponseCode::SYSTEM_ERROR);
    assert_eq!(
        answer.remark,
        "Can't modify topic or subscription group from slave broker, please execute it from master broker."
    );
}

fn set(group: &Group, properties: &str) {
    let mut talk = Talk::connect(&group.master.addr()).expect("the master serves");
    let answer = talk
        .call(RequestCode::UPDATE_BROKER_CONFIG, &Fields(&[]), properties.as_bytes())
        .expect("the master answers");
    assert_eq!(answer.code, ResponseCode::SUCCESS, "{properties}: {}", answer.remark);
}
