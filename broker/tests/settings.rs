//! The broker's own settings, shown and changed while it runs (25, 26).
#![allow(clippy::unwrap_used)]

mod support;

use protocol::codes::{RequestCode, ResponseCode};
use support::*;

async fn shown(wire: &mut Wire) -> (String, String) {
    let answer = wire.call(RequestCode::GET_BROKER_CONFIG, &[], b"").await;
    assert_eq!(answer.code, ResponseCode::SUCCESS);
    (String::from_utf8(answer.body.clone()).unwrap(), answer.field("version").to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_settings_are_shown_sorted_as_they_hold_now() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[("slaveTimeout", "1234")]).await;
    let mut wire = broker.connect().await;
    let (text, version) = shown(&mut wire).await;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.is_sorted() && lines.len() > 50, "{text}");
    for line in ["brokerName=b", "slaveTimeout=1234", "brokerRole=ASYNC_MASTER", "inSyncReplicas=1"] {
        assert!(lines.contains(&line), "{line} in {text}");
    }
    assert!(lines.contains(&format!("haListenPort={}", broker.ha.port()).as_str()), "the one it is: {text}");
    assert!(version.starts_with("{\"counter\":0,\"stateVersion\":0,\"timestamp\":"), "{version}");
    let changed = wire.set("# by hand\nslaveTimeout=20\nflushDiskType = SYNC_FLUSH\n").await;
    assert_eq!(changed.code, ResponseCode::SUCCESS);
    let (text, version) = shown(&mut wire).await;
    assert!(text.contains("\nslaveTimeout=20\n") && text.contains("\nflushDiskType=SYNC_FLUSH\n"), "{text}");
    assert!(version.starts_with("{\"counter\":1,"), "{version}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_cannot_be_made_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[]).await;
    let mut wire = broker.connect().await;
    let before = shown(&mut wire).await;
    for (settings, reason) in [
        ("slaveTimeout=20\nlistenPort=1234", "listenPort=1234: needs a restart"),
        ("slaveTimeout=20\nbrokerRole=SLAVE", "brokerRole=SLAVE: needs a restart"),
        ("slaveTimeout=20\nslaveTimeut=20", "unknown setting slaveTimeut, did you mean slaveTimeout?"),
        ("slaveTimeout=20\ninSyncReplicas=9", "inSyncReplicas=9: allowed is 1 to 5"),
        ("slaveTimeout", "line 1"),
    ] {
        let answer = wire.set(settings).await;
        assert_eq!(answer.code, ResponseCode::SYSTEM_ERROR, "{settings}");
        assert!(answer.remark.contains(reason), "{} has {reason}", answer.remark);
        assert_eq!(shown(&mut wire).await, before, "{settings}");
    }
    assert_eq!(wire.set("").await.code, ResponseCode::SUCCESS, "nothing is wanted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_flush_mode_holds_from_the_next_send_on() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Unflushed::start(dir.path(), &[("flushDiskType", "ASYNC_FLUSH")]).await;
    let mut wire = broker.connect().await;
    assert_eq!(wire.put("T", "x", "").await.code, ResponseCode::SUCCESS);
    wire.set("flushDiskType=SYNC_FLUSH").await;
    let waiting = wire.send(RequestCode::SEND_MESSAGE_V2, &message_fields("T", "0", ""), b"y").await;
    until("it is stored", || broker.store.queue("T", 0).is_some_and(|q| q.next() == 2)).await;
    wire.nothing_is_due().await;
    broker.store.flush_now();
    assert_eq!(wire.answer().await.opaque, waiting);
}
