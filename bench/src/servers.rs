//! Servers as processes on one CPU: Gantry's broker with a name server, or the mock. Each starts with
//! new files, and stopping it removes them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, CommandHead, Decoded};
use protocol::header::Serialization;
use protocol::requests::CreateTopic;

use crate::cpu;
use crate::mock::Flush;
use crate::scenarios::{QUEUES, TOPIC};

/// How long a server may take to start; under callgrind it takes long.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long it may take to stop, before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at a server that starts or stops.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Where servers run and what starts them.
#[derive(Clone, Debug)]
pub struct Place {
    /// The program `gantry`.
    pub program: PathBuf,
    /// Folder below which every server gets its own.
    pub data: PathBuf,
    /// The servers' CPU.
    pub server_cpu: usize,
    /// The load's CPU, the same one if there is no other.
    pub load_cpu: usize,
}

impl Place {
    /// Creates the folder `data`; servers will be started from this very program.
    pub fn new(data: &Path) -> Result<Self> {
        fs::create_dir_all(data).with_context(|| format!("create the folder {}", data.display()))?;
        Ok(Self {
            program: std::env::current_exe().context("find this program")?,
            data: data.canonicalize().with_context(|| format!("find the folder {}", data.display()))?,
            server_cpu: 0,
            load_cpu: cpu::count() - 1,
        })
    }

    /// Creates an empty folder, removing what is left of an earlier run.
    pub fn fresh_directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.data.join(name);
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
        fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(path)
    }

    fn spawn(&self, mut command: Command) -> Result<Process> {
        command.stdin(Stdio::piped());
        let mut child = cpu::pinned_to(self.server_cpu, || {
            command.spawn().with_context(|| format!("start {}", command.get_program().display()))
        })?;
        Ok(Process { stdin: child.stdin.take(), child })
    }
}

/// One side of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Gantry's broker.
    Gantry,
    /// The mock broker.
    Mock,
}

/// A running server with an empty topic.
pub struct Server {
    /// Where it serves clients.
    pub address: SocketAddr,
    /// The process that is measured.
    pub pid: u32,
    // The one that is measured first; stopped in this order.
    processes: Vec<Process>,
    directory: PathBuf,
}

impl Server {
    /// Starts one side and creates the topic.
    pub fn start(side: Side, flush: Flush, place: &Place) -> Result<Self> {
        match side {
            Side::Gantry => Self::start_gantry(flush, place, Command::new(&place.program)),
            Side::Mock => Self::start_mock(flush, place),
        }
    }

    /// Starts Gantry's broker, its command line behind what `command` holds already.
    pub fn start_gantry(flush: Flush, place: &Place, command: Command) -> Result<Self> {
        let directory = place.fresh_directory("gantry")?;
        let ports = FreePorts::find()?;
        let mut name_server = start_name_server(place, &directory, &ports)?;
        wait_until_ready(ports.name_server + 1, &mut name_server, &directory.join("namesrv.log"))?;
        let mut broker = start_broker(place, &directory, &ports, flush, command)?;
        wait_until_ready(ports.broker + 3, &mut broker, &directory.join("broker.log"))?;
        let processes = vec![broker, name_server];
        let address = (Ipv4Addr::LOCALHOST, ports.broker).into();
        let server = Self { address, pid: processes[0].child.id(), processes, directory };
        create_topic(address)?;
        Ok(server)
    }

    fn start_mock(flush: Flush, place: &Place) -> Result<Self> {
        let directory = place.fresh_directory("mock")?;
        let mut command = Command::new(&place.program);
        let flush = if flush == Flush::Sync { "sync" } else { "async" };
        command.args(["bench", "mock", "--flush", flush, "--data"]).arg(&directory).stdout(Stdio::piped());
        let mut process = place.spawn(command)?;
        let stdout = process.child.stdout.take().context("read what the mock says")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let port = line.trim().strip_prefix("ready ").and_then(|port| port.parse::<u16>().ok());
        let port = port.ok_or_else(|| anyhow!("the mock did not start, it says {line:?}"))?;
        let pid = process.child.id();
        Ok(Self { address: (Ipv4Addr::LOCALHOST, port).into(), pid, processes: vec![process], directory })
    }

