//! What the rings share: a cluster of real processes that can be killed, a ledger of acknowledged messages, and
//! bytes broken on purpose. Each ring is a test target of its own:
//!
//! | Target | Defends |
//! |---|---|
//! | `layers` | who may depend on whom |
//! | `fuzz` | no decoder panics, hangs or claims memory it was only promised |
//!
//! - [`random`]: one seed for everything; [`mutate`]: breaks good bytes; [`requests`]: good bytes to break
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod mutate;
pub mod random;
pub mod requests;
