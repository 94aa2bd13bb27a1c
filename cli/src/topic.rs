//! `gantry topic`: lists, creates, deletes and describes topics.

use std::collections::BTreeSet;

use anyhow::Context;
use clap::{Args, Subcommand};
use client::admin::{Admin, QueueBounds, Scope};
use client::routes::{Route, RouteError, Routes};
use protocol::bodies::cluster_info::ClusterInfo;
use protocol::bodies::topic_config::TopicConfig;
use protocol::names::{
    AUTO_CREATE_TOPIC, BENCHMARK_TOPIC, CHECK_MAX_TIME_TOPIC, DLQ_PREFIX, HALF_TOPIC, MAX_TOPIC,
    OFFSET_MOVED_EVENT, OP_HALF_TOPIC, RETRY_PREFIX, SCHEDULE_TOPIC, SELF_TEST_TOPIC, TIMER_TOPIC,
    TRACE_TOPIC, illegal_character,
};
use serde_json::json;

use crate::name_server::{NameServer, runtime, wait_until_known};
use crate::output::{self, Format};
use crate::table::table;

/// Topics that every broker has for itself.
const SYSTEM_TOPICS: [&str; 10] = [
    AUTO_CREATE_TOPIC,
    BENCHMARK_TOPIC,
    CHECK_MAX_TIME_TOPIC,
    HALF_TOPIC,
    OFFSET_MOVED_EVENT,
    OP_HALF_TOPIC,
    SCHEDULE_TOPIC,
    SELF_TEST_TOPIC,
    TIMER_TOPIC,
    TRACE_TOPIC,
];
/// Ends the names of topics for replies; one per cluster.
const REPLY_SUFFIX: &str = "_REPLY_TOPIC";

/// Lists, creates, deletes and describes topics.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    name_server: NameServer,
    /// Writes a table for people, or JSON
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    output: Format,
}

#[derive(Subcommand)]
enum Command {
    /// Lists topics with their queues
    List {
        /// Lists the brokers' own topics too
        #[arg(long)]
        all: bool,
    },
    /// Creates a topic, or changes its number of queues
    Create {
        #[arg(value_parser = topic_name)]
        topic: String,
        /// Queues on each broker, 1 to 1024
        #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=1024))]
        queues: i32,
        /// Only on the brokers of this cluster
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
    },
    /// Deletes a topic with all its messages
    Delete { topic: String },
    /// Shows the queues of a topic and how many messages each holds
    Describe { topic: String },
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let routes = arguments.name_server.routes();
    let admin = Admin::new(routes.clone());
    let format = arguments.output;
    runtime()?.block_on(async {
        match &arguments.command {
            Command::List { all } => list(&admin, &routes, *all, format).await,
            Command::Create { topic, queues, cluster } => {
                let scope = cluster.clone().map_or(Scope::Everywhere, Scope::Cluster);
                create(&admin, &routes, topic, *queues, &scope, format).await
            }
            Command::Delete { topic } => delete(&admin, &routes, topic, format).await,
            Command::Describe { topic } => describe(&admin, topic, format).await,
        }
    })
}

