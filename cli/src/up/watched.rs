//! A manifest's file while its cluster runs: each edit, once it is complete.

use std::path::{Path, PathBuf};
use std::time::Duration;

use manifest::Validated;
use tokio::time::sleep;

/// From one look to the next. An edit counts when two looks in a row find the same: by then it is written completely.
const PAUSE: Duration = Duration::from_millis(250);

/// A file that may be edited.
pub struct Watched {
    path: PathBuf,
    /// What was taken last, whether or not it could be used.
    taken: Content,
    /// What was found last.
    found: Content,
}

/// A file's text, or why it cannot be read.
type Content = Result<String, String>;

impl Watched {
    /// Watches a file of which this text was taken.
    pub fn new(path: &Path, text: String) -> Watched {
        Watched { path: path.to_owned(), found: Ok(text.clone()), taken: Ok(text) }
    }

    /// Waits for the next edit and returns the manifest. Safe to cancel.
    ///
    /// # Errors
    /// What is wrong with it; the user edits it again.
    pub async fn edited(&mut self) -> Result<Validated, Vec<String>> {
        loop {
            sleep(PAUSE).await;
            let now = read(&self.path);
            let complete = now == self.found;
            self.found = now;
            if complete && self.found != self.taken {
                self.taken = self.found.clone();
                return match &self.taken {
                    Ok(text) => manifest::load(text)
                        .map_err(|problems| problems.0.iter().map(ToString::to_string).collect()),
                    Err(why) => Err(vec![why.clone()]),
                };
            }
        }
    }
}

fn read(path: &Path) -> Content {
    std::fs::read_to_string(path).map_err(|error| format!("read manifest {}: {error}", path.display()))
}
