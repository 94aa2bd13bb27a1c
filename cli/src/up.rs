//! `gantry up`: a manifest as a cluster on this machine, until it is told to stop.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use local::{Cluster, Event, LocalOptions, StartError};
use manifest::Validated;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{BAD_MANIFEST, CANNOT_START, Failure, MEMBER_FAILED};
use crate::name_server::runtime;
use crate::output::{self, Format};
use lines::{Line, Summary, longest_name};
use watched::Watched;

mod lines;
mod watched;

/// Runs a RocketMQCluster manifest as processes on this machine, until Ctrl-C or SIGTERM.
///
/// Edits of the manifest are followed while it runs, by the same plan as on Kubernetes; with --data also those made between
/// two runs.
#[derive(Args)]
pub struct Arguments {
    /// The manifest, a YAML file with one RocketMQCluster
    file: PathBuf,
    /// Keeps data and logs in this folder, also for the next run; without it they go at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Adds this to every port
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=i64::from(local::ports::LARGEST_OFFSET)))]
    port_offset: u16,
    /// Writes lines for people, or one JSON object per line
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// Signals that come this soon after the first one mean the same.
const ONE_WISH: Duration = Duration::from_secs(1);
/// How many lines wait for a standard output that stands still; further ones are dropped.
const MOST_LINES: usize = 1_000;
/// The status of a process that was told twice to stop.
const INTERRUPTED: i32 = 130;

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let file = &arguments.file;
    let text = std::fs::read_to_string(file).with_context(|| format!("read manifest {}", file.display()))?;
    let manifest = read_manifest(file, &text)?;
    let mut options = LocalOptions::new(std::env::current_exe().context("find this command's own file")?);
    options.data = arguments.data.clone();
    options.port_offset = arguments.port_offset;
    runtime()?.block_on(run_cluster(&manifest, Watched::new(file, text), options, arguments))
}

fn read_manifest(file: &Path, text: &str) -> anyhow::Result<Validated> {
    manifest::load(text).map_err(|problems| {
        let lines = problems.0.iter().map(|problem| format!("\n  {problem}")).collect::<String>();
        Failure::because(BAD_MANIFEST, format!("manifest {} cannot be used:{lines}", file.display()))
    })
}

/// What the manifest asks for that has no meaning here.
fn ignored(manifest: &Validated) -> Option<String> {
    let fields = manifest.only_on_kubernetes();
    (!fields.is_empty())
        .then(|| format!("ignored here, it only matters on Kubernetes: {}", fields.join(", ")))
}

async fn run_cluster(
    manifest: &Validated,
    mut file: Watched,
    options: LocalOptions,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let mut stop = Stop::on_signals().context("listen for signals")?;
    let kept = options.data.is_some();
    let effective = manifest::resolve(manifest);
    let (lines, writer) = start_writer(arguments.output, longest_name(&effective));
    if let Some(note) = ignored(manifest) {
        tell(&lines, Line::Event(Event::Note(note)));
    }
    let told = lines.clone();
    let cluster = Cluster::launch(manifest, options, move |event| tell(&told, Line::Event(event)))
        .map_err(|error| Failure::because(status_of(&error), error))?;
    let failed = {
        // From the start: an edit may be what makes it ready.
        let mut following = pin!(follow(&mut file, &cluster, &lines));
        let mut failed = tokio::select! {
            ready = cluster.ready() => ready.err(),
            () = stop.asked() => None,
            never = &mut following => never,
        };
        if failed.is_none() && stop.asked_at.is_none() {
            tell(&lines, Line::ClusterReady(Summary::of(&cluster, &effective, kept)));
            failed = tokio::select! {
                failed = cluster.failed() => Some(failed),
                () = stop.asked() => None,
                never = &mut following => never,
            };
        }
        failed
    };
    tokio::select! {
        () = cluster.stop() => {}
        () = stop.asked_again() => {
            output::note("gantry: told again to stop: leaving, the members end by themselves");
            std::process::exit(INTERRUPTED);
        }
    }
    drop(lines);
    // A reader of our lines that went away before the end is no reason to fail.
    let _ = writer.join();
    failed.map_or(Ok(()), |failed| Err(Failure::because(MEMBER_FAILED, failed)))
}

fn status_of(error: &StartError) -> u8 {
    match error {
        StartError::Refused(_) => BAD_MANIFEST,
        _ => CANNOT_START,
    }
}

/// Hands every edit of the file to the cluster; never returns.
async fn follow<T>(file: &mut Watched, cluster: &Cluster, lines: &SyncSender<Line>) -> T {
    loop {
        match file.edited().await {
            Ok(manifest) => {
                if let Some(note) = ignored(&manifest) {
                    tell(lines, Line::Event(Event::Note(note)));
                }
                cluster.edit(manifest);
            }
            Err(problems) => tell(lines, Line::Event(Event::EditRefused { problems })),
        }
    }
}

/// Lines are written by a thread of its own: a terminal that stands still holds up no member.
fn start_writer(format: Format, width: usize) -> (SyncSender<Line>, JoinHandle<std::io::Result<()>>) {
    let (lines, heard) = mpsc::sync_channel::<Line>(MOST_LINES);
    let writer = std::thread::spawn(move || heard.iter().try_for_each(|line| line.write(format, width)));
    (lines, writer)
}

/// Hands a line to the writer; without one, or with one that stands still, the cluster goes on.
fn tell(lines: &SyncSender<Line>, line: Line) {
    let _ = lines.try_send(line);
}

/// The wish to stop, by Ctrl-C or SIGTERM.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
    asked_at: Option<Instant>,
}

impl Stop {
    fn on_signals() -> std::io::Result<Stop> {
        Ok(Stop {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            asked_at: None,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        self.asked_at.get_or_insert_with(Instant::now);
    }

    /// Waits for another signal, or for the first one where the stop has another reason. Two at once are one
    /// wish: a shell or `timeout` signals the process and then its group.
    async fn asked_again(&mut self) {
        loop {
            let before = self.asked_at;
            self.asked().await;
            if before.is_none_or(|before| before.elapsed() >= ONE_WISH) {
                return;
            }
        }
    }
}
