//! Every public decoder against random and broken bytes: none may panic, hang, or claim memory it was only
//! promised. Seeded and bounded in time.
//!
//! `FUZZ_SECONDS` (default 5) is shared by all targets; `FUZZ_SEED` starts another series; `FUZZ_TARGET` names one
//! target; `FUZZ_CASE` runs one case of it, as a failure prints it.

mod store;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use targets::{Target, targets};
use tests::mutate::mutate;
use tests::random::Random;

/// No input is longer than 256 KiB, so a decoder that asks for this much believed a length it had not checked.
const ADDRESS_SPACE: u64 = 512 << 20;
/// No input takes an honest decoder this long, even on a busy machine and without optimisation.
const SLOWEST: Duration = Duration::from_secs(10);

fn main() {
    let seconds: f64 = setting("FUZZ_SECONDS").unwrap_or(5.0);
    let seed: u64 = setting("FUZZ_SEED").unwrap_or(1);
    let only: Option<String> = setting("FUZZ_TARGET");
    let case: Option<u64> = setting("FUZZ_CASE");
    limit_address_space();
    std::panic::set_hook(Box::new(|panic| *last_panic() = panic.to_string()));

    let targets: Vec<Target> =
        targets().into_iter().filter(|t| only.as_ref().is_none_or(|name| name == t.name)).collect();
    assert!(!targets.is_empty(), "no target is called {only:?}");
    let share = Duration::from_secs_f64(seconds / targets.len() as f64);
    let mut failed = 0;
    for target in &targets {
        // Before it runs: an aborted allocation ends the process, and this line says where.
        eprint!("fuzz {:<28}", target.name);
        match run(target, seed, share, case) {
            Ok(cases) => eprintln!("ok, {cases} cases"),
            Err(reason) => {
                failed += 1;
                eprintln!("FAILED\n  {reason}");
            }
        }
    }
    println!("fuzz: {} passed, {failed} failed", targets.len() - failed);
    std::process::exit(i32::from(failed > 0));
}

/// Runs one target for its share of the time, or one case of it.
fn run(target: &Target, seed: u64, share: Duration, only: Option<u64>) -> Result<u64, String> {
    if let Some(index) = only {
        return one(target, seed, index).map(|()| 1);
    }
    let end = Instant::now() + share;
    let mut index = 0;
    while Instant::now() < end || index < target.seeds.len() as u64 {
        one(target, seed, index)?;
        index += 1;
    }
    Ok(index)
}

/// Runs one case; it depends on nothing but the seed and the index.
fn one(target: &Target, seed: u64, index: u64) -> Result<(), String> {
    let input = input(target, seed, index);
    let started = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
    let reason = match outcome {
        Err(_) => last_panic().clone(),
        Ok(()) if started.elapsed() > SLOWEST => format!("took {:?}", started.elapsed()),
        Ok(()) => return Ok(()),
    };
    Err(format!(
        "{reason}\n  input of {} bytes: {}\n  replay: FUZZ_SEED={seed} FUZZ_TARGET={} FUZZ_CASE={index} cargo test --workspace --test fuzz",
        input.len(),
        input
            .iter()
            .take(600)
            .flat_map(|byte| std::ascii::escape_default(*byte))
            .map(char::from)
            .collect::<String>(),
        target.name,
    ))
}

/// The seeds themselves come first, then broken ones, and once in a while pure noise.
fn input(target: &Target, seed: u64, index: u64) -> Vec<u8> {
    if let Some(good) = target.seeds.get(index as usize) {
        return good.clone();
    }
    let mut random = Random::nth(seed, index);
    if random.one_in(20) {
        let length = random.below(300);
        return random.bytes(length);
    }
    let good = random.pick(&target.seeds).clone();
    mutate(&mut random, &good, &target.seeds)
}

/// What the last panic said, and where.
fn last_panic() -> MutexGuard<'static, String> {
    static LAST: Mutex<String> = Mutex::new(String::new());
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A decoder that allocates by a length it read, not by bytes it has, ends the process here instead of in production.
fn limit_address_space() {
    let now = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = now.split(' ').next().and_then(|pages| pages.parse().ok()).unwrap_or(0);
    let limit = Rlimit { current: Some(pages * 4096 + ADDRESS_SPACE), ..getrlimit(Resource::As) };
    setrlimit(Resource::As, limit).expect("lowering a soft limit is always allowed");
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}
