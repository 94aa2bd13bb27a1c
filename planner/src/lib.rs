//! What a cluster's Kubernetes objects should be and what to do next, pure: manifest, facts and time in, objects and
//! steps out.
//!
//! Nothing here knows that an API server exists, opens a socket, reads a clock or draws a random number. The same code
//! answers the operator and `gantry plan`.
//!
//! | File | Idea |
//! |---|---|
//! | `facts.rs` | what was observed; a missing answer is `Unknown` |
//! | `object.rs`, `step.rs` | what comes out: objects, steps, what is waited for |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod facts;
pub mod object;
pub mod step;
