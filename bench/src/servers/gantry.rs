//! Gantry's side: a name server and a broker, with the settings that are measured.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::ask::create_topic;
use super::ports::FreePorts;
use super::process::Process;
use super::{Directory, Place, Server};
use crate::mock::Flush;

/// Starts the broker, its command line behind what `command` holds already.
pub fn start(flush: Flush, place: &Place, command: Command) -> Result<Server> {
    let directory = Directory(place.fresh_directory("gantry")?);
    let ports = FreePorts::find()?;
    let name_server = start_name_server(place, &directory.0, &ports)?;
    let broker = start_broker(place, &directory.0, &ports, flush, command)?;
    let address = (Ipv4Addr::LOCALHOST, ports.broker).into();
    let server = Server { address, pid: broker.pid(), processes: vec![broker, name_server], directory };
    create_topic(address)?;
    Ok(server)
}

fn start_name_server(place: &Place, directory: &Path, ports: &FreePorts) -> Result<Process> {
    let settings = [
        ("bindAddress", "127.0.0.1".to_owned()),
        ("listenPort", ports.name_server.to_string()),
        ("healthPort", (ports.name_server + 1).to_string()),
        ("kvConfigPath", directory.join("kvConfig.json").display().to_string()),
        ("logLevel", "warn".to_owned()),
    ];
    let mut process = start_member(place, directory, "namesrv", &settings, Command::new(&place.program))?;
    process.wait_until_ready(ports.name_server + 1, &directory.join("namesrv.log"))?;
    Ok(process)
}

fn start_broker(
    place: &Place,
    directory: &Path,
    ports: &FreePorts,
    flush: Flush,
    command: Command,
) -> Result<Process> {
    let flush = if flush == Flush::Sync { "SYNC_FLUSH" } else { "ASYNC_FLUSH" };
    let settings = [
        ("bindAddress", "127.0.0.1".to_owned()),
        ("brokerClusterName", "bench".to_owned()),
        ("brokerName", "bench".to_owned()),
        ("brokerIP1", "127.0.0.1".to_owned()),
        ("listenPort", ports.broker.to_string()),
        ("healthPort", (ports.broker + 3).to_string()),
        ("namesrvAddr", format!("127.0.0.1:{}", ports.name_server)),
        ("storePathRootDir", directory.join("store").display().to_string()),
        ("flushDiskType", flush.to_owned()),
        ("autoCreateSubscriptionGroup", "true".to_owned()),
        ("diskMaxUsedSpaceRatio", "95".to_owned()),
        ("logLevel", "warn".to_owned()),
    ];
    let mut process = start_member(place, directory, "broker", &settings, command)?;
    process.wait_until_ready(ports.broker + 3, &directory.join("broker.log"))?;
    Ok(process)
}

fn start_member(
    place: &Place,
    directory: &Path,
    role: &str,
    settings: &[(&str, String)],
    mut command: Command,
) -> Result<Process> {
    let config = directory.join(format!("{role}.properties"));
    let text: String = settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;
    let log = File::create(directory.join(format!("{role}.log")))?;
    command.args(["member", role, "--config"]).arg(&config).stdout(log.try_clone()?).stderr(log);
    place.spawn(command)
}
