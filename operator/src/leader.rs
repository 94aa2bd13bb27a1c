//! Which of several operators acts: one that holds a Lease. A holder that cannot renew it stops acting before anyone else
//! may begin, provided that clocks run equally fast; they need not agree, because a lease ends by how long a candidate has
//! seen it unchanged and not by the times written in it. Steps carry preconditions all the same: whoever is stopped
//! and woken again writes once more before it notices.
//!
//! Above are decisions, below are the requests.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use planner::labels::OPERATOR;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{debug, info};

/// How long one look and what follows from it may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// The longest that a lease of someone else is believed.
const LONGEST_LEASE: Duration = Duration::from_secs(60);

/// Who wants which lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The lease's name.
    pub lease: String,
    /// Another one for each process.
    pub identity: String,
    pub times: Times,
}

/// How long things take; the settings say which values go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// For how long the lease holds after its last renewal.
    pub lease: Duration,
    /// After how long without a renewal the holder stops; less than `lease`, so that it does before another begins. It
    /// renews the lease twice as often.
    pub renew_deadline: Duration,
    /// How long a candidate waits, and a holder after a renewal that failed.
    pub retry: Duration,
}

/// The lease was held and is no more: the process has to end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("lease {lease} is lost: {why}")]
pub struct Lost {
    pub lease: String,
    pub why: String,
}

/// Says whether this process leads; cheap to clone.
#[derive(Debug, Clone)]
pub struct Leads(watch::Receiver<Option<Instant>>);

