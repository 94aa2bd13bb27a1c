//! `gantry up`: a manifest as a cluster on this machine, until it is told to stop.

use std::path::{Path, PathBuf};
use std::sync::mpsc;

use anyhow::Context;
use clap::Args;
use local::{Cluster, Event, LocalOptions, StartError};
use manifest::Effective;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{BAD_MANIFEST, CANNOT_START, Failure, MEMBER_FAILED};
use crate::output::{self, Format};

/// Runs a RocketMQCluster manifest as processes on this machine, until Ctrl-C or SIGTERM.
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

/// How many lines wait for a standard output that stands still; further ones are dropped.
const MOST_LINES: usize = 1_000;
/// The status of a process that was told twice to stop.
const INTERRUPTED: i32 = 130;

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let effective = read_manifest(&arguments.file)?;
    let mut options = LocalOptions::new(std::env::current_exe().context("find this command's own file")?);
    options.data = arguments.data.clone();
    options.port_offset = arguments.port_offset;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(run_cluster(&effective, options, arguments))
}

fn read_manifest(file: &Path) -> anyhow::Result<Effective> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read manifest {}", file.display()))?;
    let validated = manifest::load(&text).map_err(|problems| {
        let lines = problems.0.iter().map(|problem| format!("\n  {problem}")).collect::<String>();
        Failure::because(BAD_MANIFEST, format!("manifest {} cannot be used:{lines}", file.display()))
    })?;
    Ok(manifest::resolve(&validated))
}

async fn run_cluster(
    effective: &Effective,
    options: LocalOptions,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let mut stop = Stop::on_signals().context("listen for signals")?;
    let format = arguments.output;
    // Events are written by a thread of their own: a terminal that stands still holds up no member.
    let (events, heard) = mpsc::sync_channel(MOST_LINES);
    let width = longest_name(effective);
    let writer =
        std::thread::spawn(move || heard.iter().try_for_each(|line: Line| line.write(format, width)));
    let told = events.clone();
    let cluster = Cluster::launch(effective, options, move |event| {
        // Without a reader of standard output, or with one that stands still, the cluster goes on.
        let _ = told.try_send(Line::Event(event));
    })
    .map_err(|error: StartError| Failure::because(CANNOT_START, error))?;
    let failed = tokio::select! {
        ready = cluster.ready() => ready.err(),
        () = stop.asked() => None,
    };
    let failed = match failed {
        None if !stop.was_asked => {
            let _ = events.try_send(Line::ClusterReady(Summary::of(&cluster, effective, arguments)));
            tokio::select! {
                failed = cluster.failed() => Some(failed),
                () = stop.asked() => None,
            }
        }
        failed => failed,
    };
    tokio::select! {
        () = cluster.stop() => {}
        () = stop.asked() => {
            eprintln!("gantry: told again to stop: leaving, the members end by themselves");
            std::process::exit(INTERRUPTED);
        }
    }
    drop(events);
    let written = writer.join();
    if let Some(failed) = failed {
        return Err(Failure::because(MEMBER_FAILED, failed));
    }
    // A reader of our lines that went away before is no reason to fail.
    let _ = written;
    Ok(())
}

/// The wish to stop, by Ctrl-C or SIGTERM.
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    was_asked: bool,
}

impl Stop {
    fn on_signals() -> std::io::Result<Stop> {
        Ok(Stop {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            was_asked: false,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        self.was_asked = true;
    }
}

/// Something to write.
enum Line {
    Event(Event),
    ClusterReady(Summary),
}

/// What a user needs to know about a cluster that is ready.
struct Summary {
    cluster_name: String,
    name_server: String,
    data: PathBuf,
    kept: bool,
    topics_are_created: bool,
}

impl Summary {
    fn of(cluster: &Cluster, effective: &Effective, arguments: &Arguments) -> Summary {
        Summary {
            cluster_name: effective.cluster_name.clone(),
            name_server: cluster.name_server_address(),
            data: cluster.data().to_owned(),
            kept: arguments.data.is_some(),
            topics_are_created: effective.brokers.auto_create_topics,
        }
    }

    fn text(&self) -> String {
        let kept = if self.kept { "" } else { "  (goes at the end; keep it with --data DIR)" };
        let usual = self.name_server == "127.0.0.1:9876";
        let address = if usual { String::new() } else { format!(" -n '{}'", self.name_server) };
        let create = if self.topics_are_created {
            String::new()
        } else {
            format!("\n  gantry topic create TopicTest{address}")
        };
        format!(
            "\nCluster {} is ready. Name server: {}\nData and logs: {}{kept}\n\n\
             Send a first message and read it back:{create}\n  \
             gantry produce TopicTest --body hello{address}\n  \
             gantry consume TopicTest --from earliest{address}\n\n\
             Ctrl-C stops the cluster.",
            self.cluster_name,
            self.name_server,
            self.data.display(),
        )
    }
}

impl Line {
    fn write(&self, format: Format, width: usize) -> std::io::Result<()> {
        match format {
            Format::Json => output::json(&self.json()),
            Format::Text => output::line(&self.text(width)),
        }
    }

    fn json(&self) -> serde_json::Value {
        let ready = |event: &str, ready: &local::Ready| {
            json!({
                "event": event, "member": ready.member, "role": ready.role.as_str(), "pid": ready.pid,
                "address": ready.address, "health": ready.health, "took_ms": millis(ready.took),
            })
        };
        match self {
            Line::Event(Event::Ready(member)) => ready("ready", member),
            Line::Event(Event::Restarted(member)) => ready("restarted", member),
            Line::Event(Event::Died { member, how, last_words, log, restart_in }) => json!({
                "event": "died", "member": member, "how": how, "last_words": last_words, "log": log,
                "restart_in_ms": millis(*restart_in),
            }),
            Line::Event(Event::Stopped { member }) => json!({ "event": "stopped", "member": member }),
            Line::Event(Event::Killed { member, after }) => {
                json!({ "event": "killed", "member": member, "after_ms": millis(*after) })
            }
            Line::Event(Event::Note(text)) => json!({ "event": "note", "text": text }),
            Line::ClusterReady(summary) => json!({
                "event": "cluster_ready", "cluster": summary.cluster_name,
                "name_server": summary.name_server, "data": summary.data,
            }),
        }
    }

    fn text(&self, width: usize) -> String {
        let ready = |word: &str, ready: &local::Ready| {
            format!(
                "{:width$}  {word:9}  {:21}  {} ms",
                ready.member,
                ready.address.to_string(),
                millis(ready.took)
            )
        };
        match self {
            Line::Event(Event::Ready(member)) => ready("ready", member),
            Line::Event(Event::Restarted(member)) => ready("restarted", member),
            Line::Event(Event::Died { member, how, last_words, log, restart_in }) => {
                let words =
                    last_words.as_ref().map(|words| format!("\n  it last said: {words}")).unwrap_or_default();
                format!(
                    "{member:width$}  died       {how}; starting it again in {restart_in:?}{words}\n  its log is {}",
                    log.display()
                )
            }
            Line::Event(Event::Stopped { member }) => format!("{member:width$}  stopped"),
            Line::Event(Event::Killed { member, after }) => {
                format!("{member:width$}  killed     did not stop within {after:?}")
            }
            Line::Event(Event::Note(text)) => format!("note: {text}"),
            Line::ClusterReady(summary) => summary.text(),
        }
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn longest_name(effective: &Effective) -> usize {
    manifest::members(effective).iter().map(|member| member.name.len()).max().unwrap_or(0)
}
