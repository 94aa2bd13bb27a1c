//! Which build this process is. Knows nothing but what the compiler was told.

/// The release, as in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, when the build set `GANTRY_COMMIT`; otherwise `unknown`.
pub const COMMIT: &str = match option_env!("GANTRY_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Returns version and commit in the form that `--version` prints.
pub fn describe() -> String {
    format!("{VERSION} ({COMMIT})")
}
