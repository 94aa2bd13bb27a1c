//! A file per data request, a file per noun for the small administrative ones.

pub mod admin;
pub mod clients;
pub mod consumer_offset;
pub mod lock_queues;
pub mod pull_message;
pub mod queue_offset;
pub mod send_message;
