//! `gantry-namesrv run -c FILE`: reads settings and runs a name server until SIGTERM or SIGINT.

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use daemon::signals::Shutdown;
use namesrv::{Config, Listeners};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// RocketMQ-compatible name server.
#[derive(Parser)]
#[command(name = "gantry-namesrv", version = daemon::build::VERSION)]
struct Arguments {
    /// What to do; there is nothing else, so the word may be left out.
    #[arg(value_name = "run", value_parser = ["run"])]
    _action: Option<String>,
    /// File of settings, `key=value` per line.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting; stronger than the file and the environment (GANTRY_LISTEN_PORT and so on).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Print all settings and leave.
    #[arg(short, long)]
    print_config: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut pairs = Vec::new();
    if let Some(file) = &arguments.config {
        // Live changes go to the file they came from, unless it names another one.
        pairs.push(("configStorePath".to_owned(), file.display().to_string()));
    }
    pairs.extend(daemon::config::load(arguments.config.as_deref(), std::env::vars(), &arguments.sets)?);
    let config = Config::from_properties(&pairs)?;
    if arguments.print_config {
        print!("{}", daemon::config::write(&config.to_properties()));
        return Ok(());
    }
    daemon::logs::init(config.log_format, &config.log_level)?;
    // Two threads: one may wait for the disk under a KV change while the other serves.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context("start the runtime")?.block_on(async {
        let shutdown = Shutdown::on_signals().context("install signal handlers")?;
        let listeners = Listeners::bind(&config).await?;
        Ok(namesrv::run(config, listeners, shutdown).await?)
    })
}
