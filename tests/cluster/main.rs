//! Clusters as a user has them: every example manifest, restarts, two masters, clean stops, small when idle, groups
//! that go and join.

mod drains;
mod examples;
mod restarts;
mod two_masters;
mod user;

use std::time::Duration;

/// How long anything that happens by itself may take.
const LIMIT: Duration = Duration::from_secs(60);
