//! Synchronous flush: no acknowledgement before its promise.
#![allow(clippy::unwrap_used)]

mod support;

use protocol::codes::{RequestCode, ResponseCode};
use support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_is_answered_only_when_it_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Unflushed::start(dir.path(), &[("syncFlushTimeout", "60000")]).await;
    let mut wire = broker.connect().await;
    let waiting = wire.send(RequestCode::SEND_MESSAGE_V2, &message_fields("T", "0", ""), b"x").await;
    // Whoever does not want to wait is answered at once, and so is everything else.
    let no_wait = wire.put("T", "y", "WAIT\u{1}false\u{2}").await;
    assert_eq!((no_wait.code, no_wait.field("queueOffset")), (ResponseCode::SUCCESS, "1"));
    assert_eq!(wire.pull("T", "0", "*", "0").await.messages().len(), 2);
    broker.store.flush_now();
    let answer = wire.answer().await;
    assert_eq!((answer.opaque, answer.code), (waiting, ResponseCode::SUCCESS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_that_takes_too_long_is_told_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Unflushed::start(dir.path(), &[("syncFlushTimeout", "20")]).await;
    let answer = broker.connect().await.put("T", "x", "").await;
    assert_eq!(answer.code, ResponseCode::FLUSH_DISK_TIMEOUT);
    assert_eq!((answer.field("queueOffset"), answer.field("msgId").len()), ("0", 32), "it is stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_with_too_many_unanswered_sends_reads_no_more_until_they_are_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let broker =
        Unflushed::start(dir.path(), &[("syncFlushTimeout", "60000"), ("maxUnansweredSends", "2")]).await;
    let mut wire = broker.connect().await;
    for i in 1..=3 {
        wire.send(RequestCode::SEND_MESSAGE_V2, &message_fields("T", "0", ""), b"x").await;
        if i < 3 {
            let stored = || broker.store.queue("T", 0).is_some_and(|q| q.next() == i);
            until("it is stored", stored).await;
        }
    }
    let mut other = broker.connect().await;
    assert_eq!(other.pull("T", "0", "*", "0").await.field("maxOffset"), "2");
    broker.store.flush_now();
    assert_eq!((wire.answer().await.opaque, wire.answer().await.opaque), (1, 2));
    until("the third is read", || broker.store.queue("T", 0).is_some_and(|q| q.next() == 3)).await;
    broker.store.flush_now();
    assert_eq!(wire.answer().await.opaque, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_that_is_not_flushed_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let broker =
        Unflushed::start(dir.path(), &[("syncFlushTimeout", "60000"), ("maxUnflushedBytes", "1MiB")]).await;
    let mut wire = broker.connect().await;
    wire.send(RequestCode::SEND_MESSAGE_V2, &message_fields("T", "0", ""), &vec![0; 1 << 20]).await;
    let busy = wire.put("T", "x", "").await;
    assert_eq!(busy.code, ResponseCode::SYSTEM_BUSY);
    assert!(busy.remark.starts_with("[PCBUSY_CLEAN_QUEUE]"), "{}", busy.remark);
    broker.store.flush_now();
    assert_eq!(wire.answer().await.opaque, 1);
    let after = wire.send(RequestCode::SEND_MESSAGE_V2, &message_fields("T", "0", ""), b"x").await;
    until("it is stored", || broker.store.queue("T", 0).is_some_and(|q| q.next() == 2)).await;
    broker.store.flush_now();
    assert_eq!(wire.answer().await.opaque, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_broker_gives_the_answers_it_owes() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Unflushed::start(dir.path(), &[("syncFlushTimeout", "60000")]).await;
    let mut wire = broker.connect().await;
    let opaque = wire.send(RequestCode::SEND_MESSAGE_V2, &message_fields("T", "0", ""), b"x").await;
    until("it is stored", || broker.store.queue("T", 0).is_some_and(|q| q.next() == 1)).await;
    broker.stop.send_replace(true);
    broker.store.flush_now();
    let answer = wire.answer().await;
    assert_eq!((answer.opaque, answer.code), (opaque, ResponseCode::SUCCESS));
    assert!(wire.next().await.is_none());
}
