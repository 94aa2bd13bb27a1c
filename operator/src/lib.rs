//! The Kubernetes operator: observes a `RocketMQCluster` and its members, and carries out what `planner` decides.

pub mod leader;
pub use members;
