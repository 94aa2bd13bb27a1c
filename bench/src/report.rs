//! The report: tables for people as results come in, JSON for scripts at the end, and the check against
//! stored bars. Only instruction counts can fail a check: wall-clock figures differ too much between two
//! runs on a shared machine.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::catchup::CatchUp;
use crate::instructions::Instructions;
use crate::limits::Limit;
use crate::options::Options;
use crate::pairs::{Pair, Run};
use crate::procfs;
use crate::scenarios::{Bar, Scenario};

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: String,
    version: &'static str,
    unix_seconds: u64,
    pairs: u32,
    seconds: u64,
    warm_up_seconds: u64,
    scenarios: Vec<Measured>,
    catch_ups: Vec<CatchUp>,
    instructions: Option<Instructions>,
    limits: Vec<Limit>,
}

#[derive(Debug, Serialize)]
struct Measured {
    id: &'static str,
    conditions: String,
    pairs: Vec<Pair>,
    ratio: Option<Ratio>,
}

/// Gantry beside the mock, over all pairs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// What is compared.
    pub of: &'static str,
    /// Median of the pairs' ratios.
    pub median: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// The bar in words.
    pub bar: Option<String>,
    /// What the bar says.
    pub verdict: Option<Verdict>,
}

/// Whether a bar is reached, by the pairs that no other process disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// By every pair.
    Reached,
    /// By no pair.
    Missed,
    /// By some, or nobody knows because all were disturbed.
    Undecided,
}

/// The bars that `--check` reads.
#[derive(Debug, Deserialize)]
struct StoredBars {
    instructions_per_send: f64,
}

impl Report {
    /// Begins a report.
    pub fn new(options: &Options) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            machine: procfs::describe_machine(),
            version: env!("CARGO_PKG_VERSION"),
            unix_seconds: now.map_or(0, |since| since.as_secs()),
            pairs: options.pairs,
            seconds: options.secs,
            warm_up_seconds: options.warm_up,
            scenarios: Vec::new(),
            catch_ups: Vec::new(),
            instructions: None,
            limits: Vec::new(),
        }
    }

    /// Returns the line that says where this is measured.
    pub fn headline(&self) -> String {
        let debug = if cfg!(debug_assertions) { "; DEBUG BUILD, figures mean nothing" } else { "" };
        format!("host {}; gantry {}{debug}", self.machine, self.version)
    }

    /// Adds and prints the machine's limits.
    pub fn add_limits(&mut self, limits: Vec<Limit>) {
        println!("\nlimits of this machine{:>36}{:>12}{:>14}", "us", "p99 us", "per second");
        for limit in &limits {
            let p99 = limit.p99_us.map_or_else(|| "-".to_owned(), |us| format!("{us:.1}"));
            println!("{:<50}{:>8.2}{p99:>12}{:>14.0}", limit.operation, limit.us, limit.per_second);
        }
        self.limits = limits;
    }

    /// Adds and prints a scenario.
    pub fn add_pairs(&mut self, scenario: &Scenario, pairs: Vec<Pair>) {
        let counted = counted(&pairs);
        let gantry: Vec<&Run> = counted.iter().map(|pair| &pair.gantry).collect();
        let mock: Vec<&Run> = counted.iter().filter_map(|pair| pair.mock.as_ref()).collect();
        println!("{}", HEADINGS);
        println!("{}", row("gantry", &gantry));
        if !mock.is_empty() {
            println!("{}", row("mock", &mock));
        }
        let ratio = Ratio::new(&pairs, scenario.bar);
        if let Some(ratio) = &ratio {
            println!("{}", ratio.describe(counted.len()));
        }
        match pairs.iter().filter(|pair| pair.is_disturbed()).count() {
            0 => {}
            all if all == pairs.len() => println!("all pairs were disturbed by other processes: repeat this"),
            some => println!("{some} of {} pairs do not count: disturbed by other processes", pairs.len()),
        }
        if let Some(error) = gantry.iter().chain(&mock).find_map(|run| run.first_error.as_ref()) {
            println!("first refusal: {error}");
        }
        self.scenarios.push(Measured { id: scenario.id, conditions: scenario.describe(), pairs, ratio });
    }

    /// Adds and prints how slaves caught up.
    pub fn add_catch_ups(&mut self, catch_ups: Vec<CatchUp>) {
        println!("{:<26}{:>8}{:>9}{:>9}{:>9}{:>10}", "", "msg/s", "p50us", "p99us", "p99.9us", "max us");
        for run in &catch_ups {
            let throttle = run.throttle_mib.map_or("no throttle".to_owned(), |mib| format!("{mib} MiB/s"));
            for (when, sends) in [("without slave", &run.before), ("catching up", &run.during)] {
                println!(
                    "{throttle:<12}{when:<14}{:>8.0}{:>9.1}{:>9.1}{:>9.1}{:>10.1}",
                    sends.per_second, sends.p50_us, sends.p99_us, sends.p999_us, sends.max_us
                );
            }
            let (mib, seconds, rate) = (run.backlog_mib, run.seconds, run.mib_per_second);
            println!("{throttle:<12}{mib:.0} MiB in {seconds:.2} s, {rate:.0} MiB/s");
        }
        self.catch_ups = catch_ups;
    }

    /// Adds and prints the instruction count.
    pub fn add_instructions(&mut self, instructions: Instructions) {
        let Instructions { per_send, fixed } = instructions;
        println!(
            "gantry {per_send:.0} user instructions per send ({:.0} million for start and stop)",
            fixed / 1e6
        );
        self.instructions = Some(instructions);
    }

    /// Writes the JSON file and checks the bars, where asked for.
    ///
    /// # Errors
    /// A file cannot be written or read, or more instructions were counted than the bar allows.
    pub fn finish(&self, options: &Options) -> Result<()> {
        if let Some(path) = &options.json {
            let text = serde_json::to_string_pretty(self)?;
            fs::write(path, text + "\n").with_context(|| format!("write the report {}", path.display()))?;
        }
        match &options.check {
            Some(path) => self.check(path),
            None => Ok(()),
        }
    }

    fn check(&self, path: &Path) -> Result<()> {
        let text = fs::read_to_string(path).with_context(|| format!("read the bars {}", path.display()))?;
        let bars: StoredBars =
            serde_json::from_str(&text).with_context(|| format!("read the bars {}", path.display()))?;
        let Some(counted) = self.instructions else {
            bail!("--check compares instruction counts, which were not measured: add `instructions`");
        };
        if counted.per_send > bars.instructions_per_send {
            let (per_send, bar) = (counted.per_send, bars.instructions_per_send);
            bail!("{per_send:.0} user instructions per send are more than the bar of {bar:.0}");
        }
        Ok(())
    }
}

