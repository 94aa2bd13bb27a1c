//! A running cluster: launch it, wait until it is ready, hear of a member that is beyond help, stop it
//! in order.

use std::path::Path;
use std::sync::Arc;

use manifest::units::ByteSize;
use manifest::{Effective, Role};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::board::{Board, MemberFailed};
use crate::event::Event;
use crate::files::{self, DataFolder};
use crate::free_ports::ports_in_use;
use crate::options::LocalOptions;
use crate::placement::{Placement, place};
use crate::ports::loopback;
use crate::start_error::StartError;
use crate::supervisor::{Listener, Supervisor};

/// The version of the members this command runs: its own.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A cluster of child processes. Stop it with [`Cluster::stop`]; dropping it asks the members to stop
/// too, but nobody waits for them then.
pub struct Cluster {
    placements: Vec<Placement>,
    board: Board,
    masters: Crew,
    slaves: Crew,
    name_servers: Crew,
    data: DataFolder,
    listener: Listener,
}

/// Members that stop together.
struct Crew {
    stop: watch::Sender<bool>,
    members: Vec<JoinHandle<()>>,
}

impl Cluster {
    /// Checks version, ports and data folder, then starts the members: name servers at once, brokers when
    /// those are ready. Call it inside a runtime; `listener` hears every [`Event`] and must not block.
    ///
    /// # Errors
    /// [`StartError`]; nothing has been started then.
    pub fn launch(
        effective: &Effective,
        options: LocalOptions,
        listener: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Cluster, StartError> {
        if effective.version != VERSION {
            return Err(StartError::Version { wanted: effective.version.clone(), own: VERSION });
        }
        let data = DataFolder::open(options.data.as_deref(), &effective.name)?;
        let placements = place(effective, &data.path, options.port_offset)?;
        let in_use = ports_in_use(&placements);
        if !in_use.is_empty() {
            data.remove_if_temporary();
            return Err(StartError::PortsInUse(in_use));
        }
        placements.iter().try_for_each(files::prepare)?;
        let listener: Listener = Arc::new(listener);
        if let Some(note) = small_disk(effective, &data) {
            listener(Event::Note(note));
        }
        let board =
            Board::new(placements.iter().map(|place| (place.member.name.as_str(), place.member.role)));
        let options = Arc::new(options);
        let crew = |duty| Crew::start(&placements, duty, &options, &board, &listener);
        Ok(Cluster {
            name_servers: crew("name server"),
            masters: crew("master"),
            slaves: crew("slave"),
            placements,
            board,
            data,
            listener,
        })
    }

    /// Waits until every member is ready, but for slaves that still catch up when their time is over; a note
    /// names those. Safe to cancel.
    ///
    /// # Errors
    /// A member was given up; stop the cluster.
    pub async fn ready(&self) -> Result<(), MemberFailed> {
        tokio::select! {
            () = self.board.all_ready(None) => Ok(()),
            failed = self.board.first_failure() => Err(failed),
        }
    }

    /// Waits until a member is given up; without that, forever. Safe to cancel.
    pub async fn failed(&self) -> MemberFailed {
        self.board.first_failure().await
    }

    /// Returns the name servers' addresses the way clients take them: `127.0.0.1:9876;127.0.0.1:9877`.
    pub fn name_server_address(&self) -> String {
        let of_role = self.placements.iter().filter(|place| place.member.role == Role::NameServer);
        let addresses: Vec<String> =
            of_role.map(|place| loopback(place.ports.remoting).to_string()).collect();
        addresses.join(";")
    }

    /// Returns all members with their folders and ports, in the order they start.
    pub fn placements(&self) -> &[Placement] {
        &self.placements
    }

    /// Returns the process of a member, while there is one.
    pub fn pid(&self, member: &str) -> Option<u32> {
        self.board.pid(member)
    }

    /// Returns the folder that data and logs are in.
    pub fn data(&self) -> &Path {
        &self.data.path
    }

    /// Stops masters, then slaves, which so get the last messages too, then name servers; each member has its
    /// time and is killed after that. Then removes what goes with the cluster: volumes that are not kept, and a
    /// temporary data folder.
    pub async fn stop(self) {
        self.masters.stop().await;
        self.slaves.stop().await;
        self.name_servers.stop().await;
        for placement in &self.placements {
            if let Err(error) = files::remove_ephemeral(placement) {
                (self.listener)(Event::Note(error.to_string()));
            }
        }
        if let Some(left) = self.data.remove_if_temporary() {
            (self.listener)(Event::Note(format!("temporary folder {} could not be removed", left.display())));
        }
    }
}

impl Crew {
    fn start(
        placements: &[Placement],
        duty: &str,
        options: &Arc<LocalOptions>,
        board: &Board,
        listener: &Listener,
    ) -> Crew {
        let stop = watch::Sender::new(false);
        let supervisors =
            placements.iter().filter(|place| place.member.duty() == duty).map(|placement| Supervisor {
                placement: placement.clone(),
                options: Arc::clone(options),
                board: board.clone(),
                listener: Arc::clone(listener),
                stop: stop.subscribe(),
            });
        let members = supervisors.map(|supervisor| tokio::spawn(supervisor.run())).collect();
        Crew { stop, members }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        for member in self.members {
            // A supervisor that panicked has dropped its child, which ends with its standard input.
            let _ = member.await;
        }
    }
}

fn small_disk(effective: &Effective, data: &DataFolder) -> Option<String> {
    let brokers = &effective.brokers;
    let members = u64::from(brokers.replicas_per_group) * brokers.group_names.len() as u64;
    let wanted = brokers.storage_size?.0.saturating_mul(members);
    let free = data.free_bytes().filter(|free| *free < wanted)?;
    Some(format!(
        "spec.brokers.storage.size asks for {} in all, but only {:.1}Gi are free below {}; brokers delete old \
         messages from {}% disk use on",
        ByteSize(wanted),
        free as f64 / (1_u64 << 30) as f64,
        data.path.display(),
        brokers.disk_full_percent,
    ))
}
