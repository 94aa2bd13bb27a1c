//! The machine under a cluster: makes processes, folders and files of what the world says, and tells the world what
//! became of them. One task owns it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use manifest::Validated;
use manifest::units::ByteSize;
use members::{Answers, Members};
use planner::Timestamp;
use planner::facts::Answer;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::board::{Board, Standing};
use crate::event::Event;
use crate::files::{self, DataFolder};
use crate::free_ports::ports_in_use;
use crate::kept_file;
use crate::options::LocalOptions;
use crate::placement::{Placement, Site, store};
use crate::ports::loopback;
use crate::questions::{groups, questions};
use crate::start_error::StartError;
use crate::supervisor::{Listener, Supervisor};
use crate::told::Told;
use crate::world::{Errand, Refused, World, is_broker};

/// What a pod has whose process nobody starts any more.
const GIVEN_UP: &str = "CrashLoopBackOff";
/// The order in which members stop: slaves after masters, so that they get the last messages too.
const LEAVING: [&str; 3] = ["master", "slave", "name server"];

/// The processes, folders and files of a cluster.
pub(crate) struct Machine {
    world: World,
    site: Site,
    data: DataFolder,
    options: Arc<LocalOptions>,
    board: Board,
    listener: Listener,
    members: Arc<dyn Members>,
    /// What members said when they were asked last.
    answers: Answers,
    running: BTreeMap<String, Running>,
    /// Ends with the name of the member.
    supervisors: JoinSet<String>,
    told: Told,
    /// What members did run before, so that they are told to be back.
    ran: BTreeSet<String>,
    /// Whether the world has changed since it was kept.
    unkept: bool,
    errands: Vec<Errand>,
}

/// A member that was started.
struct Running {
    placement: Placement,
    stop: watch::Sender<bool>,
    /// Whether its supervisor has ended: it was stopped, or given up.
    ended: bool,
}

impl Machine {
    /// Finds what the folder holds of the cluster and starts its members.
    ///
    /// # Errors
    /// Nothing has been started then.
    pub(crate) fn start(
        manifest: &Validated,
        options: LocalOptions,
        board: Board,
        listener: Listener,
        members: Arc<dyn Members>,
    ) -> Result<Machine, StartError> {
        let data = DataFolder::open(options.data.as_deref(), manifest.name())?;
        let refused = |Refused(why)| StartError::Refused(why);
        let here = manifest.elsewhere().map_err(|problems| refused(problems.into()))?;
        let (kept, note) = kept_file::load(&data, &here)?;
        note.into_iter().for_each(|note| listener(Event::Note(note)));
        let told = Told::new(&kept, here.cluster());
        let world = World::new(here, kept, now()).map_err(refused)?;
        let site = Site {
            data: data.path.clone(),
            offset: options.port_offset,
            stops_within: options.broker_stops_within,
        };
        let mut machine = Machine {
            world,
            site,
            data,
            options: Arc::new(options),
            board,
            listener,
            members,
            answers: Answers::default(),
            running: BTreeMap::new(),
            supervisors: JoinSet::new(),
            told,
            ran: BTreeSet::new(),
            unkept: false,
            errands: Vec::new(),
        };
        match machine.begin(manifest) {
            Ok(()) => Ok(machine),
            Err(error) => {
                machine.data.remove_if_temporary();
                Err(error)
            }
        }
    }

    fn begin(&mut self, manifest: &Validated) -> Result<(), StartError> {
        self.world.settle(&self.answers, now());
        let placements = self.new_placements()?;
        let in_use = ports_in_use(&placements);
        if !in_use.is_empty() {
            return Err(StartError::PortsInUse(in_use));
        }
        files::write_token(&self.site.token_file(manifest.name()), &self.world.kept.token)?;
        self.keep()?;
        if let Some(note) = self.small_disk() {
            (self.listener)(Event::Note(note));
        }
        placements.iter().try_for_each(files::prepare)?;
        placements.into_iter().for_each(|placement| self.spawn(placement, true));
        Ok(())
    }

