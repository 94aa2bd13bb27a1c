//! The process of a member: its server with the settings the runner wrote, until it is told to stop or
//! the runner is gone.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use broker::live_file::Basis;
use broker::{Doors, Sockets};
use daemon::config::ConfigErrors;
use daemon::logs::{LOG_FORMATS, LogFormat};
use daemon::signals::Shutdown;
use manifest::Role;

use crate::supervisor::UNUSABLE_SETTINGS;

/// How long a member may take to stop after its runner is gone; nobody is left to kill it.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// What a member is told by its runner.
#[derive(Debug, Clone)]
pub struct Member {
    pub role: Role,
    /// The settings it starts with.
    pub config: PathBuf,
    /// The settings a broker takes over while it runs.
    pub live: Option<PathBuf>,
    /// Where a broker's store is.
    pub store: Option<PathBuf>,
}

/// Runs one member until SIGTERM, SIGINT or the end of standard input, which is the end of the runner.
/// A process whose settings cannot be used exits with status 2 and says why in its log.
///
/// # Errors
/// The server could not start or broke.
pub fn run(member: &Member) -> anyhow::Result<()> {
    // What the runner wrote wins: it follows from the manifest, and the environment is that of all members.
    let mut settings = daemon::config::load(None, std::env::vars(), &[])?;
    settings.extend(daemon::config::load(Some(&member.config), [], &[])?);
    if let Some(store) = &member.store {
        settings.push(("storePathRootDir".to_owned(), store.display().to_string()));
    }
    start_logging(&settings)?;
    let role = member.role;
    runtime(role).context("start the runtime")?.block_on(async {
        let shutdown = Shutdown::on_signals().context("listen for signals")?;
        stop_with_the_runner(shutdown.clone());
        match role {
            Role::NameServer => run_name_server(&settings, shutdown).await,
            Role::Broker => run_broker(settings, member.live.clone(), shutdown).await,
        }
    })
}

/// The threads of a server's own command: a name server waits for the disk now and then, a broker works.
fn runtime(role: Role) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if role == Role::NameServer {
        builder.worker_threads(2);
    }
    builder.enable_all().build()
}

fn start_logging(settings: &[(String, String)]) -> anyhow::Result<()> {
    let given = |key| settings.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    let format = LOG_FORMATS.iter().find(|(name, _)| Some(*name) == given("logFormat"));
    daemon::logs::init(
        format.map_or(LogFormat::Text, |(_, format)| *format),
        given("logLevel").unwrap_or("info"),
    )?;
    Ok(())
}

async fn run_name_server(settings: &[(String, String)], shutdown: Shutdown) -> anyhow::Result<()> {
    let config = namesrv::Config::from_properties(settings).unwrap_or_else(unusable);
    let listeners = namesrv::Listeners::bind(&config).await?;
    Ok(namesrv::run(config, listeners, shutdown).await?)
}

async fn run_broker(
    settings: Vec<(String, String)>,
    live: Option<PathBuf>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let Some(live) = live else {
        let config = broker::Config::from_properties(&settings).unwrap_or_else(unusable);
        let listeners = broker::Listeners::bind(&config).await?;
        return Ok(broker::run(config, listeners, shutdown).await?);
    };
    let basis = Basis::without_live(settings).unwrap_or_else(unusable);
    let doors = Doors::bind(&basis.config).await?;
    Ok(broker::run_with_live(basis, live, doors, Sockets::bind, shutdown).await?)
}

/// Ends the process: with these settings no start can succeed.
fn unusable<T>(errors: ConfigErrors) -> T {
    // One line, so that the runner can repeat it.
    tracing::error!("{}", errors.to_string().replace('\n', ";"));
    std::process::exit(UNUSABLE_SETTINGS)
}

/// Stops this process when the runner is gone, however it went: then our standard input ends.
fn stop_with_the_runner(shutdown: Shutdown) {
    // A thread that blocks in read keeps no runtime from ending.
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while std::io::stdin().read(&mut buffer).is_ok_and(|read| read > 0) {}
        if !shutdown.is_triggered() {
            tracing::info!("stopping: the runner is gone");
        }
        shutdown.trigger();
        std::thread::sleep(STOPS_WITHIN);
        tracing::error!("leaving without a clean stop: it took longer than {STOPS_WITHIN:?}");
        std::process::exit(1);
    });
}
