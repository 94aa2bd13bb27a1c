//! Hidden: the process of one member of a local cluster, started by `gantry up`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Runs one member of a local cluster. `gantry up` starts it; it ends when its standard input does.
#[derive(Args, Clone)]
pub struct Arguments {
    role: Role,
    #[arg(long)]
    config: PathBuf,
    #[arg(long)]
    live: Option<PathBuf>,
    #[arg(long)]
    store: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Namesrv,
    Broker,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let role = match arguments.role {
        Role::Namesrv => manifest::Role::NameServer,
        Role::Broker => manifest::Role::Broker,
    };
    let Arguments { config, live, store, .. } = arguments.clone();
    local::member::run(&local::member::Member { role, config, live, store })
}
