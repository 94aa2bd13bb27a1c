//! The Kubernetes of `tests/kube`, used as a person uses it (`kubectl`) and as a program does (the API, for looking often).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Between two looks; a look costs the API server a few milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// A running cluster of nodes.
pub struct Kube {
    kubectl: PathBuf,
    config: String,
    /// `kubectl proxy`: the API without certificates, on a port of this host.
    proxy: Child,
    port: u16,
    volumes: Mutex<()>,
}

/// Returns the command `tests/kube/kube`.
pub fn script() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("kube/kube"))
}

/// Runs a command to its end and returns what it printed.
///
/// # Panics
/// When it fails; with its complaint.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} does not start: {e}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Kube {
    /// Returns the cluster that is up.
    ///
    /// # Panics
    /// When none is.
    pub fn connect() -> Kube {
        let kubectl = PathBuf::from(run(script().arg("bin")).trim()).join("kubectl");
        let config = run(script().arg("config")).trim().to_owned();
        // It ends with this process, however that ends: a shell waits for the end of its input.
        let mut proxy = Command::new("sh")
            .args(["-c", "\"$0\" \"$@\" </dev/null & cat >/dev/null; kill $!"])
            .arg(&kubectl)
            .args(["--kubeconfig", &config, "proxy", "--port=0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut line = String::new();
        let output = proxy.stdout.take().expect("its output is a pipe");
        BufReader::new(output).read_line(&mut line).expect("kubectl proxy says where it listens");
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("kubectl proxy says {line:?} instead of an address"));
        Kube { kubectl, config, proxy, port, volumes: Mutex::new(()) }
    }

    /// Returns the command `kubectl` for this cluster.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.args(["--kubeconfig", &self.config]);
        command
    }

    /// Runs `kubectl` with these words, separated by blanks, and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn ctl(&self, words: &str) -> String {
        run(self.kubectl().args(words.split_whitespace()))
    }

    /// Runs `kubectl` with these words and something on its standard input.
    pub fn ctl_with(&self, words: &str, input: &str) -> Output {
        let mut child = self
            .kubectl()
            .args(words.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        // It may refuse before it has read everything.
        let _ = child.stdin.take().expect("its input is a pipe").write_all(input.as_bytes());
        child.wait_with_output().expect("kubectl ends")
    }

    /// Applies a manifest.
    ///
    /// # Panics
    /// When it is refused.
    pub fn apply(&self, namespace: &str, manifest: &str) {
        let output = self.ctl_with(&format!("apply -n {namespace} -f -"), manifest);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl apply: {complaint}\n{manifest}");
    }

    /// Makes a namespace whose pods must fit into the strictest profile.
    pub fn namespace(&self, name: &str) {
        self.ctl(&format!("create namespace {name}"));
        self.ctl(&format!("label namespace {name} pod-security.kubernetes.io/enforce=restricted"));
    }

    /// Returns an object or a list by its path in the API; `None` when it does not exist or nobody answers.
    pub fn get(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let body = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&answer[..body]);
        head.lines().next()?.contains(" 200 ").then(|| serde_json::from_slice(&answer[body..]).ok())?
    }

    /// Returns the items of a list; none when nobody answers.
    pub fn list(&self, path: &str) -> Vec<Value> {
        let Some(Value::Object(mut list)) = self.get(path) else { return Vec::new() };
        match list.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        }
    }

    /// Makes released volumes free again, and enough free ones, of 200 Gi each; expandable ones of 1 Gi.
    pub fn volumes(&self) {
        let _one = self.volumes.lock().unwrap_or_else(|e| e.into_inner());
        run(script().args(["volumes", "20", "200Gi"]));
    }

    /// Returns the folder of a claim's volume on this host.
    pub fn volume_of(&self, namespace: &str, claim: &str) -> PathBuf {
        let claim = self.get(&format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}"));
        let claim = claim.expect("a claim that is there");
        let name = claim["spec"]["volumeName"].as_str().expect("a claim that is bound").to_owned();
        let volume = self.get(&format!("/api/v1/persistentvolumes/{name}")).expect("the volume of a claim");
        PathBuf::from(volume["spec"]["local"]["path"].as_str().expect("a local volume"))
    }

    /// Takes a node off the network; it is connected again when the value is dropped.
    pub fn without_node(&self, number: u32) -> Away {
        Away::begin(
            ["node".to_owned(), number.to_string(), "down".to_owned()],
            ["node".to_owned(), number.to_string(), "up".to_owned()],
        )
    }

    /// Stops the API server; it is started again when the value is dropped.
    pub fn without_api(&self) -> Away {
        Away::begin(["api", "stop"].map(str::to_owned), ["api", "start"].map(str::to_owned))
    }

    /// Kills the process of a pod's only container, as seen from the host.
    pub fn kill(&self, namespace: &str, pod: &str) {
        run(script().args(["kill", "-n", namespace, pod]));
    }
}

/// Something that was taken away, until this is dropped.
pub struct Away {
    back: Vec<String>,
}

impl Away {
    fn begin<const N: usize>(take: [String; N], back: [String; N]) -> Away {
        let away = Away { back: back.to_vec() };
        run(script().args(take));
        away
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        let back = script().args(&self.back).status();
        assert!(
            back.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "kube {:?} failed",
            self.back
        );
    }
}

impl Drop for Kube {
    fn drop(&mut self) {
        drop(self.proxy.stdin.take());
        let _ = self.proxy.wait();
    }
}

/// Looks until `condition` holds, and returns what it gives.
///
/// # Panics
/// When it does not within `limit`; the message names `what`, and what was so the last time.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + limit;
    loop {
        match condition() {
            Ok(value) => return value,
            Err(why) => assert!(Instant::now() < end, "waited {limit:?} in vain: {what}; {why}"),
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Looks for `time`, and returns when nothing changed.
///
/// # Panics
/// When `condition` fails; with its words.
pub fn during(what: &str, time: Duration, mut condition: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        condition().unwrap_or_else(|why| panic!("{what}: {why}"));
        std::thread::sleep(LOOK_EVERY);
    }
}