const HEADINGS: &str = "            msg/s    p50us    p99us  p99.9us  cpu us/msg  replica's  switches/msg  rss MiB  \
                        disk B/msg  errors  foreign";

fn row(name: &str, runs: &[&Run]) -> String {
    let replica: Vec<f64> = runs.iter().filter_map(|run| run.replica_cpu_us).collect();
    let replica = if replica.is_empty() { "-".to_owned() } else { format!("{:.2}", median(replica)) };
    let middle = |value: fn(&Run) -> f64| median(runs.iter().map(|run| value(run)).collect());
    format!(
        "{name:<7}{:>10.0}{:>9.1}{:>9.1}{:>9.1}{:>12.2}{replica:>11}{:>14.3}{:>9.0}{:>12.0}{:>8}{:>8.0}%",
        middle(|run| run.per_second),
        middle(|run| run.p50_us),
        middle(|run| run.p99_us),
        middle(|run| run.p999_us),
        middle(|run| run.cpu_us),
        middle(|run| run.switches),
        middle(|run| run.rss_mib),
        middle(|run| run.disk_bytes),
        runs.iter().map(|run| run.errors).sum::<u64>(),
        middle(|run| run.foreign_cpu) * 100.0,
    )
}

impl Ratio {
    /// Compares the pairs that have both sides and were not disturbed, or all if all were; `None` if none
    /// has both.
    pub fn new(pairs: &[Pair], bar: Option<Bar>) -> Option<Self> {
        let all_disturbed = pairs.iter().all(Pair::is_disturbed);
        let latency = matches!(bar, Some(Bar::Latency(_)));
        let value = |run: &Run| if latency { run.p50_us } else { run.per_second };
        let ratio = |pair: &Pair| Some(value(&pair.gantry) / value(pair.mock.as_ref()?));
        let ratios: Vec<f64> = counted(pairs).into_iter().filter_map(ratio).collect();
        let min = ratios.iter().copied().reduce(f64::min)?;
        let max = ratios.iter().copied().reduce(f64::max)?;
        Some(Self {
            of: if latency { "median latency" } else { "throughput" },
            median: median(ratios),
            min,
            max,
            bar: bar.map(Bar::describe),
            verdict: bar
                .map(|bar| if all_disturbed { Verdict::Undecided } else { Verdict::new(bar, min, max) }),
        })
    }

