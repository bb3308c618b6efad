# The one door: CI runs the same recipes.

# List the recipes.
default:
    @just --list

# Find or install what the tests need, and run all of them.
test *args:
    ./test {{args}}

# Formatting, clippy, the direction of dependencies.
lint:
    scripts/lint

# Documentation without warnings.
docs:
    scripts/docs

# Bans, licences and sources of dependencies.
deny:
    scripts/deny

# The two services, on memory and on Redis.
demo:
    scripts/demo

# Measure against peers and write benchmarks/results.
bench name="all":
    cargo run --release -p stanchion-benchmarks -- {{name}}

# Everything that CI runs.
ci:
    .ci/run
