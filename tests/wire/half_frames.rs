//! Lengths that promise too much, frames that never end, senders that take for ever, readers that never read.

use std::time::{Duration, Instant};

use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::MAX_FRAME;
use protocol::header::Serialization;
use tests::healthy::Healthy;
use tests::requests::{frame, to_a_broker};
use tests::talk::Talk;
use tests::wait::until;

use crate::{Memory, SERVED_WITHIN, cluster};

/// How long a server may take to end a connection that has no excuse.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn a_length_no_frame_can_have_ends_the_connection_at_once() {
    let cluster = cluster("lengths");
    let healthy = Healthy::start(cluster.name_server(0), cluster.broker(0));
    let lengths: [i32; 8] = [i32::MAX, i32::MIN, -1, 0, 3, MAX_FRAME as i32 + 1, 0x1603_0100, 0x4745_5420];
    for addr in [cluster.broker(0), cluster.name_server(0)] {
        for length in lengths {
            let mut talk = Talk::connect(&addr).expect("the server takes connections");
            talk.write(&length.to_be_bytes()).expect("an open connection");
            talk.write(&[0; 64]).ok();
            assert!(
                talk.drain(CLOSED_WITHIN).unwrap_or(true),
                "{addr} keeps a connection with length {length:#x}"
            );
        }
    }
    assert!(healthy.finish() < SERVED_WITHIN);
}

#[test]
fn a_frame_that_never_ends_is_given_up_and_others_are_served() {
    let cluster = cluster("endless");
    let broker = Memory::of(&cluster, &cluster.broker_member(0));
    let healthy = Healthy::start(cluster.name_server(0), cluster.broker(0));
    // A header and a first piece of each frame, and never the rest.
    let whole = frame(&(310, &[("b", "BrokenTopic")], vec![0; 200_000]), Serialization::Json, 1);
    let mut halves: Vec<Talk> = [1, 5, 9, 100, 1_000, 100_000]
        .iter()
        .map(|length| {
            let mut talk = Talk::connect(&cluster.broker(0)).expect("the broker takes connections");
            talk.write(&whole[..*length]).expect("an open connection");
            talk
        })
        .collect();
    for talk in &mut halves {
        assert!(talk.drain(CLOSED_WITHIN * 2).unwrap_or(true), "half a frame keeps its connection");
    }
    assert!(healthy.finish() < SERVED_WITHIN);
    broker.assert_grew_less_than(64 << 20);
}

#[test]
fn slow_senders_neither_stop_others_nor_fill_the_memory() {
    const SENDERS: usize = 300;
    let cluster = cluster("slow");
    let broker = Memory::of(&cluster, &cluster.broker_member(0));
    let healthy = Healthy::start(cluster.name_server(0), cluster.broker(0));
    let frames: Vec<Vec<u8>> =
        to_a_broker().iter().map(|sample| frame(sample, Serialization::Json, 1)).collect();
    let mut senders: Vec<Talk> =
        (0..SENDERS).filter_map(|_| Talk::connect(&cluster.broker(0)).ok()).collect();
    assert_eq!(senders.len(), SENDERS);
    let served = healthy.rounds();
    let end = Instant::now() + Duration::from_secs(2);
    let mut at = 0;
    while Instant::now() < end {
        for (sender, bytes) in senders.iter_mut().zip(frames.iter().cycle()) {
            sender.write(&bytes[at % bytes.len()..][..1]).ok();
        }
        at += 1;
    }
    assert!(healthy.rounds() > served + 20, "only {} rounds in two seconds", healthy.rounds() - served);
    drop(senders);
    assert!(healthy.finish() < SERVED_WITHIN);
    broker.assert_grew_less_than(96 << 20);
    let process = broker.process;
    until("connections of slow senders to be closed", Duration::from_secs(10), || {
        (process.open_files() < 150).then_some(())
    });
}

#[test]
fn an_unfinished_request_does_not_hold_up_the_next_connection_but_is_answered_when_it_ends() {
    let cluster = cluster("later");
    let mut talk = Talk::connect(&cluster.broker(0)).expect("the broker takes connections");
    let bytes = frame(&(RequestCode::GET_BROKER_RUNTIME_INFO.0, &[], vec![]), Serialization::Binary, 7);
    for byte in bytes.chunks(1) {
        talk.write(byte).expect("an open connection");
    }
    let (opaque, answer) = talk.receive().expect("a slow request is answered");
    assert_eq!((opaque, answer.code), (7, ResponseCode::SUCCESS));
}
