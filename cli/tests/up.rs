//! `gantry up` as a user has it: the command, its lines, its exit status, and what remains of it. A
//! cluster of name servers alone starts in milliseconds; whole clusters are tested in `tests`.
#![allow(clippy::unwrap_used)]

mod place;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Signal, kill_process};

use place::{Place, Up, gantry, manifest, outcome, pid, wait_until_gone};

#[test]
fn a_cluster_gets_ready_and_stops_as_asked() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new(&manifest(2));
        let mut up = Up::start(place.command());
        let members = [up.event("ready"), up.event("ready")];
        let ready = up.event("cluster_ready");
        let (first, second) = (9876 + place.offset, 9877 + place.offset);
        assert_eq!(ready["name_server"], format!("127.0.0.1:{first};127.0.0.1:{second}"));
        let (status, events) = up.stop(signal);
        assert_eq!(status.code(), Some(0));
        assert_eq!(events.iter().map(|event| &event["event"]).collect::<Vec<_>>(), ["stopped", "stopped"]);
        assert!(events.iter().all(|event| event["problem"].is_null()), "{events:?}");
        members.iter().for_each(|member| wait_until_gone(pid(member["pid"].as_u64().unwrap())));
    }
}

#[test]
fn what_only_matters_on_kubernetes_is_ignored_with_a_note() {
    let place =
        Place::new(&manifest(1).replace("groups: 0,", "groups: 0, scheduling: { antiAffinity: Required },"));
    let mut up = Up::start(place.command());
    let note = "ignored here, it only matters on Kubernetes: spec.brokers.scheduling.antiAffinity";
    assert_eq!(up.event("note")["text"], note);
    up.event("cluster_ready");
    assert_eq!(up.stop(Signal::TERM).0.code(), Some(0));
}

#[test]
fn two_signals_at_once_are_one_wish_to_stop() {
    let place = Place::new(&manifest(1));
    let mut up = Up::start(place.command());
    up.event("cluster_ready");
    kill_process(up.pid(), Signal::INT).unwrap();
    let (status, events) = up.stop(Signal::TERM);
    assert_eq!((status.code(), events.len()), (Some(0), 1));
}

#[test]
fn people_read_a_line_per_member_the_address_and_how_to_send_a_first_message() {
    let place = Place::new(&manifest(1));
    let mut process = place.command().stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut read: Vec<String> = Vec::new();
    while !read.last().is_some_and(|line| line.starts_with("Ctrl-C")) {
        read.push(lines.next().unwrap().unwrap());
    }
    kill_process(pid(u64::from(process.id())), Signal::TERM).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0));
    let address = format!("127.0.0.1:{}", 9876 + place.offset);
    assert!(read[0].starts_with(&format!("dev-namesrv-0  ready      name server  {address} ")), "{read:?}");
    let data = place.data().canonicalize().unwrap();
    assert_eq!(
        read[1..],
        [
            "".to_owned(),
            format!("Cluster dev is ready. Name server: {address}"),
            format!("Data and logs: {}", data.display()),
            "".to_owned(),
            "Send a first message and read it back:".to_owned(),
            format!("  gantry topic create TopicTest -n '{address}'"),
            format!("  gantry produce TopicTest --body hello -n '{address}'"),
            format!("  gantry consume TopicTest --from earliest -n '{address}'"),
            "".to_owned(),
            "Ctrl-C stops the cluster.".to_owned(),
        ]
    );
}

#[test]
fn members_end_when_gantry_is_killed() {
    let place = Place::new(&manifest(2));
    let mut up = Up::start(place.command());
    let members = [up.event("ready"), up.event("ready")];
    kill_process(up.pid(), Signal::KILL).unwrap();
    members.iter().for_each(|member| wait_until_gone(pid(member["pid"].as_u64().unwrap())));
    let log = std::fs::read_to_string(place.data().join("dev-namesrv-0/log")).unwrap();
    assert!(log.contains("stopping: the runner is gone"), "{log}");
}

#[test]
fn a_killed_member_is_reported_and_comes_back() {
    let place = Place::new(&manifest(1));
    let mut up = Up::start(place.command());
    let before = up.event("ready")["pid"].as_u64().unwrap();
    kill_process(pid(before), Signal::KILL).unwrap();
    let died = up.event("died");
    assert_eq!((&died["member"], &died["how"]), (&"dev-namesrv-0".into(), &"signal: 9 (SIGKILL)".into()));
    assert_ne!(up.event("restarted")["pid"].as_u64().unwrap(), before);
    assert_eq!(up.stop(Signal::TERM).0.code(), Some(0));
}

