//! What every long-running process of Gantry shares: how it reads its settings, writes its log,
//! shows its health and metrics, and stops.
//!
//! | Module      | Answers                                                              |
//! |-------------|----------------------------------------------------------------------|
//! | [`config`]  | which settings apply: `.properties` file, environment, `--set` flags |
//! | [`logs`]    | text or JSON lines on standard error, at which level                 |
//! | [`health`]  | is the process alive, is it ready, and if not, why                   |
//! | [`metrics`] | counters per request, gauges by callback, the process itself         |
//! | [`http`]    | the port for probes and Prometheus                                   |
//! | [`admin`]   | the port for whoever looks after the process, behind a token         |
//! | [`signals`] | the one stop signal everybody waits for                              |
//! | [`build`]   | which version this is                                                |
//!
//! Nothing here knows what a broker or a topic is, and nothing here speaks the remoting protocol.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod admin;
pub mod build;
pub mod config;
pub mod health;
pub mod http;
pub mod logs;
pub mod metrics;
pub mod signals;
