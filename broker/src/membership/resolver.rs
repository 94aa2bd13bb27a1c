//! Where a name server is now: a host name leads to another address when its pod was made anew. What is done there is
//! not known here.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// How often a name is looked up again while its name server is fine.
pub(super) const AGAIN: Duration = Duration::from_secs(5);
/// How long a lookup may take. One that takes longer goes on, and no other one is begun meanwhile.
const LONGEST: Duration = Duration::from_secs(2);
/// Addresses of one name that are tried.
const MOST: usize = 8;

/// Looks up `host:port`, time and again.
pub(super) struct Resolver {
    name: String,
    pending: Option<JoinHandle<io::Result<Vec<SocketAddr>>>>,
    next: Instant,
}

impl Resolver {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), pending: None, next: Instant::now() }
    }

    /// Returns all addresses of the name, in the system's order. Safe to cancel.
    pub(super) async fn resolve(&mut self) -> io::Result<Vec<SocketAddr>> {
        if let Ok(fixed) = self.name.parse() {
            return Ok(vec![fixed]);
        }
        let name = &self.name;
        let lookup = self.pending.get_or_insert_with(|| tokio::spawn(look_up(name.clone())));
        let looked_up = timeout(LONGEST, lookup).await.map_err(|_| {
            io::Error::new(io::ErrorKind::TimedOut, format!("look up {name}: no answer within {LONGEST:?}"))
        })?;
        self.pending = None;
        self.next = Instant::now() + AGAIN;
        let fail = |source: io::Error| io::Error::new(source.kind(), format!("look up {name}: {source}"));
        looked_up.map_err(io::Error::other).flatten().map_err(fail)
    }

    /// Resolves when the name does not lead to `address` any more. While nothing answers, nothing has moved. Safe to
    /// cancel.
    pub(super) async fn moved_from(&mut self, address: SocketAddr) {
        loop {
            sleep_until(self.next).await;
            match self.resolve().await {
                Ok(now) if !now.contains(&address) => return,
                Ok(_) | Err(_) => self.next = Instant::now() + AGAIN,
            }
        }
    }
}

async fn look_up(name: String) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<_> = lookup_host(name).await?.take(MOST).collect();
    match found.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_leads_to_itself_and_a_name_to_all_of_its_addresses() {
        let fixed: SocketAddr = "10.1.2.3:9876".parse().unwrap();
        assert_eq!(Resolver::new("10.1.2.3:9876").resolve().await.unwrap(), [fixed]);
        let here = Resolver::new("localhost:9876").resolve().await.unwrap();
        assert!(
            !here.is_empty() && here.iter().all(|a| a.ip().is_loopback() && a.port() == 9876),
            "{here:?}"
        );
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_told_by_its_name() {
        let mut resolver = Resolver::new("no-such-name.invalid:9876");
        let error = resolver.resolve().await.unwrap_err().to_string();
        assert!(error.starts_with("look up no-such-name.invalid:9876: "), "{error}");
    }

    #[tokio::test]
    async fn a_name_that_leads_elsewhere_has_moved() {
        let mut resolver = Resolver::new("localhost:9876");
        let elsewhere = "192.0.2.1:9876".parse().unwrap();
        timeout(Duration::from_secs(10), resolver.moved_from(elsewhere)).await.expect("it has moved");
        let here = resolver.resolve().await.unwrap()[0];
        let stays = timeout(Duration::from_millis(1), resolver.moved_from(here)).await;
        assert!(stays.is_err(), "it is looked up later, and is still there then");
    }
}
