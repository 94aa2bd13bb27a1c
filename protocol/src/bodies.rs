//! JSON bodies of requests and responses, one file per body, with Java's field names.
//!
//! Reading is generous: missing fields take the reference implementation's defaults, unknown ones are ignored.
//! Writing is exact: fields in alphabetical order as fastjson has them, empty collections present because tools on
//! the other side iterate over them, absent values left out. What a body means is the business of its users.

// Fields carry the protocol's own names; the doc of each struct says where it travels, and a field has one of its own
// where its name is not enough.
#![allow(missing_docs)]

pub mod assignment;
pub mod broker_member_group;
pub mod broker_stats;
pub mod check_client;
pub mod cluster_info;
pub mod connection;
pub mod consumer_list;
pub mod data_version;
pub mod group_list;
pub mod ha_runtime_info;
pub mod heartbeat;
pub mod join;
pub mod kv_table;
pub mod lock;
pub mod message_queue;
pub mod message_request_mode;
pub mod offsets;
pub mod register_broker;
pub mod reset_offset;
pub mod route;
pub mod stats;
pub mod subscription_group;
pub mod time_span;
pub mod timer;
pub mod topic_config;
pub mod topic_list;
pub mod topic_queue_mapping;

#[cfg(test)]
mod tests;
