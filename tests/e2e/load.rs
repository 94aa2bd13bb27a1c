//! The official Java client in a pod, sending and consuming all the time; its ledger (tests/clients, `Load.java`) says
//! exactly what was acknowledged and what was consumed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::kube::{Kube, until};

/// How long it may take until the first messages flow: a Java program starts on a busy machine, asks for routes, and its
/// consumer finds its queues with the next rebalance (20 s).
const START: Duration = Duration::from_secs(180);
/// How long the consumer may take to read the rest: a rebalance, a lock of a queue, a pull that hangs.
const REST: Duration = Duration::from_secs(180);

/// What to send, and from where.
pub struct Options<'a> {
    /// The pod's name.
    pub name: &'a str,
    /// `4.9.8` or `5.3.3`.
    pub client: &'a str,
    /// Messages per second.
    pub rate: u32,
    /// Its node: one that the scenario leaves alone.
    pub node: u32,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options { name: "load", client: "5.3.3", rate: 200, node: 3 }
    }
}

/// A running pod.
pub struct Load {
    address: String,
    what: String,
}

/// What it knows.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Sends that have none yet.
    pub open: u64,
    /// Answered SEND_OK.
    pub acknowledged: u64,
    /// Stored, and answered with less than was asked for.
    pub late: u64,
    /// Failed, after the client's own retries.
    pub failed: u64,
    /// Places something was consumed from.
    pub consumed: u64,
    /// Acknowledged and not consumed so far.
    pub missing: u64,
    /// Consumed more than once.
    pub repeated: u64,
    /// Two messages in one place, or one that nobody sent.
    pub strange: u64,
    /// The longest send since the mark.
    pub longest: Duration,
    /// The longest time without an acknowledgement since the mark.
    pub silence: Duration,
    /// Why sends failed, and how often.
    pub failures: Vec<String>,
    /// Some places of what is missing.
    pub some_missing: String,
    /// For each broker: acknowledged, consumed.
    pub brokers: BTreeMap<String, (u64, u64)>,
}

impl Load {
    /// Starts a pod in this namespace and waits until messages flow both ways.
    ///
    /// # Panics
    /// When they do not.
    pub fn start(kube: &Kube, namespace: &str, name_servers: &str, options: &Options<'_>) -> Load {
        let Options { name, client, rate, node } = options;
        let metadata = format!("name: {name}, labels: {{ app: load }}");
        let more = format!(
            "    name: load
    env: [ {{ name: MAIN, value: acceptance.Load }}, {{ name: HEAP, value: 256m }} ]
    command: [ clients, {client}, --namesrv, \"{name_servers}\", --topic, {name}, --rate, \"{rate}\" ]
  nodeSelector: {{ kubernetes.io/hostname: node{node} }}
"
        );
        kube.apply(namespace, &client_pod(&metadata, &more));
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        let what = format!("load {namespace}/{name}");
        let address = until(&format!("{what} has an address"), START, || {
            let ip = kube.get(&path).and_then(|pod| Some(pod["status"]["podIP"].as_str()?.to_owned()));
            ip.map(|ip| format!("{ip}:7000")).ok_or_else(|| "it has none".to_owned())
        });
        let ended = || kube.get(&path).is_some_and(|pod| pod["status"]["phase"] == "Failed");
        let load = Load { address, what };
        until(&format!("messages of {} flow", load.what), START, || {
            assert!(!ended(), "{} ended; its log says why", load.what);
            let ledger = load.ask("status").map_err(|e| e.to_string())?;
            let flows = ledger.acknowledged >= 50 && ledger.consumed >= 50;
            flows.then_some(()).ok_or_else(|| format!("{ledger:?}"))
        });
        load
    }

    /// Returns the ledger.
    pub fn status(&self) -> Ledger {
        self.tell("status")
    }

    /// From now on looks for the longest send and the longest silence anew; returns the ledger as it is.
    pub fn mark(&self) -> Ledger {
        self.tell("mark")
    }

    /// The consumer reads no more; its client stays.
    pub fn hold_consumer(&self) {
        self.tell("hold");
    }

    /// The consumer reads on.
    pub fn resume_consumer(&self) {
        self.tell("read");
    }

    /// Waits until `condition` holds for the ledger.
    pub fn until(&self, what: &str, limit: Duration, condition: impl Fn(&Ledger) -> bool) -> Ledger {
        until(&format!("{}: {what}", self.what), limit, || {
            let ledger = self.ask("status").map_err(|e| e.to_string())?;
            condition(&ledger).then(|| ledger.clone()).ok_or_else(|| format!("{ledger:?}"))
        })
    }

    /// Stops sending, waits until everything that was acknowledged is consumed, and returns the ledger.
    ///
    /// # Panics
    /// When something acknowledged is not consumed, or when something strange was.
    pub fn judge(&self) -> Ledger {
        self.tell("stop");
        let ledger = until(&format!("{}: everything acknowledged is consumed", self.what), REST, || {
            let ledger = self.ask("status").map_err(|e| e.to_string())?;
            match ledger.open + ledger.missing {
                0 => Ok(ledger),
                _ => Err(format!("at {}: {ledger:?}", ledger.some_missing)),
            }
        });
        assert_eq!(ledger.strange, 0, "{}: messages nobody sent, or two in one place: {ledger:?}", self.what);
        assert!(ledger.acknowledged > 0, "{}: nothing was acknowledged: {ledger:?}", self.what);
        ledger
    }

    fn tell(&self, command: &str) -> Ledger {
        until(&format!("{} answers", self.what), Duration::from_secs(30), || {
            self.ask(command).map_err(|e| e.to_string())
        })
    }

    fn ask(&self, command: &str) -> std::io::Result<Ledger> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        writeln!(stream, "{command}")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(Ledger::of(&serde_json::from_str(&line)?))
    }
}

