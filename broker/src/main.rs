//! `gantry-broker -c FILE`, or `gantry-broker run --config FILE --live FILE --store FOLDER` as in pods: reads settings and
//! runs a broker until SIGTERM or SIGINT.

use std::path::PathBuf;

use anyhow::Context;
use broker::live_file::Basis;
use broker::{Config, Doors, Listeners, Sockets};
use clap::{Args, Parser, Subcommand};
use daemon::signals::Shutdown;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// RocketMQ-compatible broker.
#[derive(Parser)]
#[command(name = "gantry-broker", version = daemon::build::VERSION, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a broker; the same as without a command.
    Run(Run),
}

#[derive(Args)]
struct Run {
    /// File of settings, `key=value` per line.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// File of settings that are taken over while the broker runs, whenever they change; stronger than all others. The
    /// broker waits for it, unless its store has settings that it took over before.
    #[arg(long, value_name = "FILE")]
    live: Option<PathBuf>,
    /// Folder of everything; stronger than `storePathRootDir`.
    #[arg(long, value_name = "FOLDER")]
    store: Option<PathBuf>,
    /// One setting; stronger than the file and the environment (GANTRY_LISTEN_PORT and so on).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let run = match arguments.command {
        Some(Command::Run(run)) => run,
        None => arguments.run,
    };
    let given = given(&run)?;
    let basis = match run.live {
        Some(_) => Basis::without_live(given)?,
        None => Basis { config: Config::from_properties(&given)?, given },
    };
    daemon::logs::init(basis.config.log_format, &basis.config.live.log_level)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("start the runtime")?.block_on(async {
        let shutdown = Shutdown::on_signals().context("install signal handlers")?;
        match run.live {
            Some(file) => {
                let doors = Doors::bind(&basis.config).await?;
                Ok(broker::run_with_live(basis, file, doors, Sockets::bind, shutdown).await?)
            }
            None => {
                let listeners = Listeners::bind(&basis.config).await?;
                Ok(broker::run(basis.config, listeners, shutdown).await?)
            }
        }
    })
}

/// Everything that was given, the strongest last.
fn given(run: &Run) -> anyhow::Result<Vec<(String, String)>> {
    let mut given = daemon::config::load(run.config.as_deref(), std::env::vars(), &run.sets)?;
    if let Ok(ip) = std::env::var("POD_IP") {
        given.insert(0, ("podIP".to_owned(), ip));
    }
    if let Some(store) = &run.store {
        given.push(("storePathRootDir".to_owned(), store.display().to_string()));
    }
    Ok(given)
}
