//! The bounds of connections: memory of frames and answers, slow and silent peers.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use remoting::Limits;
use support::*;

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_larger_than_the_read_buffer_is_answered_and_its_memory_given_back() {
    let server = Server::start(Limits { max_buffered_bytes: 32 * MIB, ..Limits::default() }).await;
    let mut wire = server.connect().await;
    for opaque in 0..3 {
        let body = vec![opaque as u8; 15 * MIB];
        wire.write(&request(ECHO, opaque, &body)).await;
        assert!(wire.answer().await == Some((opaque, body)));
    }
    until("the budget is whole again", || server.stats.buffered_bytes.load(SeqCst) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_over_the_budget_ends_its_connection_and_no_other() {
    let server = Server::start(Limits { max_buffered_bytes: MIB, ..Limits::default() }).await;
    let (mut large, mut small) = (server.connect().await, server.connect().await);
    let frame = request(ECHO, 1, &vec![0; 4 * MIB]);
    // The server may close while the rest is on its way.
    let _ = soon("write", tokio::io::AsyncWriteExt::write_all(&mut large.stream, &frame)).await;
    assert_eq!(large.answer().await, None);
    small.echo(2).await;
    assert_eq!(server.stats.expelled.load(SeqCst), 1);
    assert_eq!(server.stats.buffered_bytes.load(SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beginnings_of_frames_cost_what_came_of_them_and_count_in_the_budget() {
    let server = Server::start(Limits { max_buffered_bytes: 256 << 10, ..Limits::default() }).await;
    let frame = request(ECHO, 1, &vec![0; 60_000]);
    let mut few = Vec::new();
    for _ in 0..100 {
        let mut wire = server.connect().await;
        wire.write(&frame[..10]).await;
        few.push(wire);
    }
    until("all begun", || server.stats.bytes_in.load(SeqCst) == 1000).await;
    until("they are counted", || server.stats.buffered_bytes.load(SeqCst) == 1000).await;
    let mut much = Vec::new();
    for _ in 0..20 {
        let mut wire = server.connect().await;
        wire.write(&frame[..50_000]).await;
        much.push(wire);
    }
    until("some are expelled", || server.stats.expelled.load(SeqCst) >= 15).await;
    assert!(server.stats.buffered_bytes.load(SeqCst) <= 256 << 10);
    // Room for frames that come in more than one read.
    drop(much);
    until("the others are gone", || server.stats.buffered_bytes.load(SeqCst) == 1000).await;
    for wire in &mut few[..50] {
        wire.write(&frame[10..]).await;
        assert_eq!(wire.answer().await.unwrap().0, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_many_tokens_are_written_as_they_come() {
    let server = Server::start(Limits { max_unanswered_bytes: MIB, ..Limits::default() }).await;
    let mut wire = server.connect().await;
    let all: Vec<u8> = (0..64).flat_map(|i| request(HOLD, i, &(MIB as u32).to_be_bytes())).collect();
    wire.write(&all).await;
    until("all are held", || server.seen.frames.load(SeqCst) == 64).await;
    let mailbox = server.seen.mailboxes.lock()[0].clone();
    (0..64).for_each(|token| mailbox.token(token));
    for _ in 0..64 {
        assert_eq!(wire.answer().await.unwrap().1.len(), MIB);
    }
    assert!(server.seen.most_waiting.load(SeqCst) < 3 * MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_pipelined_requests_are_written_as_they_come() {
    let server = Server::start(Limits { max_unanswered_bytes: MIB, ..Limits::default() }).await;
    let mut wire = server.connect().await;
    let all: Vec<u8> = (0..64).flat_map(|i| request(BIG, i, &(MIB as u32).to_be_bytes())).collect();
    wire.write(&all).await;
    for i in 0..64 {
        assert_eq!(wire.answer().await.unwrap().0, i);
    }
    assert!(server.seen.most_waiting.load(SeqCst) < 2 * MIB);
}

/// Asks for more than the system's buffers hold and reads nothing of it.
async fn slow_reader(server: &Server) -> Wire {
    let mut wire = server.connect().await;
    wire.write(&request(BIG, 1, &(15 * MIB as u32).to_be_bytes())).await;
    wire
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_takes_no_answers_is_expelled_and_holds_up_nobody() {
    let server =
        Server::start(Limits { write_timeout: Duration::from_millis(300), ..Limits::default() }).await;
    let slow = slow_reader(&server).await;
    server.connect().await.echo(1).await;
    until("it is expelled", || server.stats.expelled.load(SeqCst) == 1).await;
    drop(slow);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_nobody_takes_count_in_the_budget() {
    let server = Server::start(Limits { max_buffered_bytes: 40 * MIB, ..Limits::default() }).await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        slow.push(slow_reader(&server).await);
    }
    until("those over the budget are expelled", || server.stats.expelled.load(SeqCst) >= 5).await;
    assert!(server.stats.buffered_bytes.load(SeqCst) <= 40 * MIB);
    server.connect().await.echo(1).await;
    drop(slow);
    until("the budget is whole again", || server.stats.buffered_bytes.load(SeqCst) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_takes_no_answers_does_not_keep_the_server_from_stopping() {
    let server = Server::start(Limits::default()).await;
    let _slow = slow_reader(&server).await;
    until("it is asked", || server.seen.frames.load(SeqCst) == 1).await;
    server.ask_to_stop();
    server.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_peer_is_closed_after_the_idle_time() {
    let server =
        Server::start(Limits { idle_timeout: Duration::from_millis(100), ..Limits::default() }).await;
    let mut wire = server.connect().await;
    wire.echo(1).await;
    assert_eq!(wire.answer().await, None);
    assert_eq!(server.stats.expelled.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_never_ends_is_cut_off() {
    let server =
        Server::start(Limits { frame_timeout: Duration::from_millis(100), ..Limits::default() }).await;
    let mut wire = server.connect().await;
    wire.write(&request(ECHO, 1, b"unfinished")[..12]).await;
    assert_eq!(wire.answer().await, None);
    assert_eq!(server.stats.expelled.load(SeqCst), 1);
}
