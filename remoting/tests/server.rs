//! Servers over real sockets: frames, answers, one-way requests, panics, stopping.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::Ordering::SeqCst;

use remoting::Limits;
use support::*;
use tokio::io::AsyncReadExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_in_pieces_is_answered_once_it_is_whole() {
    let server = Server::start(Limits::default()).await;
    let mut wire = server.connect().await;
    for (i, byte) in request(ECHO, 5, b"slowly").iter().enumerate() {
        wire.write(&[*byte]).await;
        let came = || server.stats.bytes_in.load(SeqCst) == i as u64 + 1;
        until("the byte is read", came).await;
    }
    assert_eq!(wire.answer().await, Some((5, b"slowly".to_vec())));
    assert_eq!(server.seen.frames.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_one_read_are_answered_in_order_with_one_write() {
    let server = Server::start(Limits::default()).await;
    let mut wire = server.connect().await;
    let all: Vec<u8> = (0..100).flat_map(|i| request(ECHO, i, b"x")).collect();
    wire.write(&all).await;
    let mut bytes = vec![0; all.len() * 2];
    let n = soon("answers", wire.stream.read(&mut bytes)).await.unwrap();
    assert_eq!(n, all.len(), "all answers are there with the first byte");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_way_request_is_never_answered() {
    let server = Server::start(Limits::default()).await;
    let mut wire = server.connect().await;
    wire.write(&oneway(ECHO, 1)).await;
    wire.echo(2).await;
    assert_eq!(server.seen.frames.load(SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_ends_its_connection_and_no_other() {
    let server = Server::start(Limits::default()).await;
    let (mut bad, mut good) = (server.connect().await, server.connect().await);
    good.echo(1).await;
    bad.write(&request(PANIC, 1, b"")).await;
    assert_eq!(bad.answer().await, None);
    until("the session is told", || server.seen.closed.load(SeqCst) == 1).await;
    good.echo(2).await;
    let mut third = server.connect().await;
    third.echo(3).await;
    until("the place is free again", || server.stats.connections.load(SeqCst) == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_frame_end_their_connection_and_no_other() {
    let server = Server::start(Limits::default()).await;
    let (mut bad, mut good) = (server.connect().await, server.connect().await);
    bad.write(&[0xff; 64]).await;
    assert_eq!(bad.answer().await, None);
    good.echo(1).await;
    assert_eq!(server.stats.malformed.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_beyond_the_limit_is_closed_and_a_free_place_is_given_again() {
    let server = Server::start(Limits { max_connections: 1, ..Limits::default() }).await;
    let mut first = server.connect().await;
    first.echo(1).await;
    assert_eq!(server.connect().await.answer().await, None);
    drop(first);
    until("the place is free", || server.stats.connections.load(SeqCst) == 0).await;
    server.connect().await.echo(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_pauses_does_not_keep_the_server_from_stopping() {
    let server = Server::start(Limits::default()).await;
    let flood = flood(server.addr, WORK);
    until("the flood runs", || server.seen.frames.load(SeqCst) > 100).await;
    server.ask_to_stop();
    server.stopped().await;
    flood.join().unwrap();
}

/// One thread that sends one-way requests until its connection is closed.
fn flood(addr: std::net::SocketAddr, code: i32) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(addr).unwrap();
        let some: Vec<u8> = (0..1000).flat_map(|i| oneway(code, i)).collect();
        while std::io::Write::write_all(&mut stream, &some).is_ok() {}
    })
}

#[tokio::test]
async fn a_peer_that_never_pauses_leaves_the_thread_to_others() {
    let server = Server::start(Limits { read_buffer: 1024, ..Limits::default() }).await;
    let flood = flood(server.addr, WORK);
    until("the flood runs", || server.seen.frames.load(SeqCst) > 100).await;
    let mut other = server.connect().await;
    for i in 0..10 {
        other.echo(i).await;
    }
    server.ask_to_stop();
    server.stopped().await;
    flood.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_gives_the_answers_it_owes() {
    let server = Server::start(Limits::default()).await;
    let mut wire = server.connect().await;
    wire.write(&request(HOLD, 1, &3u32.to_be_bytes())).await;
    until("it is held", || server.seen.frames.load(SeqCst) == 1).await;
    server.ask_to_stop();
    let mailbox = server.seen.mailboxes.lock()[0].clone();
    mailbox.token(1);
    assert_eq!(wire.answer().await, Some((1, vec![7; 3])));
    assert_eq!(wire.answer().await, None);
    server.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_answers_what_it_held() {
    let server = Server::start(Limits::default()).await;
    let mut wire = server.connect().await;
    wire.write(&request(PARK, 9, b"")).await;
    until("it is held", || server.seen.frames.load(SeqCst) == 1).await;
    server.ask_to_stop();
    assert_eq!(wire.answer().await, Some((9, b"stopping".to_vec())));
    assert_eq!(wire.answer().await, None);
    server.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_leave_while_nothing_more_is_read() {
    let server = Server::start(Limits::default()).await;
    let mut wire = server.connect().await;
    let mut all = request(HOLD, 1, &3u32.to_be_bytes());
    all.extend(request(CLOSE, 2, b""));
    wire.write(&all).await;
    until("both are handled", || server.seen.frames.load(SeqCst) == 2).await;
    wire.write(&request(ECHO, 3, b"later")).await;
    let mailbox = server.seen.mailboxes.lock()[0].clone();
    mailbox.token(1);
    assert_eq!(wire.answer().await, Some((1, vec![7; 3])));
    assert_eq!(wire.answer().await, Some((3, b"later".to_vec())));
}
