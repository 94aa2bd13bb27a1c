//! `gantry produce`: sends messages, one after the other, and says where each one went.

use std::time::Instant;

use clap::Args;
use client::broker::Durability;
use client::message::Message;
use client::producer::{Producer, ProducerOptions, Receipt};
use serde_json::json;

use crate::name_server::{NameServer, runtime, wait_until_known};
use crate::output::{self, Format};

/// From this many messages on, people read only the sum.
const MOST_LINES: u64 = 20;

/// Sends messages to a topic.
#[derive(Args)]
pub struct Arguments {
    /// The topic
    topic: String,
    /// How many messages
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u64,
    /// What they say; n in braces stands for the number of the message, from 1
    #[arg(long, value_name = "TEXT", default_value = "message {n}")]
    body: String,
    /// Fills each message to this many bytes, instead of a text
    #[arg(long, value_name = "BYTES", conflicts_with = "body", value_parser = clap::value_parser!(u32).range(0..=64 << 20))]
    size: Option<u32>,
    /// What consumers can filter by
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// What the messages can be looked up by; may be given several times
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// Anything else to carry; may be given several times
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    #[command(flatten)]
    name_server: NameServer,
    /// Writes lines for people, or one JSON object per message
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let options = ProducerOptions { group: "gantry-produce".to_owned(), ..ProducerOptions::default() };
        let routes = arguments.name_server.routes();
        let producer = Producer::new(routes.clone(), options);
        let started = Instant::now();
        for number in 1..=arguments.count {
            let receipt = producer.send(&message(arguments, number)).await?;
            report(arguments, &receipt)?;
        }
        let seconds = started.elapsed().as_secs_f64();
        if arguments.count > 0 {
            // The first message may have made the topic.
            wait_until_known(&routes, &arguments.topic).await?;
        }
        if arguments.output == Format::Text && arguments.count > 1 {
            let rate = arguments.count as f64 / seconds.max(0.001);
            output::line(&format!("{} messages in {seconds:.2} s, {rate:.0} per second", arguments.count))?;
        }
        Ok(())
    })
}

fn message(arguments: &Arguments, number: u64) -> Message {
    let body = match arguments.size {
        Some(size) => vec![b'x'; size as usize],
        None => arguments.body.replace("{n}", &number.to_string()).into_bytes(),
    };
    Message {
        tag: arguments.tag.clone(),
        keys: arguments.keys.clone(),
        properties: arguments.properties.clone(),
        ..Message::new(&arguments.topic, body)
    }
}

fn report(arguments: &Arguments, receipt: &Receipt) -> std::io::Result<()> {
    let Receipt { id, broker_name, sent } = receipt;
    let but = match sent.durability {
        Durability::AsAsked => None,
        Durability::FlushDiskTimeout => Some("not on disk in time"),
        Durability::FlushReplicaTimeout => Some("not on the replicas in time"),
        Durability::NoReplica => Some("there is no replica"),
    };
    match arguments.output {
        Format::Json => output::json(&json!({
            "id": id, "broker": broker_name, "queue": sent.queue_id, "offset": sent.queue_offset,
            "stored": true, "but": but,
        })),
        Format::Text if arguments.count <= MOST_LINES || but.is_some() => {
            let but = but.map(|but| format!(", but {but}")).unwrap_or_default();
            let (queue, offset) = (sent.queue_id, sent.queue_offset);
            output::line(&format!("stored {id} in {broker_name} queue {queue} at {offset}{but}"))
        }
        Format::Text => Ok(()),
    }
}

fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be NAME=VALUE".to_owned()),
    }
}
