//! The planner against a model of Kubernetes that does what the real one may do: it loses the operator after any single
//! write, shows it old views, refuses writes, answers late or not at all, kills pods and loses children. First it breaks
//! things and safety is checked at every write; then it stops and must end up as the manifest says.
//!
//! A schedule that fails joins `seeds.txt`. `MODEL_SEEDS=1000 cargo test -p planner --test model` runs more schedules, `MODEL_SEED=7` just one, with its log.
#![allow(clippy::unwrap_used)]

mod kubernetes;
mod operator;
mod stories;
mod user;

use kubernetes::World;

/// The same numbers for the same seed.
pub struct Random(u64);

impl Random {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    }

    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

#[test]
fn whatever_goes_wrong_nothing_is_lost_and_all_ends_as_the_manifest_says() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("MODEL_FIRST").unwrap_or(1);
    let seeds: Vec<u64> = match number("MODEL_SEED") {
        Some(seed) => vec![seed],
        None => known_seeds().chain(first..first + number("MODEL_SEEDS").unwrap_or(12)).collect(),
    };
    let verbose = number("MODEL_SEED").is_some();
    for seed in seeds {
        if let Err(why) = schedule(seed, verbose) {
            panic!("{why}\nseed {seed}: MODEL_SEED={seed} cargo test -p planner --test model -- --nocapture");
        }
    }
}

/// Those that once failed.
fn known_seeds() -> impl Iterator<Item = u64> {
    include_str!("seeds.txt").lines().filter_map(|line| line.parse().ok())
}

fn schedule(seed: u64, verbose: bool) -> Result<(), String> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut world = World::new(user::first_spec(&mut random), verbose);
    for _ in 0..120 {
        user::act(&mut world, &mut random);
        world.tick(&mut random, true);
        operator::reconcile(&mut world, &mut random, true)?;
    }
    user::settle(&mut world);
    for _ in 0..400 {
        world.tick(&mut random, false);
        if operator::reconcile(&mut world, &mut random, false)? && world.is_quiet() {
            return world.is_as_wanted();
        }
    }
    let plan = world.live_plan();
    Err(format!("not settled: {:#?}\nwaiting: {:#?}", plan.steps, plan.waiting))
}
