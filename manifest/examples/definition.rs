//! Prints the definition of `RocketMQCluster` for Kubernetes; `make generate` keeps it in `crds/`.

fn main() {
    print!("{}", manifest::crd::definition_yaml());
}
