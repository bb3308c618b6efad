# The one door: CI runs the same recipes.

# List the recipes.
default:
    @just --list

# Find or install what the tests need, and run all of them.
test *args:
    ./test {{args}}

# The Redis suite on a container, with an engine and an image made here.
test-container *args:
    scripts/test-container {{args}}

# The Redis suite on Redis 6.2, the oldest version that is supported.
test-floor *args:
    scripts/test-servers --all redis-6.2 -- {{args}}

# Conformance on other servers, by name (scripts/servers): redis-8.2 and valkey-9.1 unless named; --all is more than conformance.
test-servers *args:
    scripts/test-servers {{args}}

# Conformance on a Cluster with replicas, and over TLS with client certificates.
test-topologies *args:
    scripts/test-topologies {{args}}

# The suites again and again, until the time is over or one fails.
soak minutes="30":
    scripts/soak {{minutes}}

# Whether the model of the connection driver finds the faults that are made in a copy of it: all, or those that are named.
driver-faults *args:
    scripts/driver-faults {{args}}

# The fence of the near cache, under every interleaving of its threads.
loom:
    scripts/loom

# The suite on everything, and the committed report anew.
report:
    scripts/report

# Formatting, clippy, the direction of dependencies.
lint:
    scripts/lint

# Documentation without warnings, and the code in it.
docs:
    scripts/docs

# Each feature of each package alone.
features:
    scripts/features

# The public API against the files that were reviewed; with --bless, the files anew.
api *args:
    scripts/api {{args}}

# The archives that would be published, each built by itself.
package:
    scripts/package

# Bans, licences and sources of dependencies.
deny:
    scripts/deny

# The two services, on memory and on Redis.
demo:
    scripts/demo

# Measure against peers: all of it, written to benchmarks/results, or the one that is named, only printed.
bench name="all":
    cargo run --release -p stanchion-benchmarks -- {{name}}

# How often a read takes memory.
allocations:
    cargo run --release -p stanchion-benchmarks --bin stanchion-allocations

# Everything that CI runs.
ci:
    .ci/run
