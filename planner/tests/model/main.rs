//! The planner against a model of Kubernetes that does what the real one may do: it loses the operator after any single
//! write, shows it old views, refuses writes, answers late or not at all, kills pods and loses children. First it breaks
//! things and safety is checked at every write; then it stops and must end up as the manifest says.
//!
//! A schedule that fails joins `seeds.txt`. `MODEL_SEEDS=1000 cargo test -p planner --test model` runs more schedules,
//! `MODEL_SEED=7` just one, with its log.
#![allow(clippy::unwrap_used)]

mod kubernetes;
mod operator;
mod random;
mod stories;
mod user;

use std::sync::atomic::{AtomicUsize, Ordering};

use kubernetes::World;
use random::Random;
use user::User;

/// Schedules that run where nothing is said: not more than some 20 s.
const USUAL_SEEDS: u64 = 20;

#[test]
fn whatever_goes_wrong_nothing_is_lost_and_all_ends_as_the_manifest_says() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("MODEL_FIRST").unwrap_or(1);
    let verbose = number("MODEL_SEED");
    let seeds: Vec<u64> = match verbose {
        Some(seed) => vec![seed],
        None => known_seeds().chain(first..first + number("MODEL_SEEDS").unwrap_or(USUAL_SEEDS)).collect(),
    };
    let next = AtomicUsize::new(0);
    let lane = || {
        let mut failures = Vec::new();
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            let why = schedule(*seed, verbose.is_some()).err();
            failures.extend(why.map(|why| {
                format!(
                    "{why}\nseed {seed}: MODEL_SEED={seed} cargo test -p planner --test model -- --nocapture"
                )
            }));
        }
        failures
    };
    let lanes = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    println!("{} schedules, {} failed", seeds.len(), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Those that once failed.
fn known_seeds() -> impl Iterator<Item = u64> {
    include_str!("seeds.txt").lines().filter_map(|line| line.parse().ok())
}

fn schedule(seed: u64, verbose: bool) -> Result<(), String> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut user = User::new(&mut random);
    let mut world = World::new(user.manifest(), verbose);
    for _ in 0..120 {
        user.act(&mut world, &mut random);
        world.tick(&mut random, true);
        operator::reconcile(&mut world, &mut random, true)?;
    }
    user.settle(&mut world, &mut random);
    for _ in 0..600 {
        world.tick(&mut random, false);
        let nothing = operator::reconcile(&mut world, &mut random, false)?;
        if !user.help(&mut world) && nothing && world.is_quiet() {
            return world.is_as_wanted();
        }
    }
    let plan = world.live_plan();
    Err(format!("not settled: {:#?}\nwaiting: {:#?}", plan.steps, plan.waiting))
}
