//! Telling the members of a broker group that its lowest id changed (905). One-way and best effort: members that miss
//! it find out when they next ask for their group.

use std::time::Duration;

use protocol::codes::RequestCode;
use protocol::frame::{self, CommandHead};
use protocol::header::Serialization;
use protocol::requests::NotifyMinBrokerIdChange;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::info;

use crate::routes::MinBrokerIdChange;

/// How long connecting and writing to one member may take.
const TIMEOUT: Duration = Duration::from_millis(300);

/// Sends what is put into the channel until its other end is dropped. Safe to cancel.
pub async fn run(mut changes: mpsc::Receiver<MinBrokerIdChange>) {
    while let Some(change) = changes.recv().await {
        let frame = encode(&change);
        let mut sending = JoinSet::new();
        for addr in change.notify {
            let frame = frame.clone();
            sending.spawn(async move {
                if let Err(error) =
                    timeout(TIMEOUT, send(&addr, &frame)).await.unwrap_or_else(|late| Err(late.into()))
                {
                    info!(addr, "broker not told of the new lowest id: {error}");
                }
            });
        }
        // The next change may concern the same group: members hear of them in order.
        while sending.join_next().await.is_some() {}
    }
}

async fn send(addr: &str, frame: &[u8]) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(frame).await?;
    stream.shutdown().await
}

fn encode(change: &MinBrokerIdChange) -> Vec<u8> {
    let fields = NotifyMinBrokerIdChange {
        min_broker_id: Some(change.min_broker_id),
        broker_name: Some(change.broker_name.as_str().into()),
        min_broker_addr: Some(change.min_broker_addr.as_str().into()),
        offline_broker_addr: change.offline_broker_addr.as_deref().map(Into::into),
        ha_broker_addr: change.ha_broker_addr.as_deref().map(Into::into),
    };
    let head =
        CommandHead::request(Serialization::Json, RequestCode::NOTIFY_MIN_BROKER_ID_CHANGE.0, 0).oneway();
    let mut out = Vec::new();
    frame::encode(&mut out, &head, &fields, b"");
    out
}

#[cfg(test)]
mod tests {
    use protocol::frame::Decoded;
    use protocol::requests::DecodeExt;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn every_member_that_can_be_reached_is_told_one_way() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let reachable = listener.local_addr().unwrap().to_string();
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let unreachable = gone.local_addr().unwrap().to_string();
        drop(gone);
        let (changes, waiting) = mpsc::channel(1);
        let task = tokio::spawn(run(waiting));
        let change = MinBrokerIdChange {
            broker_name: "a".to_owned(),
            min_broker_id: 1,
            min_broker_addr: "a1:1".to_owned(),
            offline_broker_addr: Some("a0:1".to_owned()),
            ha_broker_addr: None,
            notify: vec![unreachable, reachable],
        };
        changes.send(change).await.unwrap();

        let mut bytes = Vec::new();
        listener.accept().await.unwrap().0.read_to_end(&mut bytes).await.unwrap();
        let Decoded::Frame(frame, _) = frame::decode(&bytes) else { panic!("a whole frame") };
        assert_eq!((frame.header.code, frame.header.is_oneway()), (905, true));
        let fields = NotifyMinBrokerIdChange::decode(&frame.header.ext).unwrap();
        let wanted = NotifyMinBrokerIdChange {
            min_broker_id: Some(1),
            broker_name: Some("a".into()),
            min_broker_addr: Some("a1:1".into()),
            offline_broker_addr: Some("a0:1".into()),
            ha_broker_addr: None,
        };
        assert_eq!(fields, wanted);
        drop(changes);
        task.await.unwrap();
    }
}
