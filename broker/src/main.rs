//! `gantry-broker -c FILE`: reads settings and runs a broker until SIGTERM or SIGINT.

use std::path::PathBuf;

use anyhow::Context;
use broker::{Config, Listeners};
use clap::Parser;
use daemon::signals::Shutdown;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// RocketMQ-compatible broker.
#[derive(Parser)]
#[command(name = "gantry-broker", version = daemon::build::VERSION)]
struct Arguments {
    /// File of settings, `key=value` per line.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting; stronger than the file and the environment (GANTRY_LISTEN_PORT and so on).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let pairs = daemon::config::load(arguments.config.as_deref(), std::env::vars(), &arguments.sets)?;
    let config = Config::from_properties(&pairs)?;
    daemon::logs::init(config.log_format, &config.live.log_level)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("start the runtime")?.block_on(async {
        let shutdown = Shutdown::on_signals().context("install signal handlers")?;
        let listeners = Listeners::bind(&config).await?;
        Ok(broker::run(config, listeners, shutdown).await?)
    })
}