#[test]
fn a_port_in_use_is_named_with_its_member_and_the_remedy() {
    let place = Place::new(&manifest(1));
    let port = 9776 + place.offset;
    let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (this, command) = (std::process::id(), std::fs::read_to_string("/proc/self/comm").unwrap());
    let expected = format!(
        "gantry: health port {port} of dev-namesrv-0 is in use by {} (process {this})\n\
         stop it, or move all ports with --port-offset 1000\n",
        command.trim_end()
    );
    assert_eq!(place.refused(), (Some(4), expected));
}

#[test]
fn a_second_cluster_on_the_same_data_is_refused() {
    let place = Place::new(&manifest(1));
    let mut up = Up::start(place.command());
    up.event("cluster_ready");
    let (status, words) = place.refused();
    assert_eq!(status, Some(4));
    let holder = format!("in use by another gantry up (process {})", up.process.id());
    assert!(words.contains(&holder), "{words}");
    assert_eq!(up.stop(Signal::TERM).0.code(), Some(0));
}

#[test]
fn a_member_that_cannot_run_ends_the_cluster_with_its_last_words() {
    let place = Place::new(&manifest(1));
    let mut command = place.command();
    // The environment holds for settings that the manifest leaves open.
    command.env("GANTRY_MAX_CONNECTIONS", "none");
    let (status, words) = outcome(command.output().unwrap());
    assert_eq!(status, Some(5));
    assert!(
        words.starts_with("gantry: dev-namesrv-0 is given up: exit status: 2; it last said: "),
        "{words}"
    );
    assert!(words.contains("maxConnections=none: allowed is 1 to 1000000"), "{words}");
}

#[test]
fn all_problems_of_a_manifest_are_listed() {
    let place = Place::new(&manifest(1).replace("groups: 0", "groups: -1, colour: red"));
    let (status, words) = place.refused();
    assert_eq!(status, Some(3));
    let lines: Vec<&str> = words.lines().collect();
    assert_eq!(lines[0], format!("gantry: manifest {} cannot be used:", place.file().display()));
    assert!(lines[1].starts_with("  spec.brokers.colour: \"red\": unknown field"), "{words}");
    assert_eq!(lines[2..], ["  spec.brokers.groups: -1: must be between 0 and 64"]);
    assert!(!place.data().exists());
}

#[test]
fn a_manifest_that_is_not_there_and_a_wrong_option_have_their_own_status() {
    let missing = outcome(gantry().args(["up", "nothing.yaml"]).output().unwrap());
    let words = "gantry: read manifest nothing.yaml: No such file or directory (os error 2)\n";
    assert_eq!(missing, (Some(1), words.to_owned()));
    let wrong = gantry().args(["up", "--port-offset", "50000", "x"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn data_stays_when_a_folder_is_given_and_goes_otherwise() {
    let place = Place::new(&manifest(1));
    let mut up = Up::start(place.command());
    up.event("cluster_ready");
    assert_eq!(up.stop(Signal::TERM).0.code(), Some(0));
    assert!(place.data().join("dev-namesrv-0/namesrv.properties").exists());

    let mut command = gantry();
    command.arg("up").arg(place.file()).args(["--port-offset", &place.offset.to_string()]);
    let mut up = Up::start(command);
    let data = up.event("cluster_ready")["data"].as_str().unwrap().to_owned();
    assert!(Path::new(&data).join("dev-namesrv-0/log").exists());
    assert_eq!(up.stop(Signal::TERM).0.code(), Some(0));
    assert!(!Path::new(&data).exists());
}

#[test]
fn without_a_cluster_commands_say_how_to_get_one() {
    let place = Place::new(&manifest(1));
    let address = format!("127.0.0.1:{}", 9876 + place.offset);
    let (status, words) = outcome(gantry().args(["topic", "list", "-n", &address]).output().unwrap());
    assert_eq!(status, Some(1));
    assert_eq!(
        words.lines().last(),
        Some("is the cluster up? gantry up FILE starts one; -n HOST:PORT names another")
    );
}
