//! The client against servers that misbehave.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use protocol::codes::RequestCode;
use protocol::frame::{self, Decoded};
use protocol::requests::NoFields;
use remoting::{CallError, Client, ClientOptions, Limits};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn connected() -> (Client, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let client = Client::connect(&addr, ClientOptions::default()).await.unwrap();
    (client, soon("accept", listener.accept()).await.unwrap().0)
}

/// Reads `n` frames; returns their (opaque, code, flag).
async fn frames(stream: &mut TcpStream, n: usize) -> Vec<(i32, i32, i32)> {
    let (mut bytes, mut found) = (Vec::new(), Vec::new());
    while found.len() < n {
        soon("frames", stream.read_buf(&mut bytes)).await.unwrap();
        while let Decoded::Frame(f, used) = frame::decode(&bytes) {
            found.push((f.header.opaque, f.header.code, f.header.flag));
            bytes.drain(..used);
        }
    }
    found
}

fn call(
    client: &Client,
    body: &'static [u8],
    timeout: Duration,
) -> tokio::task::JoinHandle<Result<Vec<u8>, CallError>> {
    let client = client.clone();
    tokio::spawn(async move {
        let answer = client.call(RequestCode(ECHO), &NoFields, body, timeout).await?;
        Ok(answer.body.to_vec())
    })
}

fn answer(opaque: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = request(0, opaque, body);
    // The flag of a binary header: a response.
    bytes[8 + 12] = 1;
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_find_their_calls_whatever_their_order() {
    let (client, mut server) = connected().await;
    let calls = [call(&client, b"0", DEADLINE), call(&client, b"1", DEADLINE)];
    let mut bytes = Vec::new();
    let mut asked = Vec::new();
    while asked.len() < 2 {
        soon("calls", server.read_buf(&mut bytes)).await.unwrap();
        while let Decoded::Frame(f, used) = frame::decode(&bytes) {
            asked.push((f.header.opaque, f.body.to_vec()));
            bytes.drain(..used);
        }
    }
    // Nobody asked for the first; the others come in reverse.
    server.write_all(&answer(12345, b"?")).await.unwrap();
    for (opaque, body) in asked.iter().rev() {
        server.write_all(&answer(*opaque, body)).await.unwrap();
    }
    for (i, c) in calls.into_iter().enumerate() {
        assert_eq!(c.await.unwrap().unwrap(), i.to_string().into_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_an_answer_ends_in_time_and_a_late_answer_disturbs_nobody() {
    let (client, mut server) = connected().await;
    let late = call(&client, b"late", Duration::from_millis(50));
    let opaque = frames(&mut server, 1).await[0].0;
    assert!(matches!(late.await.unwrap(), Err(CallError::Timeout { .. })));
    server.write_all(&answer(opaque, b"late")).await.unwrap();
    let next = call(&client, b"next", DEADLINE);
    let opaque = frames(&mut server, 1).await[0].0;
    server.write_all(&answer(opaque, b"next")).await.unwrap();
    assert_eq!(next.await.unwrap().unwrap(), b"next");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_fails_all_its_calls_at_once() {
    let (client, mut server) = connected().await;
    let calls: Vec<_> = (0..3).map(|_| call(&client, b"x", Duration::from_secs(3600))).collect();
    frames(&mut server, 3).await;
    drop(server);
    for c in calls {
        assert!(matches!(soon("call ends", c).await.unwrap(), Err(CallError::Lost(_))));
    }
    assert!(client.is_lost());
    assert!(matches!(client.oneway(RequestCode(ECHO), &NoFields, b""), Err(CallError::Lost(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_frame_lose_the_connection() {
    let (client, mut server) = connected().await;
    let waiting = call(&client, b"x", Duration::from_secs(3600));
    frames(&mut server, 1).await;
    server.write_all(&[0xff; 16]).await.unwrap();
    assert!(matches!(soon("call ends", waiting).await.unwrap(), Err(CallError::Lost(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_the_server_is_refused_and_a_one_way_one_is_not_answered() {
    let (client, mut server) = connected().await;
    server.write_all(&oneway(40, 1)).await.unwrap();
    server.write_all(&request(220, 2, b"")).await.unwrap();
    assert_eq!(frames(&mut server, 1).await, [(2, 3, 1)]);
    drop(client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_the_queue_holds_is_refused_at_once() {
    let server = Server::start(Limits::default()).await;
    let options = ClientOptions { max_queued_bytes: 1000, ..ClientOptions::default() };
    let client = Client::connect(&server.addr.to_string(), options).await.unwrap();
    let refused = client.call(RequestCode(ECHO), &NoFields, &[0; 2000], DEADLINE).await;
    assert!(matches!(refused, Err(CallError::Full(_))));
    assert!(client.call(RequestCode(ECHO), &NoFields, b"fits", DEADLINE).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_listening_is_told_with_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = Client::connect(&addr, ClientOptions::default()).await.err().unwrap();
    assert!(error.to_string().contains(&addr), "{error}");
}
