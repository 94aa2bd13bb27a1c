//! Prints the reference of the manifest; `make generate` keeps it in `docs/manifest.md`.

fn main() {
    print!("{}", manifest::reference::reference());
}
