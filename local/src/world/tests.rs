//! The world with members that do as they are told at once: what the planner's steps come to here.

use planner::facts::{DrainFacts, MemberFacts};

use super::*;

const CLUSTER: &str = "
apiVersion: gantry.rs/v1alpha1
kind: RocketMQCluster
metadata: { name: dev }
spec:
  version: 0.1.0
  nameServers: { replicas: 2 }
  brokers:
    groups: 1
    replicasPerGroup: 2
    replication: { mode: Async }
    storage: { size: 1Gi }
    scaleIn: { minDrainTime: 1s }
";

fn manifest(change: &[(&str, &str)]) -> Validated {
    let text = change.iter().fold(CLUSTER.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    manifest::load(&text).unwrap().elsewhere().unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_900_000_000 + second).unwrap()
}

/// A world, its members and its time.
struct Stage {
    world: World,
    second: i64,
    /// Messages that nobody has read, in every group.
    unread: u64,
    /// What was done, in the words of events.
    done: Vec<&'static str>,
}

impl Stage {
    fn new(manifest: Validated) -> Stage {
        Stage::of(manifest, Kept::default()).unwrap()
    }

    fn of(manifest: Validated, kept: Kept) -> Result<Stage, Refused> {
        let world = World::new(manifest, kept, at(0))?;
        Ok(Stage { world, second: 0, unread: 0, done: Vec::new() })
    }

    /// The text that is kept, read again by the next runner.
    fn kept(&self) -> Kept {
        Kept::decode(&self.world.kept.encode()).unwrap()
    }

    fn follow(&mut self, manifest: Validated) -> Result<(), Refused> {
        self.world.follow(manifest, &self.answers(), at(self.second))
    }

    /// Members that are told to go have gone, all others serve; then the world settles.
    fn pass(&mut self) {
        self.second += 1;
        let gone: Vec<String> =
            self.world.pods.values().filter(|pod| pod.terminating).map(|pod| pod.name.clone()).collect();
        gone.iter().for_each(|pod| self.world.pod_has_gone(pod));
        for pod in self.world.pods.values_mut().filter(|pod| !pod.ready) {
            pod.ready = true;
            pod.ready_since = Some(at(self.second));
        }
        let settled = self.world.settle(&self.answers(), at(self.second));
        self.done.extend(settled.done.iter().map(|(event, _)| event));
    }

    fn pass_until_as_wanted(&mut self) {
        for _ in 0..200 {
            self.pass();
            let ready = self.world.kept.status.conditions.iter().find(|condition| condition.kind == "Ready");
            let leaving = self.world.pods.values().any(|pod| pod.terminating);
            if ready.is_some_and(|ready| ready.status == "True") && !leaving {
                return;
            }
        }
        panic!("{:#?}", self.world.kept.status.conditions);
    }

    fn answers(&self) -> Answers {
        let brokers = self.world.pods.values().filter(|pod| is_broker(pod) && pod.ready);
        let mut answers = Answers {
            members: brokers.map(|pod| (pod.name.clone(), Answer::Known(self.answer(pod)))).collect(),
            ..Answers::default()
        };
        for group in 0..9 {
            let drain =
                DrainFacts { routes_are_read_only: true, remaining: self.unread, ..DrainFacts::default() };
            answers.drains.insert(group, Answer::Known(drain));
            answers.copies.insert(group, Answer::Known(0));
        }
        answers
    }

    fn answer(&self, pod: &PodFacts) -> MemberFacts {
        let live = self.world.live_settings(pod).unwrap();
        let number = |key: &str| {
            let line = live.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap();
            line.parse::<u64>().unwrap()
        };
        MemberFacts {
            version: "0.1.0".to_owned(),
            master: ordinal(pod) == 0,
            store_id: Some(format!("store of {}", pod.name)),
            ready: true,
            lag_bytes: Some(0),
            in_sync: true,
            config_revision: number("configRevision"),
            permission: u8::try_from(number("brokerPermission")).unwrap(),
            ..MemberFacts::default()
        }
    }

    fn pods(&self) -> Vec<&str> {
        self.world.pods_in_order().into_iter().map(|pod| pod.name.as_str()).collect()
    }

    fn states(&self) -> Vec<&str> {
        let groups = &self.world.kept.status.brokers.group_statuses;
        groups.iter().map(|group| group.state.as_str()).collect()
    }

    fn live(&self, pod: &str) -> String {
        self.world.live_settings(&self.world.pods[pod]).unwrap()
    }
}

#[test]
fn all_members_of_a_new_cluster_are_there_before_any_of_them_answers() {
    let mut stage = Stage::new(manifest(&[("groups: 1", "groups: 2")]));
    stage.world.settle(&Answers::default(), at(0));
    let brokers = ["dev-broker-0-0", "dev-broker-0-1", "dev-broker-1-0", "dev-broker-1-1"];
    assert_eq!(stage.pods(), [&["dev-namesrv-0", "dev-namesrv-1"], &brokers[..]].concat());
    assert_eq!(brokers.map(|broker| stage.world.kept.places[broker]), [0, 1, 2, 3]);
    assert!(stage.live("dev-broker-1-0").contains("brokerPermission=6\n"));
    stage.pass_until_as_wanted();
    assert_eq!(stage.world.kept.claims["data-dev-broker-0-1"].requested, "1Gi");
    assert!(stage.live("dev-broker-0-1").contains("expectedStoreId=store of dev-broker-0-1\n"));
}

