//! What the rings share: a cluster of real processes that can be killed, a ledger of acknowledged messages, and
//! bytes broken on purpose. Each ring is a test target of its own:
//!
//! | Target | Defends |
//! |---|---|
//! | `layers` | who may depend on whom |
//! | `fuzz` | no decoder panics, hangs or claims memory it was only promised |
//! | `wire` | bad input ends its own connection and nothing else; memory stays inside its budget |
//! | `crash` | killed processes and full disks lose nothing that was acknowledged |
//! | `replication` | slaves have what was acknowledged, whatever happens to either side; Java on the other side |
//! | `cluster` | clusters as a user has them, from the manifest to a clean stop |
//! | `clients` | the official Java clients, unmodified |
//! | `e2e` | images, charts and operator on a real Kubernetes, where it can run |
//!
//! - [`cluster`]: `gantry up` and its members; [`options`]: what it may look like; [`command`]: how it is started;
//!   [`process`]: what /proc knows of them; [`http`]: what they say of themselves; [`ports`]: ports side by side
//! - [`group`]: a master and its slaves with links that can be cut ([`relay`]); [`server`]: one of them; [`java`]:
//!   Apache's; [`replica`], [`logs`]: their logs compared
//! - [`talk`]: one connection that speaks the wire; [`ledger`]: what was sent, and the judge; [`load`]: senders in the
//!   background, [`sizes`] of what they send; [`consumer`], [`reader`]: what was read
//! - [`healthy`]: a client that must be served whatever others do
//! - [`random`]: one seed for everything; [`mutate`]: breaks good bytes; [`requests`]: good bytes to break
//! - [`wait`]: for a condition, never for a time; [`setting`]: how often and how much
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cluster;
pub mod command;
pub mod consumer;
pub mod group;
pub mod healthy;
pub mod http;
pub mod java;
pub mod ledger;
pub mod load;
pub mod logs;
pub mod mutate;
pub mod options;
pub mod ports;
pub mod process;
pub mod random;
pub mod reader;
pub mod relay;
pub mod replica;
pub mod requests;
pub mod server;
pub mod setting;
pub mod sizes;
pub mod talk;
pub mod wait;
