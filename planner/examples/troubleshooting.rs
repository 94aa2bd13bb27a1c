//! Prints the page on troubleshooting; `make generate` keeps it in `docs/troubleshooting.md`.

fn main() {
    print!("{}", planner::manual::page());
}
