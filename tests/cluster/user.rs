//! A first minute with the command line, and what a cluster costs that nobody uses.

use std::process::Command;
use std::time::Instant;

use tests::cluster::Cluster;
use tests::command::gantry;
use tests::ledger::Ledger;
use tests::options::Options;
use tests::talk::Talk;
use tests::wait::until;

use crate::LIMIT;

#[test]
fn a_message_sent_with_the_command_line_is_read_back_with_it() {
    let cluster = Cluster::start("minute", &Options::default());
    let address = cluster.name_server(0);
    run(&["produce", "First", "--body", "hello from the first minute", "-n", &address]);
    // Name servers hear of a new topic a moment after its first message.
    until("the topic to be routed", LIMIT, || {
        run(&["topic", "list", "-n", &address]).contains("First").then_some(())
    });
    let read = run(&["consume", "First", "--from", "earliest", "-n", &address]);
    assert!(read.contains("hello from the first minute"), "{read}");
}

fn run(arguments: &[&str]) -> String {
    let output = Command::new(gantry()).args(arguments).output().expect("gantry runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "gantry {arguments:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn an_idle_cluster_is_small_and_serves_soon_after_its_start() {
    gantry();
    let start = Instant::now();
    let cluster = Cluster::start("idle", &Options::default());
    let mut talk = Talk::connect(&cluster.broker(0)).expect("the broker serves");
    assert!(Ledger::default().send(&mut talk, "Soon", 0, 100).expect("the broker answers"));
    let served = start.elapsed();
    // Of a build that is not optimised most is code; what it has beside that must be as little.
    let memory = |member: String| {
        let process = cluster.process(&member).expect("a member that runs");
        let bytes = if cfg!(debug_assertions) { process.anonymous() } else { process.resident() };
        bytes >> 20
    };
    let (name_server, broker) = (memory(cluster.name_server_member(0)), memory(cluster.broker_member(0)));
    println!("served after {served:?}; name server {name_server} MiB, broker {broker} MiB");
    let most = if cfg!(debug_assertions) { (4, 12) } else { (10, 40) };
    assert!(
        name_server < most.0 && broker < most.1,
        "name server {name_server} MiB, broker {broker} MiB of {most:?}"
    );
    // An optimised build on a quiet machine stays below one second; this one only must not be slow.
    assert!(served.as_secs() < 5, "served after {served:?}");
}
