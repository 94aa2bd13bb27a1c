# The commands of a working day; each is a plain command or two. What has to be installed: tests/setup.
.PHONY: run test check fix bench e2e fuzz chaos images generate

run: ## a local cluster from deploy/quickstart.yaml; Ctrl-C stops it
	@tests/setup run
	cargo run --quiet --profile release-lite --bin gantry -- up deploy/quickstart.yaml

test: ## everything CI runs
	@tests/setup test
	cargo test --workspace --no-fail-fast

check: ## formatting, lints, layering; never writes
	@tests/setup check
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace --test layers

fix: ## formats and applies what clippy can mend
	@tests/setup check
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	cargo fmt

bench: ## the load generator with its report
	@tests/setup run
	cargo run --release --bin gantry -- bench all

e2e: ## the scenarios on a real Kubernetes on this host; E2E=name for one, E2E_KEEP=1 leaves it up
	@tests/setup e2e
	cargo test --package tests --test e2e

fuzz: ## ten minutes of every decoder
	FUZZ_SECONDS=600 cargo test --workspace --test fuzz -- --nocapture

chaos: ## the rings `wire`, `crash`, `replication`, the planner's model and the kills of `e2e`, long: ten times the frames, the kills and the faults
	WIRE_FRAMES=100000 CRASH_KILLS=200 REPLICATION_KILLS=30 SLAVE_FAULTS=10 MESSAGES=200000 CUTS=10 \
	  cargo test --workspace --test wire --test crash --test replication -- --nocapture
	MODEL_SEEDS=2000 FIELDS=all cargo test --package planner --test model --test fields -- --nocapture
	@tests/setup e2e
	E2E=kills E2E_ROUNDS=6 cargo test --package tests --test e2e

images: ## one image per component, as archives in target/images
	@tests/setup images
	deploy/images

generate: ## the definition of RocketMQCluster and its reference; the page on troubleshooting; charts and deploy/kubernetes
	@mkdir -p target
	cargo run --quiet --package manifest --example definition > target/definition.yaml
	mv target/definition.yaml manifest/crds/rocketmqclusters.yaml
	cargo run --quiet --package manifest --example reference > target/page.md
	mv target/page.md docs/manifest.md
	cargo run --quiet --package planner --example troubleshooting > target/page.md
	mv target/page.md docs/troubleshooting.md
	charts/generate
