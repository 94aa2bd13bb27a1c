//! The program `gantry-operator`.

fn main() {}