    /// Looks at everything and does what can be done now. Returns whether anything came of it. Safe to cancel: what was
    /// not done is done by the next pass.
    pub(crate) async fn pass(&mut self) -> bool {
        self.answers = questions(&self.world, &self.site).ask(&*self.members).await;
        self.observe();
        let settled = self.world.settle(&self.answers, now());
        for event in self.told.of(&settled) {
            (self.listener)(event);
        }
        self.errands.extend(settled.errands);
        self.unkept |= settled.wrote;
        if self.unkept
            && let Err(error) = self.keep()
        {
            // What is not kept is not done: the next pass tries again.
            self.note(error.to_string());
            return false;
        }
        self.unkept = false;
        self.run_members();
        let wrote = settled.wrote || !self.errands.is_empty();
        while let Some(errand) = self.errands.pop() {
            self.run_errand(errand).await;
        }
        wrote
    }

    /// Follows an edited manifest, or tells why not and goes on.
    pub(crate) fn edit(&mut self, manifest: &Validated) {
        let here = manifest.elsewhere().map_err(Refused::from);
        match here.and_then(|here| self.world.follow(here, &self.answers, now())) {
            Ok(()) => {
                self.told.edited();
                (self.listener)(Event::EditAccepted);
            }
            Err(Refused(problems)) => (self.listener)(Event::EditRefused { problems }),
        }
    }

    /// Waits until a supervisor ends; without any, forever. Safe to cancel.
    pub(crate) async fn member_ended(&mut self) {
        match self.supervisors.join_next().await {
            Some(Ok(name)) => self.has_ended(&name),
            // One that panicked has dropped its child, which ends with its standard input.
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }

    fn has_ended(&mut self, name: &str) {
        let stopped = self.world.pods.get(name).is_none_or(|pod| pod.terminating);
        match self.running.get_mut(name) {
            Some(_) if stopped => self.forget(name),
            Some(running) => {
                running.ended = true;
                if let Some(pod) = self.world.pods.get_mut(name) {
                    pod.trouble = Some(GIVEN_UP.to_owned());
                }
            }
            None => {}
        }
    }

    fn forget(&mut self, name: &str) {
        if let Some(running) = self.running.remove(name)
            && let Err(error) = files::remove_ephemeral(&running.placement)
        {
            self.note(error.to_string());
        }
        self.board.remove(name);
        self.world.pod_has_gone(name);
    }

    /// Stops masters, then slaves, which so get the last messages too, then name servers; each member has its time and is
    /// killed after that. Then removes what goes with the cluster: volumes that are not kept, and a temporary folder.
    pub(crate) async fn stop(mut self) {
        for duty in LEAVING {
            let crew = self.running.values().filter(|running| running.placement.duty() == duty);
            crew.for_each(|running| {
                running.stop.send_replace(true);
            });
            while self.running.values().any(|running| running.placement.duty() == duty && !running.ended) {
                let Some(ended) = self.supervisors.join_next().await else { break };
                let Ok(name) = ended else { continue };
                if let Some(running) = self.running.get_mut(&name) {
                    running.ended = true;
                }
            }
        }
        for running in self.running.values() {
            if let Err(error) = files::remove_ephemeral(&running.placement) {
                (self.listener)(Event::Note(error.to_string()));
            }
        }
        if let Err(error) = self.keep() {
            self.note(error.to_string());
        }
        if let Some(left) = self.data.remove_if_temporary() {
            (self.listener)(Event::Note(format!("temporary folder {} could not be removed", left.display())));
        }
    }

    /// Returns the data folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data.path
    }

    fn observe(&mut self) {
        for pod in self.world.pods.values_mut() {
            let answer = self.answers.members.get(&pod.name).and_then(Answer::known);
            let ready = self.board.is_ready(&pod.name) && answer.is_none_or(|answer| answer.ready);
            if pod.ready != ready {
                pod.ready = ready;
                pod.ready_since = Some(now());
            }
        }
    }

