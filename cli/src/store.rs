//! `gantry store`: what is in the files of a broker that is stopped.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use comfy_table::Table;
use protocol::message::Record;
use serde::Serialize;
use store::disk::Disk;
use store::disk::real::RealDisk;

use crate::output::{self, Format};
use crate::utc;

/// Check and show the files of a stopped broker.
#[derive(Subcommand)]
pub enum Command {
    /// Read every record and index file; exit status 1 if something is wrong.
    Check(Check),
    /// Show records in the order of the log.
    Dump(Dump),
}

#[derive(Args)]
pub struct Check {
    /// The broker's storePathRootDir.
    dir: PathBuf,
    /// How to write the result.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

#[derive(Args)]
pub struct Dump {
    /// The broker's storePathRootDir.
    dir: PathBuf,
    /// Physical offset to begin at.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Records to show at most.
    #[arg(long, default_value_t = 100)]
    count: u64,
    /// Only records of this topic.
    #[arg(long)]
    topic: Option<String>,
    /// How to write the result.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// Runs one of them.
pub fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Check(arguments) => check(arguments),
        Command::Dump(arguments) => dump(arguments),
    }
}

/// Keeps a broker from starting while its files are read, and refuses when one runs.
fn lock(dir: &Path) -> anyhow::Result<Box<dyn Send + Sync>> {
    if !dir.join("commitlog").is_dir() {
        bail!("{} is not the storePathRootDir of a broker: it has no folder commitlog", dir.display());
    }
    RealDisk
        .lock(&dir.join("lock"))
        .with_context(|| format!("{} is in use; stop its broker first", dir.display()))
}

fn check(arguments: &Check) -> anyhow::Result<()> {
    let _lock = lock(&arguments.dir)?;
    let report = store::check::check(&RealDisk, &arguments.dir).context("check the store")?;
    match arguments.output {
        Format::Json => output::json(&report)?,
        Format::Text => {
            let mut table = Table::new();
            table.set_header(["segment", "records", "ends at", "with", "index"]);
            for s in &report.segments {
                table.add_row([
                    format!("{:020}", s.base),
                    s.records.to_string(),
                    s.end.to_string(),
                    s.ends_with.clone(),
                    s.index.clone(),
                ]);
            }
            output::line(&table.to_string())?;
            for problem in &report.problems {
                output::line(&format!("problem: {problem}"))?;
            }
        }
    }
    match report.problems.len() {
        0 => Ok(()),
        n => bail!("{n} problems in {}", arguments.dir.display()),
    }
}

/// One record as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    physical_offset: i64,
    size: usize,
    topic: &'a str,
    queue_id: i32,
    queue_offset: i64,
    store_timestamp: i64,
    body_bytes: usize,
    properties: &'a str,
}

fn dump(arguments: &Dump) -> anyhow::Result<()> {
    let _lock = lock(&arguments.dir)?;
    let mut left = arguments.count;
    let mut failed = Ok(());
    let end = store::dump::dump(&RealDisk, &arguments.dir, arguments.from, |record| {
        if arguments.topic.as_deref().is_none_or(|t| t == record.topic) {
            failed = show(record, arguments.output);
            left = left.saturating_sub(1);
        }
        left > 0 && failed.is_ok()
    });
    failed?;
    if let (Some((end, reason)), Format::Text) = (end.context("read the log")?, arguments.output) {
        output::line(&format!("the log ends at {end}: {reason}"))?;
    }
    Ok(())
}

fn show(record: &Record<'_>, format: Format) -> anyhow::Result<()> {
    let line = Line {
        physical_offset: record.physical_offset,
        size: record.total_size,
        topic: record.topic,
        queue_id: record.queue_id,
        queue_offset: record.queue_offset,
        store_timestamp: record.store_timestamp,
        body_bytes: record.body.len(),
        properties: record.properties,
    };
    match format {
        Format::Json => output::json(&line)?,
        Format::Text => {
            let properties = line.properties.replace('\u{1}', "=").replace('\u{2}', " ");
            output::line(&format!(
                "{:>14}  {}  {} queue {} at {}  {} bytes  {}",
                line.physical_offset,
                utc::format(line.store_timestamp),
                line.topic,
                line.queue_id,
                line.queue_offset,
                line.size,
                properties
            ))?;
        }
    }
    Ok(())
}
