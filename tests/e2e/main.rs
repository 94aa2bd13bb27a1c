//! Gantry on a real Kubernetes: three nodes on this host (tests/kube), images and charts as they are shipped, and the
//! official Java clients in pods. Each scenario has a namespace of its own; those of one round run side by side.
//!
//! `E2E=name` runs one scenario (or several, with commas), `E2E_KEEP=1` leaves everything up. What is up already is used
//! and left. With `up` as argument nothing is run: the nodes and the operator stay, for trying things by hand, and with
//! `E2E_AS_IS=1` scenarios run on what is there, without building or installing anything.

mod addresses;
mod children;
mod cluster;
mod examples;
mod install;
mod kills;
mod kube;
mod lifecycle;
mod load;
mod operators;
mod refusals;
mod rolling;
mod rules;
mod scaling;
mod tools;
mod volumes;
mod words;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use kube::Kube;

/// What is shown, and how.
struct Scenario {
    name: &'static str,
    /// Those of one round run side by side, the longest first; what disturbs all of Kubernetes has a round of its own.
    round: u32,
    /// Gets its namespace; returns its figures. A broken promise is a panic with the reason.
    run: fn(&Kube, &str) -> String,
}

/// How many run side by side: they wait most of the time, but each starts a Java program or two.
const AT_ONCE: usize = 4;

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "ready", round: 1, run: examples::ready },
    Scenario { name: "children", round: 2, run: children::children },
    Scenario { name: "rules", round: 2, run: rules::rules },
    Scenario { name: "examples", round: 3, run: examples::checks },
    Scenario { name: "rolling", round: 3, run: rolling::rolling },
    Scenario { name: "volumes", round: 3, run: volumes::volumes },
    Scenario { name: "scaling", round: 3, run: scaling::groups },
    Scenario { name: "lifecycle", round: 3, run: lifecycle::lifecycle },
    Scenario { name: "refusals", round: 3, run: refusals::refusals },
    Scenario { name: "addresses", round: 3, run: addresses::addresses },
    Scenario { name: "tools", round: 3, run: tools::tools },
    Scenario { name: "kills", round: 4, run: kills::kills },
    Scenario { name: "operators", round: 5, run: operators::two },
];

/// What became of one.
struct Outcome {
    name: &'static str,
    figures: Result<String, String>,
    time: Duration,
}

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    if let Some(why) = install::why_not() {
        println!("the scenarios on Kubernetes were skipped: {why}");
        return ExitCode::SUCCESS;
    }
    let stay = std::env::args().any(|argument| argument == "up");
    let (kube, down) = install::up(stay || std::env::var_os("E2E_KEEP").is_some());
    if stay {
        return ExitCode::SUCCESS;
    }
    let chosen = std::env::var("E2E").unwrap_or_default();
    let chosen: Vec<&str> = chosen.split(',').filter(|name| !name.is_empty()).collect();
    let mut outcomes = Vec::new();
    for round in 1..=SCENARIOS.iter().map(|scenario| scenario.round).max().unwrap_or(0) {
        let wanted = |scenario: &&Scenario| {
            scenario.round == round && (chosen.is_empty() || chosen.contains(&scenario.name))
        };
        outcomes.extend(side_by_side(&kube, SCENARIOS.iter().filter(wanted)));
    }
    let complaints = words::operator_errors(&kube);
    drop(kube);
    drop(down);
    table(&outcomes);
    complaints.iter().take(20).for_each(|line| println!("the operator complained: {line}"));
    let passed = outcomes.iter().all(|outcome| outcome.figures.is_ok()) && complaints.is_empty();
    match passed && !outcomes.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn side_by_side(kube: &Kube, scenarios: impl Iterator<Item = &'static Scenario> + Send) -> Vec<Outcome> {
    let left = Mutex::new(scenarios);
    let next = || left.lock().unwrap_or_else(|e| e.into_inner()).next();
    std::thread::scope(|scope| {
        let lane = || std::iter::from_fn(next).map(|scenario| pass(kube, scenario)).collect::<Vec<_>>();
        let lanes: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("a scenario's panic is caught")).collect()
    })
}

fn pass(kube: &Kube, scenario: &'static Scenario) -> Outcome {
    let Scenario { name, run, .. } = scenario;
    let namespace = format!("e2e-{name}");
    let begin = Instant::now();
    say!(name, "begins");
    let figures = catch_unwind(AssertUnwindSafe(|| {
        words::remove(kube, &namespace);
        kube.volumes();
        kube.namespace(&namespace);
        run(kube, &namespace)
    }));
    let figures = figures.map_err(|panic| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or("a panic without words", |text| *text).to_owned(),
    });
    match &figures {
        Ok(figures) => {
            say!(name, "ok: {figures}");
            kube.ctl(&format!("delete namespace {namespace} --wait=false"));
        }
        Err(why) => {
            say!(name, "FAILED: {why}");
            words::describe(kube, &namespace);
        }
    }
    Outcome { name, figures, time: begin.elapsed() }
}

fn table(outcomes: &[Outcome]) {
    println!();
    for Outcome { name, figures, time } in outcomes {
        let (verdict, text) = match figures {
            Ok(text) => ("ok", text.as_str()),
            Err(why) => ("FAILED", why.lines().next().unwrap_or_default()),
        };
        println!("{verdict:6} {name:12} {:4.0} s  {text}", time.as_secs_f64());
    }
    let failed = outcomes.iter().filter(|outcome| outcome.figures.is_err()).count();
    println!("{} passed, {failed} failed", outcomes.len() - failed);
}

/// Returns the time since the first call, for the lines of progress.
pub fn clock() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// Prints a line of progress: the time, who, what.
#[macro_export]
macro_rules! say {
    ($who:expr, $($what:tt)*) => {
        println!("[{:6.1}] {}: {}", $crate::clock(), $who, format_args!($($what)*))
    };
}