async fn list(admin: &Admin, routes: &Routes, all: bool, format: Format) -> anyhow::Result<()> {
    let info = admin.cluster_info().await?;
    let mut topics: BTreeSet<String> = admin.topics().await?.into_iter().collect();
    topics.retain(|topic| all || !is_system_topic(topic, &info));
    let mut rows = Vec::new();
    for topic in topics {
        match routes.refresh(&topic).await {
            Ok(route) => rows.push((topic, route)),
            // Deleted while we looked, or known to a name server without a broker that has it.
            Err(RouteError::NoTopic(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match format {
        Format::Json => rows.iter().try_for_each(|(topic, route)| {
            let brokers: Vec<&str> = brokers(route).into_iter().collect();
            output::json(&json!({
                "topic": topic, "brokers": brokers, "write_queues": route.write.len(), "read_queues": route.read.len(),
            }))
        })?,
        Format::Text => {
            let mut table = table(["TOPIC", "BROKERS", "WRITE QUEUES", "READ QUEUES"], 2);
            for (topic, route) in &rows {
                let brokers: Vec<&str> = brokers(route).into_iter().collect();
                let (write, read) = (route.write.len().to_string(), route.read.len().to_string());
                table.add_row([topic.as_str(), &brokers.join(","), &write, &read]);
            }
            output::line(&table.trim_fmt())?;
        }
    }
    Ok(())
}

async fn create(
    admin: &Admin,
    routes: &Routes,
    topic: &str,
    queues: i32,
    scope: &Scope,
    format: Format,
) -> anyhow::Result<()> {
    let config = TopicConfig {
        topic_name: topic.to_owned(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        ..TopicConfig::default()
    };
    admin.create_topic(&config, scope).await?;
    wait_until_known(routes, topic).await.with_context(|| format!("topic {topic} is created"))?;
    let route = routes.get(topic).await?;
    done(format, "created", topic, &format!("with {queues} queues on {}", join(brokers(&route))))
}

async fn delete(admin: &Admin, routes: &Routes, topic: &str, format: Format) -> anyhow::Result<()> {
    // A misspelt name is better refused than "deleted".
    routes.refresh(topic).await?;
    admin.delete_topic(topic).await?;
    done(format, "deleted", topic, "with all its messages")
}

async fn describe(admin: &Admin, topic: &str, format: Format) -> anyhow::Result<()> {
    let queues = admin.queue_bounds(topic).await?;
    let held = |queue: &QueueBounds| queue.max_offset - queue.min_offset;
    match format {
        Format::Json => queues.iter().try_for_each(|queue| {
            output::json(&json!({
                "topic": topic, "broker": queue.queue.broker_name, "queue": queue.queue.queue_id,
                "min_offset": queue.min_offset, "max_offset": queue.max_offset, "messages": held(queue),
            }))
        })?,
        Format::Text => {
            let mut table = table(["BROKER", "QUEUE", "MIN OFFSET", "MAX OFFSET", "MESSAGES"], 1);
            for queue in &queues {
                let numbers =
                    [i64::from(queue.queue.queue_id), queue.min_offset, queue.max_offset, held(queue)];
                let row = std::iter::once(queue.queue.broker_name.clone());
                table.add_row(row.chain(numbers.map(|number| number.to_string())));
            }
            output::line(&table.trim_fmt())?;
            output::line(&format!("{} messages", queues.iter().map(held).sum::<i64>()))?;
        }
    }
    Ok(())
}

fn done(format: Format, what: &str, topic: &str, how: &str) -> anyhow::Result<()> {
    match format {
        Format::Text => output::line(&format!("topic {topic} {what} {how}"))?,
        Format::Json => output::json(&json!({ "topic": topic, "result": what }))?,
    }
    Ok(())
}

fn brokers(route: &Route) -> BTreeSet<&str> {
    route.write.iter().chain(&route.read).map(|queue| queue.broker_name.as_str()).collect()
}

fn join(names: BTreeSet<&str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// Topics that no user made: those each broker starts with, one named after each cluster and broker, and
/// what groups could not consume.
fn is_system_topic(topic: &str, info: &ClusterInfo) -> bool {
    SYSTEM_TOPICS.contains(&topic)
        || topic.starts_with(RETRY_PREFIX)
        || topic.starts_with(DLQ_PREFIX)
        || topic.starts_with("rmq_sys_")
        || topic.ends_with(REPLY_SUFFIX)
        || info.cluster_addr_table.contains_key(topic)
        || info.broker_addr_table.contains_key(topic)
}

fn topic_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_TOPIC {
        return Err(format!("must have 1 to {MAX_TOPIC} characters"));
    }
    match illegal_character(text) {
        Some(letter) => Err(format!("must be letters, digits, _, -, % and |, without {letter:?}")),
        None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_that_no_user_made_are_not_listed() {
        let mut info = ClusterInfo::default();
        info.cluster_addr_table.insert("DefaultCluster".to_owned(), BTreeSet::new());
        info.broker_addr_table.insert("dev-broker-0".to_owned(), Default::default());
        let system = [
            "TBW102",
            "%RETRY%g",
            "%DLQ%g",
            "DefaultCluster",
            "dev-broker-0",
            "DefaultCluster_REPLY_TOPIC",
            "rmq_sys_REVIVE_LOG_DefaultCluster",
            "SCHEDULE_TOPIC_XXXX",
        ];
        for topic in system {
            assert!(is_system_topic(topic, &info), "{topic}");
        }
        assert!(!is_system_topic("orders", &info));
    }

    #[test]
    fn a_topic_name_is_checked_before_anybody_is_asked() {
        assert_eq!(topic_name("orders-1_%|A"), Ok("orders-1_%|A".to_owned()));
        assert_eq!(topic_name("a b"), Err("must be letters, digits, _, -, % and |, without ' '".to_owned()));
        assert_eq!(topic_name(""), Err("must have 1 to 127 characters".to_owned()));
        assert!(topic_name(&"x".repeat(128)).is_err());
    }
}