#[test]
fn a_group_comes_and_goes_while_the_others_serve_and_its_ports_are_given_again() {
    let mut stage = Stage::new(manifest(&[]));
    stage.pass_until_as_wanted();
    stage.follow(manifest(&[("groups: 1", "groups: 2")])).unwrap();
    stage.pass();
    assert_eq!(stage.states(), ["Active", "Joining"]);
    assert!(stage.live("dev-broker-1-0").contains("brokerPermission=0\n"));
    stage.pass_until_as_wanted();
    assert_eq!(stage.states(), ["Active", "Active"]);
    assert_eq!(stage.world.kept.places["dev-broker-1-0"], 2);

    stage.unread = 5;
    stage.follow(manifest(&[])).unwrap();
    for _ in 0..90 {
        stage.pass();
    }
    assert_eq!(stage.states(), ["Active", "Draining"]);
    stage.unread = 0;
    stage.pass_until_as_wanted();
    assert_eq!(stage.states(), ["Active"]);
    assert_eq!(stage.pods().len(), 4);
    assert!(!stage.world.kept.places.contains_key("dev-broker-1-0"));

    stage.follow(manifest(&[("groups: 1", "groups: 2")])).unwrap();
    stage.pass_until_as_wanted();
    assert_eq!(stage.pods()[4..], ["dev-broker-2-0", "dev-broker-2-1"]);
    assert_eq!(stage.world.kept.places["dev-broker-2-0"], 2);
}

#[test]
fn what_running_members_take_over_restarts_none_and_the_rest_restarts_slaves_first() {
    let mut stage = Stage::new(manifest(&[]));
    stage.pass_until_as_wanted();
    let before: Vec<String> = stage.world.pods.values().map(|pod| pod.uid.clone()).collect();
    stage.follow(manifest(&[("size: 1Gi", "size: 1Gi, fileReservedTime: 9h")])).unwrap();
    stage.pass_until_as_wanted();
    assert_eq!(before, stage.world.pods.values().map(|pod| pod.uid.clone()).collect::<Vec<_>>());
    assert!(stage.live("dev-broker-0-0").contains("fileReservedTime=9\n"));

    let change = ("groups: 1", "groups: 1\n    config: { maxMessageSize: 8MiB }");
    stage.follow(manifest(&[change])).unwrap();
    stage.pass();
    let leaving = |stage: &Stage| {
        let pods = stage.world.pods.values().filter(|pod| pod.terminating);
        pods.map(|pod| pod.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(leaving(&stage), ["dev-broker-0-1"]);
    stage.pass();
    assert_eq!(leaving(&stage), [""; 0]);
    stage.pass();
    assert_eq!(leaving(&stage), ["dev-broker-0-0"]);
    stage.pass_until_as_wanted();
    let settings = stage.world.static_settings(&stage.world.pods["dev-broker-0-0"]).unwrap();
    assert!(settings.contains("maxMessageSize=8MiB\n"), "{settings}");
}

#[test]
fn a_change_that_cannot_be_is_refused_and_changes_nothing() {
    let mut stage = Stage::new(manifest(&[]));
    stage.pass_until_as_wanted();
    let before = stage.world.kept.encode();
    let Refused(problems) = stage.follow(manifest(&[("1Gi", "512Mi")])).unwrap_err();
    assert!(problems[0].starts_with("spec.brokers.storage.size: \"512Mi\": cannot shrink"), "{problems:?}");
    let Refused(problems) =
        stage.follow(manifest(&[("groups: 1", "groups: 1\n    remove: [7]")])).unwrap_err();
    assert_eq!(problems, ["spec.brokers.remove: there is no group 7; remove it from the list"]);
    assert_eq!(stage.world.kept.encode(), before);
    assert!(Stage::of(manifest(&[("1Gi", "512Mi")]), stage.kept()).is_err());
}

#[test]
fn the_next_runner_goes_on_from_what_is_kept_and_starts_everything_as_it_is_meant_now() {
    let mut stage = Stage::new(manifest(&[("groups: 1", "groups: 2")]));
    stage.pass_until_as_wanted();
    let change = ("replicasPerGroup: 2", "replicasPerGroup: 2\n    config: { maxMessageSize: 8MiB }");
    let mut next = Stage::of(manifest(&[change]), stage.kept()).unwrap();
    next.world.settle(&Answers::default(), at(0));
    // No group goes before another one takes messages.
    assert_eq!(next.states(), ["Active", "Active"]);
    assert_eq!(next.pods(), stage.pods());
    for pod in next.world.pods.values().filter(|pod| is_broker(pod)) {
        assert!(next.world.static_settings(pod).unwrap().contains("maxMessageSize=8MiB\n"));
    }
    next.pass_until_as_wanted();
    assert_eq!(next.done, ["DrainStarted", "DrainCompleted"], "nothing restarts");
    assert_eq!(next.pods().len(), 4);
}

#[test]
fn stores_of_a_runner_that_kept_nothing_are_taken() {
    let wanted = manifest(&[("groups: 1", "groups: 2")]);
    let mut kept = Kept::default();
    for (pod, group) in [("dev-broker-1-0", 1), ("dev-broker-3-0", 3)] {
        kept.adopt(wanted.cluster(), pod, group);
    }
    let mut stage = Stage::of(wanted, kept).unwrap();
    stage.pass_until_as_wanted();
    assert_eq!(stage.pods()[2..], ["dev-broker-1-0", "dev-broker-1-1", "dev-broker-3-0", "dev-broker-3-1"]);
}

#[test]
fn a_kept_text_of_a_later_version_is_not_guessed_at() {
    let error = Kept::decode("{\"format\": 2, \"other\": true}").unwrap_err();
    assert_eq!(error.to_string(), "has format 2, this gantry knows 1");
    assert!(Kept::decode("{").is_err());
}
