//! `gantry bench`: how fast a broker is on this machine, and what that costs it. The crate `bench` does the work.

pub use ::bench::options::Options as Arguments;

/// Measures what was asked for.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    ::bench::run(arguments)
}
