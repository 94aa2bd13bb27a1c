//! A slave for unit tests: its messages are on a disk in memory, its tables in a folder. And a master played by a script.

use std::path::Path;
use std::sync::Arc;

use client::{Client, ClientOptions};
use remoting::handler::{Handler, HandlerService};
use store::Store;
use store::disk::memory::MemoryDisk;
use tokio::sync::watch;

use crate::broker::Broker;
use crate::config::Config;

/// Opens a slave.
pub fn open(dir: &Path, disk: &MemoryDisk) -> Arc<Broker> {
    let settings = [
        ("storePathRootDir", dir.to_str().unwrap()),
        ("brokerRole", "SLAVE"),
        ("brokerId", "1"),
        ("mappedFileSizeCommitLog", "16MiB"),
    ];
    let settings = settings.map(|(k, v)| (k.to_owned(), v.to_owned()));
    let config = Config::from_properties(&settings).unwrap();
    let store = Store::open(config.store(), Arc::new(disk.clone())).unwrap();
    Arc::new(Broker::new(config, store, "127.0.0.1:1".parse().unwrap(), crate::metrics::requests()).unwrap())
}

/// Starts a master of which only the answers are known, and connects to it. It ends with the sender.
pub async fn connect_to(master: impl Handler + 'static) -> (Client, watch::Sender<bool>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = watch::channel(false);
    let service = Arc::new(HandlerService(Arc::new(master)));
    tokio::spawn(remoting::serve(listener, service, remoting::Limits::default(), Arc::default(), stopped));
    (Client::connect(&addr, ClientOptions::default()).await.unwrap(), stop)
}
