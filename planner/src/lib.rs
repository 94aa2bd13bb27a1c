//! What a cluster's Kubernetes objects should be and what to do next, pure: manifest, facts and time in, objects and
//! steps out.
//!
//! Nothing here knows that an API server exists, opens a socket, reads a clock or draws a random number. The same code
//! answers the operator and `gantry plan`.
//!
//! | File | Idea |
//! |---|---|
//! | `facts.rs`, `read.rs` | what was observed; how it stands in Kubernetes' own objects |
//! | `object.rs`, `step.rs` | what comes out: objects, steps, what is waited for |
//! | `desired.rs`, `shape.rs` | what is wanted, and what of it holds for now |
//! | `build/` | every object of a cluster, one file each |
//! | `seen.rs`, `check.rs` | facts by group and member; what of a manifest this cluster cannot be |
//! | `plan/` | what to do next, one file per decision |
//! | `status.rs`, `conditions.rs`, `refused.rs` | what is reported, also of a manifest that is refused |
//! | `accepted.rs` | the last manifest that was accepted, as it is kept |
//! | `manual.rs` | every reason of a condition in words, and what to do |
//! | `rehearse.rs`, `rehearse/stage.rs` | all that a plan comes to when everything goes well |
//! | `names.rs`, `labels.rs`, `hash.rs` | what everything is called, how it is found again, how versions are told apart |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod accepted;
mod build;
mod check;
pub mod conditions;
mod desired;
pub mod facts;
mod hash;
pub mod labels;
pub mod manual;
pub mod names;
pub mod object;
mod plan;
mod read;
mod refused;
pub mod rehearse;
mod seen;
mod shape;
mod status;
pub mod step;

pub use build::objects;
pub use k8s_openapi::jiff::Timestamp;
pub use plan::{closed_window, drift, plan, same_amount};
pub use refused::refused;
