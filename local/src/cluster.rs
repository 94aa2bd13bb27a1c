//! A running cluster: launch it, wait until it is ready, edit it, hear of a member that is beyond help, stop it in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use manifest::{Role, Validated};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::board::{Board, MemberFailed};
use crate::event::Event;
use crate::machine::Machine;
use crate::options::LocalOptions;
use crate::start_error::StartError;
use crate::supervisor::Listener;

/// The version of the members this command runs: its own.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// From one look at all members to the next: while something comes of it, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A cluster of child processes. Stop it with [`Cluster::stop`]; dropping it asks the members to stop
/// too, but nobody waits for them then.
pub struct Cluster {
    board: Board,
    data: PathBuf,
    name: String,
    listener: Listener,
    orders: watch::Sender<Orders>,
    owner: JoinHandle<()>,
}

/// What the owner of the machine is told.
#[derive(Default)]
struct Orders {
    stop: bool,
    /// The manifest as it was edited last.
    edited: Option<Validated>,
}

impl Cluster {
    /// Checks manifest, ports and data folder, then starts the members: name servers at once, brokers when
    /// those are ready. Call it inside a runtime; `listener` hears every [`Event`] and must not block.
    ///
    /// # Errors
    /// [`StartError`]; nothing has been started then.
    pub fn launch(
        manifest: &Validated,
        options: LocalOptions,
        listener: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Cluster, StartError> {
        own_version(manifest)?;
        let listener: Listener = Arc::new(listener);
        let board = Board::new();
        let machine = Machine::start(
            manifest,
            options,
            board.clone(),
            Arc::clone(&listener),
            Arc::new(members::Real::new()),
        )?;
        let data = machine.data().to_owned();
        let (orders, told) = watch::channel(Orders::default());
        let owner = tokio::spawn(look_after(machine, told));
        Ok(Cluster { board, data, name: manifest.name().to_owned(), listener, orders, owner })
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

    /// Waits until a member is given up that was there from the start; without that, forever. Safe to cancel.
    pub async fn failed(&self) -> MemberFailed {
        self.board.first_failure().await
    }

    /// Hands over the manifest as it is now. What comes of it is told by [`Event`]s; one that cannot be followed changes
    /// nothing.
    pub fn edit(&self, manifest: Validated) {
        let refused = |problem: String| (self.listener)(Event::EditRefused { problems: vec![problem] });
        if manifest.name() != self.name {
            return refused(format!(
                "metadata.name: {:?}: it is {:?} as long as this cluster runs; set it back, or start another one",
                manifest.name(),
                self.name
            ));
        }
        if let Err(error) = own_version(&manifest) {
            return refused(error.to_string());
        }
        self.orders.send_modify(|orders| orders.edited = Some(manifest));
    }

    /// Returns the name servers' addresses the way clients take them: `127.0.0.1:9876;127.0.0.1:9877`.
    pub fn name_server_address(&self) -> String {
        let addresses = self.board.addresses(Role::NameServer);
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(";")
    }

    /// Returns the process of a member, while there is one.
    pub fn pid(&self, member: &str) -> Option<u32> {
        self.board.pid(member)
    }

    /// Returns the folder that data and logs are in.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Stops masters, then slaves, which so get the last messages too, then name servers; each member has its
    /// time and is killed after that. Then removes what goes with the cluster: volumes that are not kept, and a
    /// temporary data folder.
    pub async fn stop(self) {
        self.orders.send_modify(|orders| orders.stop = true);
        // An owner that panicked has dropped the members, which end with their standard input.
        let _ = self.owner.await;
    }
}

fn own_version(manifest: &Validated) -> Result<(), StartError> {
    let wanted = &manifest.cluster().spec.version;
    match wanted == VERSION {
        true => Ok(()),
        false => Err(StartError::Version { wanted: wanted.clone(), own: VERSION }),
    }
}

/// Owns the machine until it is told to stop, or nobody is left who could tell.
async fn look_after(mut machine: Machine, mut orders: watch::Receiver<Orders>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut edited = None;
        tokio::select! {
            told = orders.changed() => {
                let orders = orders.borrow_and_update();
                if told.is_err() || orders.stop {
                    break;
                }
                edited = orders.edited.clone();
            }
            () = machine.member_ended() => {}
            () = sleep(pause) => {}
        }
        let news = edited.is_some();
        if let Some(manifest) = edited {
            machine.edit(&manifest);
        }
        let mut stop = orders.clone();
        let wrote = tokio::select! {
            wrote = machine.pass() => wrote,
            // Also when nobody is left who could tell.
            _ = stop.wait_for(|orders| orders.stop) => break,
        };
        pause = if news || wrote { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
    }
    machine.stop().await;
}
