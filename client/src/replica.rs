//! Requests of a slave to its master, one function each. Java masters answer all of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use protocol::bodies::join::JoinReply;
use protocol::bodies::kv_table::KvTable;
use protocol::bodies::offsets::ConsumerOffsetSerializeWrapper;
use protocol::bodies::subscription_group::SubscriptionGroupWrapper;
use protocol::bodies::topic_config::TopicConfigAndMappingSerializeWrapper;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::json::JsonBody;
use protocol::requests::{DecodeExt, ExchangeHaInfo, ExchangeHaInfoReply, NoFields, ViewMessage};
use remoting::Client;
use remoting::client::decode_fields;

use crate::broker::{Queue, commit};
use crate::error::{Asked, RequestError};

/// How long a master may take for each; Java's slaves wait as long.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// A slave, as it introduces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Cluster.
    pub cluster: &'a str,
    /// Group of master and slaves.
    pub broker_name: &'a str,
    /// Its number in the group.
    pub broker_id: i64,
    /// Identity of its store.
    pub store_id: &'a str,
}

/// A master, as it introduces itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Master {
    /// Where it sends its log from; `None` of a broker that is no master.
    pub ha_address: Option<String>,
    /// Where it serves clients.
    pub address: Option<String>,
    /// What only a Gantry master says.
    pub gantry: Option<GantryMaster>,
}

/// What a Gantry master says of itself beyond Java's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GantryMaster {
    /// Its cluster.
    pub cluster: String,
    /// Its group.
    pub broker_name: String,
    /// Deleted topics, and below which physical offset their messages are.
    pub dropped: BTreeMap<String, u64>,
}

/// What a master's log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBounds {
    /// Physical offset of its first byte.
    pub begin: u64,
    /// Physical offset behind its last.
    pub end: u64,
}

/// Introduces a slave to its master (906).
///
/// # Errors
/// Refused when the master belongs to another group; its words name both.
pub async fn introduce(client: &Client, member: Member<'_>) -> Result<Master, RequestError> {
    let header = ExchangeHaInfo {
        master_ha_address: None,
        master_flush_offset: None,
        master_address: None,
        cluster_name: Some(Cow::Borrowed(member.cluster)),
        broker_name: Some(Cow::Borrowed(member.broker_name)),
        broker_id: Some(member.broker_id),
        store_id: Some(Cow::Borrowed(member.store_id)),
    };
    let asked = asked(client, RequestCode::EXCHANGE_BROKER_HA_INFO);
    let response = asked.success(&header, &[]).await?;
    let fields = decode_fields(&response, |ext| {
        ExchangeHaInfoReply::decode(ext).map(|reply| {
            let own = reply.cluster_name.map(Cow::into_owned).zip(reply.broker_name.map(Cow::into_owned));
            (reply.master_ha_address.map(Cow::into_owned), reply.master_address.map(Cow::into_owned), own)
        })
    });
    let (ha_address, address, own) = fields.map_err(|error| asked.unreadable(error))?;
    let gantry = match own {
        None => None,
        Some((cluster, broker_name)) => {
            let reply = JoinReply::decode(&response.body).map_err(|error| asked.unreadable(error))?;
            Some(GantryMaster { cluster, broker_name, dropped: reply.dropped })
        }
    };
    Ok(Master { ha_address, address, gantry })
}

/// Returns what the master's log holds (28).
pub async fn log_bounds(client: &Client) -> Result<LogBounds, RequestError> {
    let asked = asked(client, RequestCode::GET_BROKER_RUNTIME_INFO);
    let table: KvTable = body(&asked).await?;
    let number = |key: &str| {
        let text = table.table.get(key).map_or("", String::as_str);
        text.parse().map_err(|_| asked.unreadable(format!("{key} is {text:?}, not an offset")))
    };
    let end = number("commitLogMaxOffset")?;
    // An empty Java broker says that its log begins at -1.
    let nothing = table.table.get("commitLogMinOffset").is_some_and(|begin| begin == "-1");
    Ok(LogBounds { begin: if nothing { end } else { number("commitLogMinOffset")? }, end })
}

/// Returns the record at a physical offset (33), `None` when the master has none there.
pub async fn record_at(client: &Client, offset: u64) -> Result<Option<Bytes>, RequestError> {
    let asked = asked(client, RequestCode::VIEW_MESSAGE_BY_ID);
    let response = asked.any(&ViewMessage { topic: None, offset: offset as i64 }, &[]).await?;
    match response.code {
        ResponseCode::SUCCESS => Ok(Some(response.body)),
        // How a broker says that there is none.
        ResponseCode::SYSTEM_ERROR => Ok(None),
        _ => Err(asked.refused(response)),
    }
}

