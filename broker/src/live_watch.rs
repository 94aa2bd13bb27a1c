//! Looks at the live file once a second and offers what is new in it. By its content: in a mounted ConfigMap neither
//! times nor inodes tell anything.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tracing::warn;

use crate::member::Member;

/// How often the file is looked at.
pub const POLL: Duration = Duration::from_secs(1);
/// Bytes of the file at most.
const MAX_FILE: u64 = daemon::admin::MAX_CONFIG as u64;

/// A live file.
pub struct LiveWatch {
    file: PathBuf,
    /// What was offered last.
    seen: Option<String>,
    /// Why it could not be read the last time.
    unreadable: Option<String>,
}

impl LiveWatch {
    /// Makes one that has not looked yet.
    pub fn new(file: PathBuf) -> LiveWatch {
        LiveWatch { file, seen: None, unreadable: None }
    }

    /// Looks for ever.
    pub async fn run(mut self, member: Arc<Member>) {
        loop {
            tokio::time::sleep(POLL).await;
            self.look(&member).await;
        }
    }

    /// Offers what the file has, if that is new.
    pub async fn look(&mut self, member: &Arc<Member>) {
        let text = match self.read().await {
            Ok(text) => text.filter(|text| self.seen.as_ref() != Some(text)),
            Err(e) => {
                let why = e.to_string();
                if self.unreadable.as_ref() != Some(&why) {
                    warn!(file = %self.file.display(), "live file not read, trying on: {why}");
                }
                self.unreadable = Some(why);
                return;
            }
        };
        self.unreadable = None;
        let (member, from) = (member.clone(), self.file.display().to_string());
        self.seen = text.clone().or(self.seen.take());
        let work = move || {
            if let Some(text) = text {
                // Told where it is decided.
                let _ = member.offer(&text, &from);
            }
            member.keep_on();
        };
        // Only a panic ends it early, and that was reported.
        let _ = tokio::task::spawn_blocking(work).await;
    }

    /// Returns the file's text, if there is one.
    async fn read(&self) -> io::Result<Option<String>> {
        let file = match tokio::fs::File::open(&self.file).await {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut text = String::new();
        file.take(MAX_FILE + 1).read_to_string(&mut text).await?;
        if text.len() as u64 > MAX_FILE {
            return Err(io::Error::other(format!("it has more than {MAX_FILE} bytes")));
        }
        Ok(Some(text))
    }
}
