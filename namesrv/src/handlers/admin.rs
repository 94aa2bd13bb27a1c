//! The small requests of operators and their tools, by noun.

pub mod brokers;
pub mod kv_config;
pub mod settings;
pub mod topics;