/// Returns all topics (21).
pub async fn topics(client: &Client) -> Result<TopicConfigAndMappingSerializeWrapper, RequestError> {
    body(&asked(client, RequestCode::GET_ALL_TOPIC_CONFIG)).await
}

/// Returns all subscription groups (201).
pub async fn groups(client: &Client) -> Result<SubscriptionGroupWrapper, RequestError> {
    body(&asked(client, RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG)).await
}

/// Returns all consumer offsets (43), by `topic@group`.
pub async fn offsets(client: &Client) -> Result<BTreeMap<String, BTreeMap<i32, i64>>, RequestError> {
    let all: ConsumerOffsetSerializeWrapper =
        body(&asked(client, RequestCode::GET_ALL_CONSUMER_OFFSET)).await?;
    Ok(all.offset_table)
}

/// Hands the master an offset that a group committed elsewhere (15).
pub async fn push_offset(
    client: &Client,
    group: &str,
    queue: Queue<'_>,
    offset: i64,
) -> Result<(), RequestError> {
    let header = commit(group, queue, offset);
    asked(client, RequestCode::UPDATE_CONSUMER_OFFSET).success(&header, &[]).await.map(drop)
}

fn asked(client: &Client, code: RequestCode) -> Asked<'_> {
    Asked { client, code, timeout: TIMEOUT }
}

async fn body<T: JsonBody>(asked: &Asked<'_>) -> Result<T, RequestError> {
    let response = asked.success(&NoFields, &[]).await?;
    T::decode(&response.body).map_err(|error| asked.unreadable(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Connections;
    use crate::scripted::{self, Answer};

    const SLAVE: Member<'_> = Member { cluster: "C", broker_name: "G", broker_id: 1, store_id: "ab" };

    #[tokio::test]
    async fn a_gantry_master_and_a_java_master_are_told_apart_by_their_answers() {
        let gantry = scripted::start(|request| {
            assert_eq!(request.code, RequestCode::EXCHANGE_BROKER_HA_INFO.0);
            let said = ["clusterName", "brokerName", "brokerId", "storeId"].map(|name| request.field(name));
            assert_eq!(said, [Some("C"), Some("G"), Some("1"), Some("ab")]);
            assert_eq!(
                request.field("masterHaAddress"),
                None,
                "a Java broker would take it for a master's word"
            );
            Answer::fields(&[
                ("masterHaAddress", "m:2"),
                ("masterFlushOffset", "7"),
                ("masterAddress", "m:1"),
                ("clusterName", "C"),
                ("brokerName", "G"),
            ])
            .with_body(br#"{"dropped":{"T":9}}"#.to_vec())
        })
        .await;
        let java = scripted::start(|_| {
            Answer::fields(&[
                ("masterHaAddress", "j:2"),
                ("masterFlushOffset", "0"),
                ("masterAddress", "j:1"),
            ])
        })
        .await;
        let slave = scripted::start(|_| Answer::fields(&[])).await;
        let connections = Connections::default();
        let ask = async |addr: &str| introduce(&connections.to(addr).await.unwrap(), SLAVE).await.unwrap();
        let dropped = BTreeMap::from([("T".to_owned(), 9)]);
        let own = GantryMaster { cluster: "C".into(), broker_name: "G".into(), dropped };
        let of = |name: &str| (Some(format!("{name}:2")), Some(format!("{name}:1")));
        let (ha_address, address) = of("m");
        assert_eq!(ask(&gantry).await, Master { ha_address, address, gantry: Some(own) });
        let (ha_address, address) = of("j");
        assert_eq!(ask(&java).await, Master { ha_address, address, gantry: None });
        assert_eq!(ask(&slave).await, Master::default());
    }

    #[tokio::test]
    async fn the_bounds_of_a_log_are_numbers_or_an_error_that_names_them() {
        let table = |text: &'static str| move |_: &scripted::Asked| Answer::body(text.as_bytes().to_vec());
        let good =
            scripted::start(table(r#"{"table":{"commitLogMinOffset":"5","commitLogMaxOffset":"90"}}"#)).await;
        let empty =
            scripted::start(table(r#"{"table":{"commitLogMinOffset":"-1","commitLogMaxOffset":"0"}}"#)).await;
        let bad = scripted::start(table(r#"{"table":{"commitLogMinOffset":"0"}}"#)).await;
        let connections = Connections::default();
        let bounds = log_bounds(&connections.to(&good).await.unwrap()).await.unwrap();
        assert_eq!(bounds, LogBounds { begin: 5, end: 90 });
        let bounds = log_bounds(&connections.to(&empty).await.unwrap()).await.unwrap();
        assert_eq!(bounds, LogBounds { begin: 0, end: 0 });
        let error = log_bounds(&connections.to(&bad).await.unwrap()).await.unwrap_err().to_string();
        assert!(error.ends_with("commitLogMaxOffset is \"\", not an offset"), "{error}");
    }
}
