//! Memory under those who want all of it: large frames that stay unfinished, answers nobody takes, too many
//! connections. Each meets a bound with a name in the configuration.

use std::time::Duration;

use protocol::codes::RequestCode;
use protocol::header::Serialization;
use protocol::requests::Fields;
use tests::healthy::Healthy;
use tests::ledger::send;
use tests::requests::frame;
use tests::talk::Talk;

use crate::{Memory, SERVED_WITHIN, cluster};

#[test]
fn unfinished_large_frames_are_held_only_within_the_budget() {
    let cluster = cluster("large");
    let broker = Memory::of(&cluster, &cluster.broker_member(0));
    let healthy = Healthy::start(cluster.name_server(0), cluster.broker(0));
    // 64 times 8 MiB against a budget of 32.
    let half = frame(&(310, &[("b", "BrokenTopic")], vec![0; 12 << 20]), Serialization::Binary, 1);
    let held: Vec<Talk> = (0..64)
        .map(|_| {
            let mut talk = Talk::connect(&cluster.broker(0)).expect("the broker takes connections");
            talk.write(&half[..8 << 20]).ok();
            talk
        })
        .collect();
    broker.assert_grew_less_than(128 << 20);
    drop(held);
    assert!(healthy.finish() < SERVED_WITHIN);
}

#[test]
fn answers_that_nobody_takes_do_not_pile_up() {
    let cluster = cluster("untaken");
    let healthy = Healthy::start(cluster.name_server(0), cluster.broker(0));
    let mut filler = Talk::connect(&cluster.broker(0)).expect("the broker takes connections");
    for id in 0..64 {
        send(&mut filler, "BrokenTopic", 0, id, 60_000).expect("a send is answered");
    }
    let broker = Memory::of(&cluster, &cluster.broker_member(0));
    let pull = Fields(&[
        ("consumerGroup", "BrokenGroup"),
        ("topic", "BrokenTopic"),
        ("queueId", "0"),
        ("queueOffset", "0"),
        ("maxMsgNums", "32"),
        ("sysFlag", "4"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "0"),
        ("subscription", "*"),
        ("subVersion", "1"),
    ]);
    // Each connection asks for 200 times some hundred kilobytes and reads none of it.
    let asking: Vec<Talk> = (0..50)
        .map(|_| {
            let mut talk = Talk::connect(&cluster.broker(0)).expect("the broker takes connections");
            for _ in 0..200 {
                if talk.send(RequestCode::PULL_MESSAGE, &pull, b"").is_err() {
                    break;
                }
            }
            talk
        })
        .collect();
    let served = healthy.rounds();
    tests::wait::until("the healthy client to be served meanwhile", Duration::from_secs(20), || {
        (healthy.rounds() > served + 50).then_some(())
    });
    // 1 MiB of answers and one more pull for each connection, and what the allocator keeps.
    broker.assert_grew_less_than(256 << 20);
    drop(asking);
    assert!(healthy.finish() < SERVED_WITHIN);
}

#[test]
fn connections_over_the_limit_are_closed_and_those_under_it_served() {
    let cluster = cluster("many");
    let broker = Memory::of(&cluster, &cluster.broker_member(0));
    let healthy = Healthy::start(cluster.name_server(0), cluster.broker(0));
    let crowd: Vec<Talk> = (0..2_500).filter_map(|_| Talk::connect(&cluster.broker(0)).ok()).collect();
    assert!(crowd.len() > 2_000, "the crowd is too small: {}", crowd.len());
    assert!(broker.process.open_files() < 2_150, "{} files are open", broker.process.open_files());
    broker.assert_grew_less_than(96 << 20);
    drop(crowd);
    assert!(healthy.finish() < SERVED_WITHIN);
}
