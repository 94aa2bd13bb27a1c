//! Small administrative requests, a file per noun (P§2.4).

pub mod connections;
pub mod groups;
pub mod ha;
pub mod messages;
pub mod offsets;
pub mod replication;
pub mod runtime;
pub mod settings;
pub mod topics;