    /// Starts what is to run, stops what is to go, and writes what is to be taken over.
    fn run_members(&mut self) {
        let leaving: Vec<String> =
            self.world.pods.values().filter(|pod| pod.terminating).map(|pod| pod.name.clone()).collect();
        for name in leaving {
            match self.running.get(&name) {
                Some(running) if !running.ended => {
                    running.stop.send_replace(true);
                }
                // Nobody is left to say that it has gone.
                _ => self.forget(&name),
            }
        }
        match self.new_placements() {
            Ok(placements) => placements.into_iter().for_each(|placement| self.start_late(placement)),
            Err(error) => self.note(error.to_string()),
        }
        self.write_live_files();
    }

    fn start_late(&mut self, placement: Placement) {
        match files::prepare(&placement) {
            Ok(()) => self.spawn(placement, false),
            Err(error) => self.note(error.to_string()),
        }
    }

    fn spawn(&mut self, placement: Placement, from_the_start: bool) {
        let name = placement.name.clone();
        let standing = Standing::new(placement.role, loopback(placement.ports.remoting));
        self.board.add(&name, Standing { vital: from_the_start, ..standing });
        let stop = watch::Sender::new(false);
        let supervisor = Supervisor {
            placement: placement.clone(),
            options: Arc::clone(&self.options),
            board: self.board.clone(),
            listener: Arc::clone(&self.listener),
            stop: stop.subscribe(),
            from_the_start,
            ran_before: !self.ran.insert(name.clone()),
        };
        self.supervisors.spawn(async move {
            supervisor.run().await;
            name
        });
        self.running.insert(placement.name.clone(), Running { placement, stop, ended: false });
    }

    /// Returns members that are to run and do not, name servers first.
    fn new_placements(&self) -> Result<Vec<Placement>, StartError> {
        let pods = self.world.pods_in_order().into_iter();
        pods.filter(|pod| !pod.terminating && !self.running.contains_key(&pod.name))
            .map(|pod| {
                let placed = self.site.place(&self.world, pod);
                placed.map_err(|source| StartError::Port { member: pod.name.clone(), source })
            })
            .collect()
    }

    fn write_live_files(&mut self) {
        let mut notes = Vec::new();
        for pod in self.world.pods.values() {
            let Some(running) = self.running.get_mut(&pod.name) else { continue };
            let Ok(placed) = self.site.place(&self.world, pod) else { continue };
            if placed.live == running.placement.live || pod.terminating {
                continue;
            }
            match files::write_live(&placed) {
                Ok(()) => running.placement.live = placed.live,
                Err(error) => notes.push(error.to_string()),
            }
        }
        notes.into_iter().for_each(|note| self.note(note));
    }

    async fn run_errand(&mut self, errand: Errand) {
        match errand {
            Errand::RemoveStore { pod } => {
                if let Err(error) = files::remove_folder(&store(&self.site.folder(&pod), false)) {
                    self.note(error.to_string());
                }
            }
            Errand::HandOver { from, what } => {
                let Some(draining) = groups(&self.world, &self.site).draining_of(from) else { return };
                if let Err(error) = self.members.hand_over(&draining, &what).await {
                    self.note(error.to_string());
                }
            }
            Errand::CopyMetadata { from, to } => {
                let Some(copying) = groups(&self.world, &self.site).copying(&from, to) else { return };
                if let Err(error) = self.members.copy_metadata(&copying).await {
                    self.note(error.to_string());
                }
            }
        }
    }

    fn keep(&self) -> Result<(), StartError> {
        kept_file::save(&self.data, self.world.manifest().name(), &self.world.kept)
    }

    fn note(&self, text: String) {
        (self.listener)(Event::Note(text));
    }

    fn small_disk(&self) -> Option<String> {
        let effective = manifest::resolve(self.world.manifest());
        let brokers = &effective.brokers;
        let members = self.world.pods.values().filter(|pod| is_broker(pod)).count() as u64;
        let wanted = brokers.storage_size?.0.saturating_mul(members);
        let free = self.data.free_bytes().filter(|free| *free < wanted)?;
        Some(format!(
            "spec.brokers.storage.size asks for {} in all, but only {:.1}Gi are free below {}; brokers delete old \
             messages from {}% disk use on",
            ByteSize(wanted),
            free as f64 / (1_u64 << 30) as f64,
            self.data.path.display(),
            brokers.disk_full_percent,
        ))
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_second(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
        .unwrap_or(Timestamp::UNIX_EPOCH)
}
