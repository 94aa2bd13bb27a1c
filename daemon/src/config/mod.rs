//! Settings of a process. They come, later ones winning, from a `.properties` file, from environment
//! variables `GANTRY_<KEY>` and from flags `--set key=value`, and end as typed values in a server's
//! own `Config`. This module knows how to read them, not which ones exist.
//!
//! ```
//! use daemon::config::{Reader, Unit};
//! let pairs = daemon::config::parse("listenPort = 9876\nfileReservedTime=48").expect("well formed");
//! let mut reader = Reader::new(&pairs);
//! let port: u16 = reader.number("listenPort", 9876, 1..=65535);
//! let keep = reader.duration("fileReservedTime", Unit::Hours, 72, 1..=87_600);
//! let unknown = reader.finish().expect("both values are in range");
//! assert_eq!((port, keep.as_secs(), unknown.len()), (9876, 48 * 3600, 0));
//! ```

mod properties;
mod reader;
mod sources;

pub use properties::{SyntaxError, parse, write};
pub use reader::{ConfigErrors, Problem, Reader, Unit, UnknownKey};
pub use sources::{ENV_PREFIX, LoadError, env_name, load};