impl Ledger {
    fn of(json: &Value) -> Ledger {
        let number = |name: &str| json[name].as_u64().unwrap_or_else(|| panic!("{name} in {json}"));
        let brokers = json["brokers"].as_object().into_iter().flatten().map(|(name, broker)| {
            let number = |field: &str| broker[field].as_u64().unwrap_or(0);
            (name.clone(), (number("acknowledged"), number("consumed")))
        });
        let failures = json["failures"].as_array().into_iter().flatten();
        Ledger {
            open: number("open"),
            acknowledged: number("acknowledged"),
            late: number("late"),
            failed: number("failed"),
            consumed: number("consumed"),
            missing: number("missing"),
            repeated: number("repeated"),
            strange: number("strange"),
            longest: Duration::from_millis(number("longestMillis")),
            silence: Duration::from_millis(number("silenceMillis")),
            failures: failures.filter_map(|f| f.as_str().map(str::to_owned)).collect(),
            some_missing: json["someMissing"].as_str().unwrap_or_default().to_owned(),
            brokers: brokers.collect(),
        }
    }

    /// Returns what one broker acknowledged.
    pub fn acknowledged_by(&self, broker: &str) -> u64 {
        self.brokers.get(broker).map_or(0, |(acknowledged, _)| *acknowledged)
    }

    /// Returns the figures in words.
    pub fn words(&self) -> String {
        let Ledger { acknowledged, consumed, failed, late, repeated, .. } = self;
        format!(
            "{acknowledged} acknowledged, 0 lost ({consumed} consumed, {repeated} again), {failed} failed, {late} late"
        )
    }
}

/// Returns the manifest of a pod in which the official clients run once. `more` are lines of its container and, indented
/// less, of its spec.
pub fn client_pod(metadata: &str, more: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{ {metadata} }}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext: {{ runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{ type: RuntimeDefault }} }}
  containers:
  - image: gantry-kube/clients:1
    imagePullPolicy: Never
    securityContext: {{ allowPrivilegeEscalation: false, capabilities: {{ drop: [ALL] }} }}
{more}"
    )
}
