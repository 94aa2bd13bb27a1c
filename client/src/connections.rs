//! One connection per server, shared by everyone who talks to it, made anew when it is lost.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use remoting::{CallError, Client, ClientOptions};

/// Open connections by address; clones share them. There are as many as a cluster has servers.
#[derive(Clone, Default)]
pub struct Connections {
    options: ClientOptions,
    open: Arc<Mutex<HashMap<String, Client>>>,
}

impl Connections {
    /// Creates an empty set whose connections will have these options.
    pub fn new(options: ClientOptions) -> Self {
        Self { options, open: Arc::default() }
    }

    /// Returns the connection to `host:port`, connecting if there is none that works.
    ///
    /// # Errors
    /// [`CallError::Connect`]; try another server, or later.
    pub async fn to(&self, addr: &str) -> Result<Client, CallError> {
        if let Some(client) = self.open.lock().get(addr).filter(|client| !client.is_lost()) {
            return Ok(client.clone());
        }
        let client = Client::connect(addr, self.options.clone()).await?;
        let mut open = self.open.lock();
        open.retain(|_, client| !client.is_lost());
        // Of two that connected at once, the later one's connection stays.
        open.insert(addr.to_owned(), client.clone());
        Ok(client)
    }
}
