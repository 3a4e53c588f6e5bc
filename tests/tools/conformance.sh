#!/usr/bin/env bash
# Runs the PromQL conformance suites of a directory against a server, and fails when a score falls below its floor.
#   conformance.sh DIR TSQ
set -euo pipefail
dir=$1 tsq=$(realpath "$2")
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
run() { # suite, floor in percent
  python3 "$dir/promqltest/promqltest.py" "$dir/$1" --start-cmd "$tsq serve --data {dir} --listen 127.0.0.1:{port}" \
    --json "$out/$1.json" --min-pass "$2" | tail -n 2
}
run promql "${TSQ_PROMQL_FLOOR:-100}"
run promql-compliance "${TSQ_COMPLIANCE_FLOOR:-100}"
run promql-ml "${TSQ_ML_FLOOR:-100}"