    fn describe(&self, pairs: usize) -> String {
        let Ratio { of, median, min, max, .. } = self;
        let mut text = format!("gantry/mock {of} {median:.2} ({min:.2}-{max:.2} over {pairs} pairs)");
        if let (Some(bar), Some(verdict)) = (&self.bar, self.verdict) {
            let verdict = match verdict {
                Verdict::Reached => "reached",
                Verdict::Missed => "MISSED",
                Verdict::Undecided => "undecided",
            };
            text.push_str(&format!(" {bar} {verdict}"));
        }
        text
    }
}

impl Verdict {
    fn new(bar: Bar, min: f64, max: f64) -> Self {
        let (worst_reaches, best_reaches) = match bar {
            Bar::Throughput(bar) => (min >= bar, max >= bar),
            Bar::Latency(bar) => (max <= bar, min <= bar),
        };
        match (worst_reaches, best_reaches) {
            (true, _) => Verdict::Reached,
            (false, true) => Verdict::Undecided,
            (false, false) => Verdict::Missed,
        }
    }
}

// The pairs that were not disturbed, or all if all were.
fn counted(pairs: &[Pair]) -> Vec<&Pair> {
    let undisturbed: Vec<&Pair> = pairs.iter().filter(|pair| !pair.is_disturbed()).collect();
    if undisturbed.is_empty() { pairs.iter().collect() } else { undisturbed }
}

// Of an even number the lower of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::Side;

    fn run(side: Side, per_second: f64, p50_us: f64) -> Run {
        Run {
            side,
            per_second,
            p50_us,
            p99_us: 0.0,
            p999_us: 0.0,
            max_us: 0.0,
            cpu_us: 0.0,
            replica_cpu_us: None,
            switches: 0.0,
            rss_mib: 0.0,
            peak_rss_mib: 0.0,
            disk_bytes: 0.0,
            errors: 0,
            first_error: None,
            foreign_cpu: 0.0,
        }
    }

    fn pair(gantry: f64, mock: f64) -> Pair {
        let (gantry, mock) = (run(Side::Gantry, gantry, 1e6 / gantry), run(Side::Mock, mock, 1e6 / mock));
        Pair { gantry, mock: Some(mock) }
    }

    #[test]
    fn a_verdict_needs_every_pair_on_one_side_of_the_bar() {
        let cases = [
            ([6.0, 7.0, 8.0], Bar::Throughput(0.6), Verdict::Reached),
            ([5.9, 7.0, 8.0], Bar::Throughput(0.6), Verdict::Undecided),
            ([3.0, 4.0, 5.9], Bar::Throughput(0.6), Verdict::Missed),
            ([8.0, 9.0, 10.0], Bar::Latency(1.3), Verdict::Reached),
            ([7.0, 9.0, 10.0], Bar::Latency(1.3), Verdict::Undecided),
            ([5.0, 6.0, 7.0], Bar::Latency(1.3), Verdict::Missed),
        ];
        for (gantry, bar, verdict) in cases {
            let ratio = Ratio::new(&gantry.map(|per_second| pair(per_second, 10.0)), Some(bar)).unwrap();
            assert_eq!(ratio.verdict, Some(verdict), "{gantry:?} {bar:?}");
        }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_undisturbed_pairs_with_their_range() {
        let ratio = Ratio::new(&[pair(8.0, 10.0), pair(9.0, 10.0), pair(4.0, 20.0)], None).unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max), (0.8, 0.2, 0.9));
        assert_eq!(ratio.describe(3), "gantry/mock throughput 0.80 (0.20-0.90 over 3 pairs)");
        let mut disturbed = pair(1.0, 10.0);
        disturbed.gantry.foreign_cpu = 0.5;
        let bar = Some(Bar::Throughput(0.6));
        let ratio = Ratio::new(&[pair(8.0, 10.0), disturbed.clone()], bar).unwrap();
        assert_eq!((ratio.min, ratio.max, ratio.verdict), (0.8, 0.8, Some(Verdict::Reached)));
        assert_eq!(Ratio::new(&[disturbed], bar).unwrap().verdict, Some(Verdict::Undecided));
        let alone = Pair { mock: None, ..pair(1.0, 1.0) };
        assert_eq!(Ratio::new(&[alone], None), None);
    }
}