impl Leads {
    /// Whether it leads now. Ask before each write.
    pub fn now(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until it leads; for ever when [`run`] has ended.
    pub async fn elected(&self) {
        if self.0.clone().wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Returns what [`run`] reports to, and the handle for everyone who asks.
pub fn channel() -> (watch::Sender<Option<Instant>>, Leads) {
    let (sender, receiver) = watch::channel(None);
    (sender, Leads(receiver))
}

/// A lease as it was last read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Observed {
    resource_version: String,
    /// Empty when it is free.
    holder: String,
    length: Duration,
    acquired: Option<MicroTime>,
    transitions: i32,
}

/// What is remembered from one look to the next.
#[derive(Debug, Default)]
struct Memory {
    /// The version seen last and when it was seen first.
    seen: Option<(String, Instant)>,
    /// When the last renewal that succeeded was sent.
    renewed: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Create,
    /// Take it, or keep it, against the version that was read.
    Replace,
    /// Someone else holds it.
    Wait,
    /// Someone else holds it, and this process did.
    Lost,
}

/// Decides what follows from a look at the lease.
fn decide(memory: &mut Memory, identity: &str, lease: Option<&Observed>, now: Instant) -> Decision {
    let Some(lease) = lease else { return Decision::Create };
    let first_seen = match &memory.seen {
        Some((version, at)) if *version == lease.resource_version => *at,
        _ => now,
    };
    memory.seen = Some((lease.resource_version.clone(), first_seen));
    if lease.holder == identity {
        return Decision::Replace;
    }
    if memory.renewed.is_some() {
        return Decision::Lost;
    }
    let is_over = now.duration_since(first_seen) >= lease.length.min(LONGEST_LEASE);
    if lease.holder.is_empty() || is_over { Decision::Replace } else { Decision::Wait }
}

/// Returns the lease as this candidate takes or keeps it.
fn taken(old: Option<&Observed>, candidate: &Candidate, now: Timestamp) -> Lease {
    let keeps = old.is_some_and(|old| old.holder == candidate.identity);
    let acquired = old.filter(|_| keeps).and_then(|old| old.acquired.clone()).unwrap_or(MicroTime(now));
    let before = old.map_or(0, |old| old.transitions);
    let changes_hands = old.is_some() && !keeps;
    lease(
        candidate,
        old,
        LeaseSpec {
            holder_identity: Some(candidate.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(candidate.times.lease.as_secs()).unwrap_or(i32::MAX)),
            acquire_time: Some(acquired),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(if changes_hands { before.saturating_add(1) } else { before }),
            ..LeaseSpec::default()
        },
    )
}

/// Returns the lease as it is given back: the next candidate that looks takes it.
fn released(old: &Observed, candidate: &Candidate, now: Timestamp) -> Lease {
    lease(
        candidate,
        Some(old),
        LeaseSpec {
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(old.transitions),
            ..LeaseSpec::default()
        },
    )
}

fn lease(candidate: &Candidate, old: Option<&Observed>, spec: LeaseSpec) -> Lease {
    let (label, value) = OPERATOR;
    let metadata = ObjectMeta {
        name: Some(candidate.lease.clone()),
        labels: Some([(label.to_owned(), value.to_owned())].into()),
        resource_version: old.map(|old| old.resource_version.clone()),
        ..ObjectMeta::default()
    };
    Lease { metadata, spec: Some(spec) }
}

impl From<Lease> for Observed {
    fn from(lease: Lease) -> Observed {
        let spec = lease.spec.unwrap_or_default();
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Observed {
            resource_version: lease.metadata.resource_version.unwrap_or_default(),
            holder: spec.holder_identity.unwrap_or_default(),
            // Without a length, by no tool of ours, it is believed for as long as any.
            length: seconds.map_or(LONGEST_LEASE, Duration::from_secs),
            acquired: spec.acquire_time,
            transitions: spec.lease_transitions.unwrap_or(0),
        }
    }
}

/// Tries to get the lease and keeps it, until `stop`: that is when everything that needs it has ended. Then it is given
/// back.
///
/// # Errors
/// [`Lost`]: nothing of this process may act any more; end it.
pub async fn run(
    leases: Api<Lease>,
    candidate: Candidate,
    leads: watch::Sender<Option<Instant>>,
    stop: impl Future<Output = ()>,
) -> Result<(), Lost> {
    let times = candidate.times;
    let mut election = Election { leases, candidate, memory: Memory::default(), held: None };
    let mut stop = std::pin::pin!(stop);
    loop {
        let wait = match election.attempt().await {
            Ok(Decision::Lost) => return Err(election.lost(&leads, "another operator holds it")),
            Ok(Decision::Wait) => times.retry,
            Ok(Decision::Create | Decision::Replace) => {
                if leads.send_replace(election.leads_until()).is_none() {
                    info!(lease = election.candidate.lease, "this operator leads");
                }
                times.renew_deadline / 2
            }
            Err(error) => {
                debug!(lease = election.candidate.lease, "look at the lease again soon: {error}");
                times.retry
            }
        };
        let (now, until) = (Instant::now(), election.leads_until());
        if until.is_some_and(|until| now >= until) {
            return Err(election.lost(&leads, "it could not be renewed in time"));
        }
        tokio::select! {
            () = &mut stop => break,
            () = sleep_until(until.map_or(now + wait, |until| until.min(now + wait))) => {}
        }
    }
    leads.send_replace(None);
    election.release().await;
    Ok(())
}

struct Election {
    leases: Api<Lease>,
    candidate: Candidate,
    memory: Memory,
    /// The lease as this process wrote it last: it is renewed without reading it again, unless that fails.
    held: Option<Observed>,
}

/// Why an attempt came to nothing; the next one may.
struct NotNow(String);

impl fmt::Display for NotNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Election {
    /// Looks, decides, and does it; a holder has no longer than it may act.
    async fn attempt(&mut self) -> Result<Decision, NotNow> {
        let sent = Instant::now();
        let until = self.leads_until().map_or(sent + ATTEMPT, |until| until.min(sent + ATTEMPT));
        let outcome = timeout_at(until, self.look_and_act(sent)).await;
        outcome
            .map_err(|_| NotNow("no answer in time".to_owned()))?
            .map_err(|error| NotNow(error.to_string()))
    }

    async fn look_and_act(&mut self, sent: Instant) -> Result<Decision, kube::Error> {
        let old = match self.held.take() {
            Some(held) => Some(held),
            None => self.leases.get_opt(&self.candidate.lease).await?.map(Observed::from),
        };
        let decision = decide(&mut self.memory, &self.candidate.identity, old.as_ref(), sent);
        let wanted = taken(old.as_ref(), &self.candidate, Timestamp::now());
        let written = match decision {
            Decision::Create => self.leases.create(&PostParams::default(), &wanted).await?,
            Decision::Replace => {
                self.leases.replace(&self.candidate.lease, &PostParams::default(), &wanted).await?
            }
            Decision::Wait | Decision::Lost => return Ok(decision),
        };
        self.memory.renewed = Some(sent);
        self.held = Some(Observed::from(written));
        Ok(decision)
    }

    /// Gives the lease back; when that fails, it ends by itself.
    async fn release(&mut self) {
        let Some(held) = &self.held else { return };
        let free = released(held, &self.candidate, Timestamp::now());
        let params = PostParams::default();
        let replace = self.leases.replace(&self.candidate.lease, &params, &free);
        match timeout_at(Instant::now() + ATTEMPT, replace).await {
            Ok(Ok(_)) => info!(lease = self.candidate.lease, "the lease is given back"),
            Ok(Err(error)) => debug!("the lease ends by itself: {error}"),
            Err(_) => debug!("the lease ends by itself: no answer in time"),
        }
    }

    /// Until when this process leads by its last renewal.
    fn leads_until(&self) -> Option<Instant> {
        self.memory.renewed.map(|sent| sent + self.candidate.times.renew_deadline)
    }

    fn lost(&self, leads: &watch::Sender<Option<Instant>>, why: &str) -> Lost {
        leads.send_replace(None);
        Lost { lease: self.candidate.lease.clone(), why: why.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{Method, Request, Response};
    use http_body_util::BodyExt;
    use kube::client::Body;
    use parking_lot::Mutex;
    use serde_json::{Value, json};
    use tokio::sync::oneshot;

    use super::*;

    const TIMES: Times = Times {
        lease: Duration::from_secs(15),
        renew_deadline: Duration::from_secs(10),
        retry: Duration::from_secs(2),
    };

    fn observed(version: &str, holder: &str) -> Observed {
        Observed {
            resource_version: version.to_owned(),
            holder: holder.to_owned(),
            length: TIMES.lease,
            ..Observed::default()
        }
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free_ours_or_was_seen_unchanged_for_its_whole_length() {
        let start = Instant::now();
        let (theirs, free) = (observed("1", "b"), observed("1", ""));
        let eternal = Observed { length: Duration::from_secs(1_000_000), ..theirs.clone() };
        let brief = Observed { length: Duration::from_secs(1), ..theirs.clone() };
        let changed = observed("2", "b");
        // What was seen before and how long ago, whether this process leads, what is seen now.
        type Case<'a> = (&'a str, Option<(&'a str, u64)>, bool, Option<&'a Observed>, Decision);
        let cases: [Case; 12] = [
            ("there is none", None, false, None, Decision::Create),
            ("it was deleted by hand", Some(("1", 3)), true, None, Decision::Create),
            ("nobody has it", None, false, Some(&free), Decision::Replace),
            ("another has it", None, false, Some(&theirs), Decision::Wait),
            ("another has had it for a while", Some(("1", 14)), false, Some(&theirs), Decision::Wait),
            ("another did not renew it", Some(("1", 15)), false, Some(&theirs), Decision::Replace),
            ("another renewed it", Some(("1", 15)), false, Some(&changed), Decision::Wait),
            ("another says it is its own for ever", Some(("1", 59)), false, Some(&eternal), Decision::Wait),
            ("but that is not believed", Some(("1", 60)), false, Some(&eternal), Decision::Replace),
            ("another says it gives it back soon", Some(("1", 1)), false, Some(&brief), Decision::Replace),
            ("another took it from us", Some(("0", 5)), true, Some(&theirs), Decision::Lost),
            ("it is given back, but not by us", Some(("0", 5)), true, Some(&free), Decision::Lost),
        ];
        for (name, seen, leads, lease, expected) in cases {
            let now = start + Duration::from_secs(100);
            let seen = seen.map(|(version, ago)| (version.to_owned(), now - Duration::from_secs(ago)));
            let mut memory = Memory { seen, renewed: leads.then_some(start) };
            assert_eq!(decide(&mut memory, "a", lease, now), expected, "{name}");
        }
        // A process that was started again in its pod goes on with its own lease.
        let decision = decide(&mut Memory::default(), "a", Some(&observed("1", "a")), start);
        assert_eq!(decision, Decision::Replace);
    }

    #[test]
    fn a_lease_counts_how_often_it_changed_hands_and_keeps_since_when_it_is_held() {
        let me = Candidate { lease: "l".to_owned(), identity: "a".to_owned(), times: TIMES };
        let (then, now) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(9).unwrap());
        let old = |holder: &str| Observed {
            acquired: Some(MicroTime(then)),
            transitions: 4,
            ..observed("7", holder)
        };
        let words = |lease: Lease| {
            let spec = lease.spec.unwrap();
            (
                lease.metadata.resource_version,
                spec.holder_identity,
                spec.acquire_time.map(|time| time.0),
                spec.lease_transitions,
            )
        };
        let (version, a) = (Some("7".to_owned()), Some("a".to_owned()));
        assert_eq!(words(taken(None, &me, now)), (None, a.clone(), Some(now), Some(0)));
        assert_eq!(
            words(taken(Some(&old("a")), &me, now)),
            (version.clone(), a.clone(), Some(then), Some(4))
        );
        assert_eq!(words(taken(Some(&old("b")), &me, now)), (version.clone(), a.clone(), Some(now), Some(5)));
        assert_eq!(words(taken(Some(&old("")), &me, now)), (version.clone(), a, Some(now), Some(5)));
        assert_eq!(words(released(&old("a"), &me, now)), (version, None, None, Some(4)));
    }

    /// One lease behind an API server.
    #[derive(Default)]
    struct Server {
        lease: Option<Value>,
        version: u64,
        requests: usize,
    }

    impl Server {
        fn answer(&mut self, method: &Method, sent: Value) -> (u16, Value) {
            self.requests += 1;
            let failure = |code: u16, reason: &str| {
                (code, json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason }))
            };
            let current = self.lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
            match (method, current) {
                (&Method::GET, Some(_)) => (200, self.lease.clone().unwrap()),
                (&Method::GET | &Method::PUT, None) => failure(404, "NotFound"),
                (&Method::POST, None) => (201, self.put(sent)),
                (&Method::PUT, Some(version)) if version == sent["metadata"]["resourceVersion"] => {
                    (200, self.put(sent))
                }
                _ => failure(409, "Conflict"),
            }
        }

        fn put(&mut self, mut lease: Value) -> Value {
            self.version += 1;
            lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.lease.insert(lease).clone()
        }
    }

    /// A candidate on a line to the server that can be cut.
    struct Operator {
        leads: Leads,
        line_is_cut: Arc<Mutex<bool>>,
        stop: Option<oneshot::Sender<()>>,
        ended: tokio::task::JoinHandle<Result<(), Lost>>,
    }

    impl Operator {
        async fn elected(&self) {
            tokio::time::timeout(10 * TIMES.lease, self.leads.elected()).await.unwrap();
        }
    }

    fn start(server: &Arc<Mutex<Server>>, identity: &str) -> Operator {
        let line_is_cut = Arc::new(Mutex::new(false));
        let (service, mut requests) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let (server, cut) = (server.clone(), line_is_cut.clone());
        tokio::spawn(async move {
            let mut unanswered = Vec::new();
            while let Some((request, reply)) = requests.next_request().await {
                if *cut.lock() {
                    unanswered.push(reply);
                    continue;
                }
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let sent = serde_json::from_slice(&body).unwrap_or_default();
                let (code, answer) = server.lock().answer(&parts.method, sent);
                let body = Body::from(serde_json::to_vec(&answer).unwrap());
                reply.send_response(Response::builder().status(code).body(body).unwrap());
            }
        });
        let (sender, leads) = channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let candidate =
            Candidate { lease: "gantry-operator".to_owned(), identity: identity.to_owned(), times: TIMES };
        let leases = Api::namespaced(kube::Client::new(service, "default"), "default");
        let ended = tokio::spawn(run(leases, candidate, sender, async move { drop(stopped.await) }));
        Operator { leads, line_is_cut, stop: Some(stop), ended }
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_is_cut_off_stops_before_the_next_one_starts() {
        let server = Arc::new(Mutex::new(Server::default()));
        let first = start(&server, "a");
        first.elected().await;
        let second = start(&server, "b");
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!((first.leads.now(), second.leads.now()), (true, false), "it is renewed and respected");

        *first.line_is_cut.lock() = true;
        let cut = Instant::now();
        let lost = first.ended.await.unwrap().unwrap_err();
        assert_eq!(lost.why, "it could not be renewed in time");
        assert!(cut.elapsed() <= TIMES.renew_deadline, "{:?}", cut.elapsed());
        assert_eq!((first.leads.now(), second.leads.now()), (false, false));
        second.elected().await;
        assert!(cut.elapsed() <= TIMES.lease + TIMES.retry, "{:?}", cut.elapsed());
        assert_eq!(server.lock().lease.as_ref().unwrap()["spec"]["leaseTransitions"], 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_given_back_is_taken_at_the_next_look() {
        let server = Arc::new(Mutex::new(Server::default()));
        let mut first = start(&server, "a");
        first.elected().await;
        let second = start(&server, "b");
        first.stop.take().unwrap().send(()).unwrap();
        assert_eq!(first.ended.await.unwrap(), Ok(()));
        assert!(!first.leads.now());
        let label = || server.lock().lease.as_ref().unwrap()["metadata"]["labels"][OPERATOR.0].clone();
        assert_eq!(label(), OPERATOR.1, "it is found by whoever asks why nobody works");
        let stopped = Instant::now();
        second.elected().await;
        assert_eq!(label(), OPERATOR.1);
        assert!(stopped.elapsed() <= TIMES.retry, "{:?}", stopped.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_ends_when_someone_else_took_its_lease() {
        let server = Arc::new(Mutex::new(Server::default()));
        let first = start(&server, "a");
        first.elected().await;
        let mut other = server.lock().lease.clone().unwrap();
        other["spec"]["holderIdentity"] = json!("b");
        server.lock().put(other);
        let lost = first.ended.await.unwrap().unwrap_err();
        assert_eq!(lost.why, "another operator holds it");
        assert!(!first.leads.now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_asks_the_api_server_every_five_seconds() {
        let server = Arc::new(Mutex::new(Server::default()));
        let first = start(&server, "a");
        first.elected().await;
        let before = server.lock().requests;
        tokio::time::sleep(Duration::from_secs(100)).await;
        let requests = server.lock().requests - before;
        assert!(requests <= 20, "{requests} requests in 100 s");
    }
}
