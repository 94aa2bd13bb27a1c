//! Live settings from a file and from the admin port, and the stores that a member may have.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use client::admin_status::{AdminStatus, Role, StoreState};
use protocol::codes::{RequestCode, ResponseCode};
use support::operated::{Operated, write_live};
use support::*;

const SLAVE: [(&str, &str); 1] = [("brokerId", "1")];

/// Without the time that senders with an old route have, where no test is about it.
const NO_GRACE: (&str, &str) = ("writeGraceMillis", "0");

async fn ready(dir: &Path, text: &str) -> Operated {
    let broker = Operated::start(dir, &[NO_GRACE]).await;
    broker.write_live(text);
    broker.ready().await;
    broker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_without_live_settings_waits_for_them_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Operated::start(dir.path(), &[]).await;
    let status = broker.status_until("a reason", |status| status.reason.contains("is not there")).await;
    assert_eq!((status.ready, status.state, status.store_id), (false, StoreState::Recovering, None));
    assert_eq!(broker.probe("/startupz").await.0, 200);
    assert_eq!(broker.probe("/livez").await.0, 200);
    let (code, why) = broker.probe("/readyz").await;
    assert!(
        code == 503 && why.contains("waiting for live settings: ") && why.contains("live.properties"),
        "{why}"
    );
    assert!(!dir.path().join("store").exists(), "nobody knows yet whether it may have it");
    // One that cannot be used is told of as well.
    broker.write_live("slaveTimeout=0");
    let words = "waiting for live settings: slaveTimeout=0: allowed is 1 to";
    broker.status_until("the reason", |status| status.reason.starts_with(words)).await;
    assert_eq!(broker.push("slaveTimeout=9\nconfigRevision=4").await, (200, "{\"revision\":4}".to_owned()));
    let status = broker.ready().await;
    let store_id = status.store_id.clone().unwrap();
    let want = AdminStatus {
        version: daemon::build::VERSION.to_owned(),
        role: Role::Master,
        broker_name: "b".to_owned(),
        broker_id: 0,
        store_id: Some(store_id),
        state: StoreState::Ok,
        ready: true,
        reason: String::new(),
        log_begin: Some(0),
        log_end: Some(0),
        master_end: None,
        lag_bytes: None,
        lag_millis: None,
        in_sync: true,
        followers: Vec::new(),
        registered_at: Vec::new(),
        config_revision: 4,
        config_hash: status.config_hash.clone(),
        permission: 6,
        disk_used_percent: status.disk_used_percent,
    };
    assert_eq!(status, want);
    assert_eq!(broker.probe("/readyz").await, (200, "ok".to_owned()));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permission_is_taken_and_given_while_the_broker_runs() {
    let dir = tempfile::tempdir().unwrap();
    let broker = ready(dir.path(), "configRevision=1").await;
    let mut wire = broker.connect().await;
    assert_eq!(wire.put("T", "one", "").await.code, ResponseCode::SUCCESS);
    let mut consumer = broker.connect().await;
    let waiting = consumer.send(RequestCode::PULL_MESSAGE, &pull_fields("T", "1", "*", "15000"), b"").await;
    for (permission, sends, pulls) in [("4", false, true), ("0", false, false), ("6", true, true)] {
        let revision = broker.status().await.config_revision + 1;
        let pushed = broker.push(&format!("brokerPermission={permission}\nconfigRevision={revision}")).await;
        assert_eq!(pushed.0, 200, "{}", pushed.1);
        let refused = |answer: &Answer, what: &str| {
            answer.code == ResponseCode::NO_PERMISSION
                && answer.remark == format!("the broker[127.0.0.1] {what} message is forbidden")
        };
        let sent = wire.put("T", "two", "").await;
        let pulled = wire.pull("T", "0", "*", "0").await;
        assert_eq!(
            (sent.code == ResponseCode::SUCCESS, refused(&sent, "sending")),
            (sends, !sends),
            "{sent:?}"
        );
        assert_eq!(
            (pulled.code == ResponseCode::SUCCESS, refused(&pulled, "pulling")),
            (pulls, !pulls),
            "{pulled:?}"
        );
        assert_eq!(broker.status().await.permission.to_string(), permission);
    }
    let found = consumer.answer().await;
    assert_eq!((found.opaque, found.messages()), (waiting, vec![(1, "two".to_owned())]));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_to_be_read_only_takes_what_old_routes_bring_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Operated::start(dir.path(), &[]).await;
    broker.write_live("configRevision=1");
    broker.ready().await;
    let mut wire = broker.connect().await;
    assert_eq!(broker.push("brokerPermission=4\nconfigRevision=2").await.0, 200);
    assert_eq!(wire.put("T", "one", "").await.code, ResponseCode::SUCCESS);
    let status = broker.status().await;
    assert_eq!((status.config_revision, status.permission), (2, 6), "it may not go yet");
    assert_eq!(broker.push("brokerPermission=0\nconfigRevision=3").await.0, 200);
    assert_eq!(wire.put("T", "two", "").await.code, ResponseCode::NO_PERMISSION);
    assert_eq!(broker.status().await.permission, 0);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_the_file_hold_within_moments_and_a_bad_file_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = ready(dir.path(), "brokerRole=ASYNC_MASTER\nconfigRevision=1").await;
    let mut wire = broker.connect().await;
    let before = broker.status().await;
    assert_eq!(wire.put("T", "one", "").await.code, ResponseCode::SUCCESS);
    let sync = "brokerRole=SYNC_MASTER\ninSyncReplicas=2\nslaveTimeout=1\nautoCreateTopicEnable=false\n";
    broker.write_live(&format!("{sync}configRevision=2"));
    let now = broker.status_until("revision 2", |status| status.config_revision == 2).await;
    assert_ne!(now.config_hash, before.config_hash);
    assert_eq!(wire.put("T", "two", "").await.code, ResponseCode::FLUSH_SLAVE_TIMEOUT);
    assert_eq!(wire.put("U", "one", "").await.code, ResponseCode::TOPIC_NOT_EXIST);
    broker.write_live("brokerRole=ASYNC_MASTER\ninSyncReplicas=9\nconfigRevision=3");
    let status = broker.status_until("a refusal", |status| !status.reason.is_empty()).await;
    assert_eq!(
        (status.ready, status.config_revision, status.reason.as_str()),
        (true, 2, "live settings refused: inSyncReplicas=9: allowed is 1 to 5")
    );
    assert_eq!(
        wire.put("T", "three", "").await.code,
        ResponseCode::FLUSH_SLAVE_TIMEOUT,
        "the last good ones hold"
    );
    broker.write_live("brokerRole=ASYNC_MASTER\nconfigRevision=3");
    broker.status_until("revision 3", |status| status.config_revision == 3 && status.reason.is_empty()).await;
    assert_eq!(wire.put("T", "four", "").await.code, ResponseCode::SUCCESS);
    assert_eq!(
        wire.put("U", "one", "").await.code,
        ResponseCode::SUCCESS,
        "what it does not name is the default"
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_live_setting_can_be_changed_while_the_broker_runs() {
    let dir = tempfile::tempdir().unwrap();
    let broker = ready(dir.path(), "configRevision=1").await;
    let all = "autoCreateSubscriptionGroup=false autoCreateTopicEnable=false brokerIP1=10.9.8.7 brokerPermission=4 \
        brokerRole=SYNC_MASTER diskMaxUsedSpaceRatio=50 diskSpaceCleanForciblyRatio=60 diskSpaceWarningLevelRatio=70 \
        fileReservedTime=9 flushDiskType=SYNC_FLUSH flushIntervalCommitLog=9 haCatchUpBytesPerSecond=65536 \
        haMaxTimeSlaveNotCatchup=900 inSyncReplicas=2 listeners=external=mq:1,internal=10.9.8.7:10911 logLevel=warn \
        namesrvAddr=127.0.0.1:1 slaveReadEnable=true slaveTimeout=9 syncFlushTimeout=9";
    let all = all.split_whitespace().map(|pair| format!("{pair}\n")).collect::<String>();
    assert_eq!(broker.push(&format!("{all}configRevision=2")).await.0, 200);
    let mut wire = broker.connect().await;
    let shown = wire.call(RequestCode::GET_BROKER_CONFIG, &[], b"").await;
    let shown = String::from_utf8(shown.body).unwrap();
    for line in all.lines() {
        // Written as Java writes properties.
        assert!(shown.lines().any(|shown| shown == line), "{line} in {shown}");
    }
    let sent = wire.put("T", "one", "").await;
    assert_eq!(sent.remark, "the broker[10.9.8.7] sending message is forbidden");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_an_older_file_does_not_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let broker = ready(dir.path(), "brokerPermission=6\nconfigRevision=1").await;
    assert_eq!(broker.push("brokerPermission=4\nconfigRevision=5").await.0, 200);
    let late = broker.push("brokerPermission=6\nconfigRevision=4").await;
    assert_eq!(late, (200, "{\"revision\":5}".to_owned()), "it has newer ones");
    let (code, why) = broker.push("brokerPermission=5\nconfigRevision=6").await;
    assert_eq!((code, why.as_str()), (400, "brokerPermission=5: allowed is 6 or 4 or 0"));
    let (code, why) = broker.push("listenPort=1200\nconfigRevision=6").await;
    assert!(
        code == 400 && why.starts_with("listenPort=1200: cannot be changed while the broker runs"),
        "{why}"
    );
    broker.stop().await;
    let broker = Operated::start(dir.path(), &[]).await;
    let status = broker.ready().await;
    assert_eq!((status.config_revision, status.permission), (5, 4));
    broker.stop().await;
    // Also without a file: the store has what is needed.
    fs::remove_file(dir.path().join("live.properties")).unwrap();
    let broker = Operated::start(dir.path(), &[]).await;
    assert_eq!(broker.ready().await.config_revision, 5);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_cannot_be_kept_hold_all_the_same_and_are_kept_later() {
    let dir = tempfile::tempdir().unwrap();
    let broker = ready(dir.path(), "configRevision=1").await;
    let kept = || fs::read_to_string(dir.path().join("store/live.properties")).unwrap();
    assert_eq!(kept(), "configRevision=1");
    // A folder stands where the new file is to be made.
    let in_the_way = dir.path().join("store/live.tmp");
    fs::create_dir(&in_the_way).unwrap();
    assert_eq!(broker.push("brokerPermission=4\nconfigRevision=5").await.0, 200);
    let status = broker.status().await;
    assert_eq!((status.config_revision, status.permission, kept().as_str()), (5, 4, "configRevision=1"));
    fs::remove_dir(in_the_way).unwrap();
    until("they are kept", || kept() == "brokerPermission=4\nconfigRevision=5").await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_store_where_another_is_expected_is_held_until_it_may_be_taken() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    fs::create_dir(&store).unwrap();
    let broker = Operated::start(dir.path(), &[]).await;
    broker.write_live("expectedStoreId=gone\nconfigRevision=1");
    let status = broker.status_until("it is held", |status| status.state == StoreState::VolumeLost).await;
    assert_eq!((status.ready, status.store_id.as_deref(), status.log_end), (false, None, None));
    assert!(
        status.reason.starts_with("VolumeLost: ") && status.reason.contains("expected is gone"),
        "{status:?}"
    );
    let (code, why) = broker.probe("/readyz").await;
    assert_eq!((code, &why), (503, &status.reason));
    assert_eq!(broker.probe("/livez").await.0, 200);
    assert_eq!(fs::read_dir(&store).unwrap().count(), 0, "nothing was written");
    // Clients are not served: whatever they send, nobody answers before the store is there.
    let mut wire = broker.connect().await;
    let opaque = wire.send(RequestCode::GET_BROKER_CONFIG, &[], b"").await;
    assert_eq!(broker.push("configRevision=2").await.0, 200);
    let status = broker.ready().await;
    assert!(status.store_id.is_some(), "{status:?}");
    assert_eq!(wire.answer().await.opaque, opaque);
    // The one it runs with is expected from now on; no other one is while it runs.
    let own = status.store_id.unwrap();
    assert_eq!(broker.push(&format!("expectedStoreId={own}\nconfigRevision=3")).await.0, 200);
    let (code, why) = broker.push("expectedStoreId=gone\nconfigRevision=4").await;
    assert!(code == 400 && why.contains(&format!("this broker runs with store {own}")), "{why}");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_another_member_is_held_and_left_alone() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let master = ready(one.path(), "configRevision=1").await;
    let of_master = master.status().await.store_id.unwrap();
    master.stop().await;
    // The volumes of two members are swapped; the master's file is newer than what is kept in its store.
    let move_store = |from: &Path, to: &Path| fs::rename(from.join("store"), to.join("store")).unwrap();
    move_store(one.path(), two.path());
    let text = fs::read_to_string(two.path().join("store/live.properties")).unwrap();
    write_live(two.path(), "brokerRole=SLAVE\nconfigRevision=9");
    let slave = Operated::start(two.path(), &SLAVE).await;
    let held = |status: &AdminStatus| status.state == StoreState::StoreIdentityMismatch;
    let status = slave.status_until("it is held", held).await;
    assert_eq!(
        (status.ready, status.role, status.store_id.as_deref()),
        (false, Role::Slave, Some(&*of_master))
    );
    let words = "belongs to cluster DefaultCluster, group b (member 0); configured is cluster DefaultCluster, group b (member 1)";
    assert!(status.reason.contains(words), "{status:?}");
    assert_eq!(fs::read_to_string(two.path().join("store/live.properties")).unwrap(), text, "left alone");
    slave.stop().await;
    // Back, but another store of the same member is expected.
    move_store(two.path(), one.path());
    write_live(one.path(), "expectedStoreId=other\nconfigRevision=2");
    let master = Operated::start(one.path(), &[]).await;
    let status = master.status_until("it is held", held).await;
    assert!(status.reason.contains(&format!("this is store {of_master}, expected is other")), "{status:?}");
    // Without another word it is told that its own is meant, and goes on.
    master.write_live(&format!("expectedStoreId={of_master}\nconfigRevision=3"));
    assert_eq!(master.ready().await.store_id, Some(of_master));
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_live_file_a_store_that_is_not_the_right_one_ends_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let broker = ready(dir.path(), "configRevision=1").await;
    broker.stop().await;
    let running = Running::start(&dir.path().join("store"), &[("brokerName", "other")]).await;
    let error = running.ended().await.unwrap_err().to_string();
    assert!(error.contains("belongs to cluster DefaultCluster, group b"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_settings_in_the_store_keep_no_broker_from_starting_with_those_of_its_file() {
    let dir = tempfile::tempdir().unwrap();
    ready(dir.path(), "configRevision=1").await.stop().await;
    let kept = dir.path().join("store/live.properties");
    fs::write(&kept, b"\xff\xfe").unwrap();
    let broker = Operated::start(dir.path(), &[]).await;
    assert_eq!(broker.ready().await.config_revision, 1);
    broker.stop().await;
    assert_eq!(fs::read_to_string(&kept).unwrap(), "configRevision=1");
}
