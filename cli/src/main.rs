//! The command `gantry`: one file per command group.
//!
//! | File | Idea |
//! |---|---|
//! | `up.rs`, `up/lines.rs` | `gantry up`: a manifest as a cluster on this machine, and what it writes |
//! | `produce.rs` | `gantry produce`: sends messages |
//! | `consume.rs` | `gantry consume`: shows messages |
//! | `plan.rs`, `plan/` | `gantry plan`: what a manifest would do, before it is applied |
//! | `status.rs`, `status/` | `gantry status`: every broker, and how far its slaves are; a cluster in Kubernetes |
//! | `explain.rs`, `explain/` | `gantry explain`: why a cluster is not ready, and what to do |
//! | `requests.rs` | `gantry restart`, `approve`, `replace-store`: what a person asks of the operator |
//! | `topic.rs` | `gantry topic`: lists, creates, deletes, describes |
//! | `store.rs` | `gantry store`: checks and shows a stopped broker's files |
//! | `bench.rs` | `gantry bench`: measures a broker |
//! | `member.rs` | hidden: one member of a local cluster |
//! | `scan.rs` | all a topic holds at one moment, in the order in which it was stored |
//! | `name_server.rs` | how a command reaches a cluster |
//! | `kubernetes.rs`, `kubernetes/` | how a command reaches Kubernetes, and what it reads there |
//! | `exit.rs` | what the exit status means; errors with their remedies |
//! | `output.rs` | lines for people, JSON for scripts |
//! | `table.rs` | a table for people |
//! | `utc.rs` | a time as people read it |
#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

mod bench;
mod consume;
mod exit;
mod explain;
mod kubernetes;
mod member;
mod name_server;
mod output;
mod plan;
mod produce;
mod requests;
mod scan;
mod status;
mod store;
mod table;
mod topic;
mod up;
mod utc;

/// Less memory and fewer page faults than the system's allocator under a broker's load.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// RocketMQ-compatible clusters, declared by one manifest.
#[derive(Parser)]
#[command(name = "gantry", version, max_term_width = 100, after_help = exit::HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Arguments),
    Plan(plan::Arguments),
    Explain(explain::Arguments),
    Produce(produce::Arguments),
    Consume(consume::Arguments),
    Topic(topic::Arguments),
    Status(status::Arguments),
    Restart(requests::Restart),
    Approve(requests::Approve),
    ReplaceStore(requests::ReplaceStore),
    #[command(subcommand)]
    Store(store::Command),
    Bench(bench::Arguments),
    #[command(hide = true)]
    Member(member::Arguments),
}

fn main() -> ExitCode {
    let command = match arguments() {
        Ok(arguments) => arguments.command,
        Err(wrong) => return exit::wrong_use(&wrong),
    };
    let result = match command {
        Command::Up(arguments) => up::run(&arguments),
        Command::Plan(arguments) => return exit::report_status(plan::run(&arguments)),
        Command::Produce(arguments) => produce::run(&arguments),
        Command::Consume(arguments) => consume::run(&arguments),
        Command::Topic(arguments) => topic::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Restart(arguments) => requests::restart(&arguments),
        Command::Approve(arguments) => requests::approve(&arguments),
        Command::ReplaceStore(arguments) => requests::replace_store(&arguments),
        Command::Store(command) => store::run(&command),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Member(arguments) => member::run(&arguments),
    };
    exit::report(result)
}

fn arguments() -> Result<Arguments, clap::Error> {
    let command = match kubernetes::is_plugin() {
        true => Arguments::command().bin_name("kubectl gantry"),
        false => Arguments::command(),
    };
    Arguments::from_arg_matches(&command.try_get_matches()?)
}
