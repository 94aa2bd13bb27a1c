//! The program `gantry-operator`: runs the operator, or prints the definition of its kind.

use std::io::Write;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};
use daemon::health::Health;
use daemon::metrics::Metrics;
use daemon::signals::Shutdown;
use operator::metrics::Counters;
use operator::run::{Surroundings, run};
use operator::settings::RunArguments;
use tokio::net::TcpListener;

/// What waits is not in a thread: two are enough for the planning of hundreds of clusters.
const THREADS: usize = 2;

/// Kubernetes operator of Gantry.
#[derive(Parser)]
#[command(name = "gantry-operator", version = daemon::build::VERSION)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the operator until SIGTERM or SIGINT.
    Run(Box<RunArguments>),
    /// Prints the CustomResourceDefinition of RocketMQCluster as YAML.
    Crd,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Crd => {
            let text = manifest::crd::definition_yaml();
            std::io::stdout().write_all(text.as_bytes()).context("print the definition")
        }
        Command::Run(arguments) => {
            arguments.validate().map_err(anyhow::Error::msg)?;
            // The client calls each request that fails an ERROR, hundreds while the API server is away; those who asked say it.
            let level = format!("kube_client=off,{}", arguments.log_level);
            daemon::logs::init(arguments.log_format.into(), &level)?;
            let provider = rustls::crypto::ring::default_provider();
            provider.install_default().map_err(|_| anyhow::anyhow!("TLS was set up twice"))?;
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
            runtime.context("start the runtime")?.block_on(operate(*arguments))
        }
    }
}

async fn operate(arguments: RunArguments) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals().context("install signal handlers")?;
    let (health, metrics, counters) = (Health::new(), Metrics::new(), Counters::default());
    for address in [arguments.metrics_address, arguments.health_address] {
        let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
        let serve = daemon::http::serve(listener, health.clone(), metrics.clone());
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!("serve {address}: {error}");
                shutdown.trigger();
            }
        });
    }
    let config = kube::Config::infer().await.context("find an API server: in a pod, or by a kubeconfig")?;
    let client = operator::api::client(config, counters.clone()).context("set up the API server's client")?;
    let members = Arc::new(operator::members::Real::new());
    tracing::info!(version = daemon::build::VERSION, "gantry-operator starts");
    run(arguments, Surroundings { client, members, health, metrics, counters }, shutdown).await?;
    Ok(())
}
