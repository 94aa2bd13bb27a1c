//! Group commit of the mock: a thread that syncs whenever answers wait, and then sends all of them.

use std::net::TcpStream;
use std::sync::Arc;

use anyhow::Result;
use parking_lot::{Condvar, Mutex};

use super::Ring;
use super::held::{Held, Hold, send};

/// Holds answers until their records are on the device.
pub struct Flusher {
    held: Mutex<Vec<Held>>,
    arrived: Condvar,
}

impl Flusher {
    /// Starts the thread; it ends with the process.
    pub fn start(ring: Arc<Ring>) -> Arc<Self> {
        let flusher = Arc::new(Self { held: Mutex::new(Vec::new()), arrived: Condvar::new() });
        let handle = flusher.clone();
        std::thread::spawn(move || {
            loop {
                if let Err(error) = handle.flush_once(&ring) {
                    // Nothing may be acknowledged after a failed sync.
                    eprintln!("mock: {error:#}");
                    std::process::exit(1);
                }
            }
        });
        flusher
    }

    fn flush_once(&self, ring: &Ring) -> Result<()> {
        let mut held = self.held.lock();
        while held.is_empty() {
            self.arrived.wait(&mut held);
        }
        let group = std::mem::take(&mut *held);
        drop(held);
        ring.sync()?;
        send(group);
        Ok(())
    }
}

impl Hold for Flusher {
    fn hold(&self, stream: &Arc<TcpStream>, answers: Vec<u8>) {
        self.held.lock().push(Held { stream: stream.clone(), answers });
        self.arrived.notify_one();
    }
}
