//! A slave's end of the stream, driven by the test: it reports what the test says, whatever it has.

use std::net::SocketAddr;

use broker::Broker;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{soon, until};

/// A connected follower.
pub struct Follower {
    pub stream: TcpStream,
    /// The log was received up to here.
    pub received: u64,
}

impl Follower {
    /// Connects to a master's HA port and reports where to go on.
    pub async fn connect(ha: SocketAddr, report: u64) -> Follower {
        let stream = soon("connect", TcpStream::connect(ha)).await.unwrap();
        let mut follower = Follower { stream, received: report };
        follower.report(report).await;
        follower
    }

    /// Reports an offset.
    pub async fn report(&mut self, offset: u64) {
        soon("report", self.stream.write_all(&offset.to_be_bytes())).await.unwrap();
    }

    /// Reports an offset and waits until the master knows.
    pub async fn acknowledge(&mut self, broker: &Broker, offset: u64) {
        self.report(offset).await;
        let own = self.stream.local_addr().unwrap();
        let leader = broker.leader.as_ref().unwrap();
        let known = || leader.followers().iter().any(|f| f.addr == own && f.acked == offset);
        until("the master knows", known).await;
    }

    /// Receives the log up to an offset.
    pub async fn receive(&mut self, end: u64) {
        while self.received < end {
            let mut head = [0; 12];
            soon("a frame", self.stream.read_exact(&mut head)).await.unwrap();
            let offset = u64::from_be_bytes(head[..8].try_into().unwrap());
            let size = u32::from_be_bytes(head[8..].try_into().unwrap());
            assert_eq!(offset, self.received, "the next bytes, or a heartbeat");
            soon("a body", self.stream.read_exact(&mut vec![0; size as usize])).await.unwrap();
            self.received += u64::from(size);
        }
    }
}
