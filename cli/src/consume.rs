//! `gantry consume`: shows the messages of a topic. It commits no offsets and takes no queue away from a
//! real consumer.

use clap::{Args, ValueEnum};
use client::consumer::{Consumer, ConsumerOptions, Start};
use client::message::Received;
use protocol::properties::names;
use serde_json::{Map, Value, json};

use crate::name_server::{NameServer, runtime};
use crate::output::{self, Format};
use crate::scan::Scan;
use crate::utc;

/// A group that every broker knows from its start; nothing is ever committed for it.
pub const GROUP: &str = "TOOLS_CONSUMER";
/// How many characters of a body people see.
const LONGEST_BODY: usize = 300;

/// Shows the messages of a topic; offsets of consumer groups stay as they are.
#[derive(Args)]
pub struct Arguments {
    /// The topic
    topic: String,
    /// Ends after this many messages
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Where to begin; latest waits for new messages, as --follow does
    #[arg(long, value_enum, default_value_t = From::Earliest)]
    from: From,
    /// Waits for new messages at the end, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// Only messages with one of these tags, joined by ||
    #[arg(long, value_name = "TAGS", default_value = "*")]
    tags: String,
    #[command(flatten)]
    name_server: NameServer,
    /// Writes lines for people, or one JSON object per message
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    Earliest,
    Latest,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.count == Some(0) {
        return Ok(());
    }
    runtime()?.block_on(async {
        if arguments.follow || arguments.from == From::Latest {
            tokio::select! {
                followed = follow(arguments) => followed,
                interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
            }
        } else {
            scan(arguments).await
        }
    })
}

/// Shows what is there now, over all queues in the order in which it was stored.
async fn scan(arguments: &Arguments) -> anyhow::Result<()> {
    let mut scan = Scan::start(arguments.name_server.routes(), &arguments.topic, &arguments.tags).await?;
    let mut shown = 0;
    while let Some(message) = scan.next().await? {
        show(&message, arguments.output)?;
        shown += 1;
        if arguments.count == Some(shown) {
            return Ok(());
        }
    }
    if arguments.output == Format::Text {
        output::note(&format!(
            "end of topic {} after {shown} messages; --follow waits for more",
            arguments.topic
        ));
    }
    Ok(())
}

async fn follow(arguments: &Arguments) -> anyhow::Result<()> {
    let start = match arguments.from {
        From::Earliest => Start::First,
        From::Latest => Start::Last,
    };
    let options = ConsumerOptions {
        tags: arguments.tags.clone(),
        start,
        ..ConsumerOptions::new(GROUP, &arguments.topic)
    };
    let mut consumer = Consumer::start(arguments.name_server.routes(), options).await?;
    let mut left = arguments.count;
    loop {
        let batch = match consumer.next().await {
            Ok(batch) => batch,
            // The consumer goes on trying, and so do we.
            Err(error) => {
                output::note(&format!("gantry: {error}"));
                continue;
            }
        };
        for message in batch {
            show(&message, arguments.output)?;
            left = left.map(|left| left - 1);
            if left == Some(0) {
                return Ok(());
            }
        }
    }
}

fn show(message: &Received, format: Format) -> std::io::Result<()> {
    match format {
        Format::Text => output::line(&text(message)),
        Format::Json => output::json(&to_json(message)),
    }
}

fn text(message: &Received) -> String {
    let Received { broker_name, queue_id, queue_offset, .. } = message;
    let tag = message.tag().map(|tag| format!("  tag={tag}")).unwrap_or_default();
    let keys = message.property(names::KEYS).map(|keys| format!("  keys={keys}")).unwrap_or_default();
    let stored = utc::format(message.store_timestamp);
    format!(
        "{stored}  {broker_name} queue {queue_id} at {queue_offset}{tag}{keys}  {}",
        body_text(&message.body)
    )
}

/// What can be shown in one line: control characters escaped, the rest cut.
fn body_text(body: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(body) else { return format!("({} bytes)", body.len()) };
    let mut shown: String = text.chars().take(LONGEST_BODY).flat_map(escaped).collect();
    if text.chars().count() > LONGEST_BODY {
        shown.push_str(&format!("... ({} bytes)", body.len()));
    }
    shown
}

fn escaped(letter: char) -> impl Iterator<Item = char> {
    let control = letter.is_control().then(|| letter.escape_default());
    let plain = (!letter.is_control()).then_some(letter);
    control.into_iter().flatten().chain(plain)
}

fn to_json(message: &Received) -> Value {
    let properties: Map<String, Value> =
        message.properties.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let body = match std::str::from_utf8(&message.body) {
        Ok(text) => json!(text),
        Err(_) => Value::Null,
    };
    let hex: Option<String> =
        body.is_null().then(|| message.body.iter().map(|byte| format!("{byte:02x}")).collect());
    json!({
        "id": message.id, "topic": message.topic, "broker": message.broker_name, "queue": message.queue_id,
        "offset": message.queue_offset, "born_ms": message.born_timestamp, "stored_ms": message.store_timestamp,
        "born_host": message.born_host, "reconsumed": message.reconsume_times, "properties": properties,
        "body": body, "body_hex": hex,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_shown_in_one_line_that_cannot_disturb_a_terminal() {
        let cases: [(&[u8], &str); 4] = [
            ("grüß dich".as_bytes(), "grüß dich"),
            (b"a\nb\x1b[31m", "a\\nb\\u{1b}[31m"),
            (&[0xff, 0xfe], "(2 bytes)"),
            (b"", ""),
        ];
        for (body, expected) in cases {
            assert_eq!(body_text(body), expected);
        }
        assert_eq!(body_text(&[b'x'; 301]), format!("{}... (301 bytes)", "x".repeat(300)));
    }
}