    /// Stops it cleanly and removes its files; returns what the broker's log says.
    pub fn stop(mut self) -> Result<String> {
        for process in &mut self.processes {
            process.stop()?;
        }
        Ok(fs::read_to_string(self.directory.join("broker.log")).unwrap_or_default())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.processes.clear();
        // The next server of this side removes what cannot be removed now, or says why it cannot.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A child that ends when its standard input does, and is killed when it is dropped.
struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Process {
    fn stop(&mut self) -> Result<()> {
        self.stdin.take();
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        bail!("process {} did not stop within {} s", self.child.id(), STOP_LIMIT.as_secs())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start_name_server(place: &Place, directory: &Path, ports: &FreePorts) -> Result<Process> {
    let settings = [
        ("bindAddress", "127.0.0.1".to_owned()),
        ("listenPort", ports.name_server.to_string()),
        ("healthPort", (ports.name_server + 1).to_string()),
        ("kvConfigPath", directory.join("kvConfig.json").display().to_string()),
        ("logLevel", "warn".to_owned()),
    ];
    start_member(place, directory, "namesrv", &settings, Command::new(&place.program))
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
    start_member(place, directory, "broker", &settings, command)
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

fn wait_until_ready(health_port: u16, process: &mut Process, log: &Path) -> Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    let said = || fs::read_to_string(log).unwrap_or_default();
    while !is_ready(health_port) {
        if let Some(status) = process.child.try_wait()? {
            bail!("a server ended while it started, {status}:\n{}", said());
        }
        if Instant::now() > deadline {
            bail!("a server was not ready within {} s:\n{}", START_LIMIT.as_secs(), said());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

fn is_ready(health_port: u16) -> bool {
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, health_port))?;
        stream.set_read_timeout(Some(START_LIMIT))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200"))
}

fn create_topic(address: SocketAddr) -> Result<()> {
    let header = CreateTopic {
        topic: TOPIC.into(),
        default_topic: Some("TBW102".into()),
        read_queue_nums: QUEUES as i32,
        write_queue_nums: QUEUES as i32,
        perm: 6,
        topic_filter_type: Some("SINGLE_TAG".into()),
        topic_sys_flag: Some(0),
        order: false,
        attributes: None,
    };
    let mut out = Vec::new();
    let head = CommandHead::request(Serialization::Json, RequestCode::UPDATE_AND_CREATE_TOPIC.0, 1);
    frame::encode(&mut out, &head, &header, &[]);
    let mut stream = TcpStream::connect(address).context("connect to the broker")?;
    stream.set_read_timeout(Some(START_LIMIT))?;
    stream.write_all(&out)?;
    let mut input = Vec::new();
    loop {
        match frame::decode(&input) {
            Decoded::Frame(answer, _) if answer.header.code == ResponseCode::SUCCESS.0 => return Ok(()),
            Decoded::Frame(answer, _) => {
                bail!("create the topic: {:?} {:?}", answer.header.code, answer.header.remark)
            }
            Decoded::Malformed(error) => return Err(error).context("create the topic"),
            Decoded::NeedMore(_) => {}
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk)? {
            0 => bail!("create the topic: the broker closed the connection"),
            read => input.extend_from_slice(&chunk[..read]),
        }
    }
}

/// Ports of a name server and of a broker, which also listens two below and three above.
struct FreePorts {
    name_server: u16,
    broker: u16,
}

impl FreePorts {
    /// Finds ports below those the system gives away by itself, so that they are still free when used.
    fn find() -> Result<Self> {
        let first = 20_000 + (std::process::id() % 500) as u16 * 20;
        let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        (first..first + 2_000)
            .step_by(20)
            .find(|base| (*base..base + 12).all(is_free))
            .map(|base| Self { name_server: base, broker: base + 5 })
            .ok_or_else(|| anyhow!("find free ports: all of {first} to {} are in use", first + 2_000))
    }
}
