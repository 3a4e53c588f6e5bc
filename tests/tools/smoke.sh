#!/usr/bin/env bash
# Starts the release binary as the README says, feeds it, asks it, and stops it.
set -euo pipefail
tsq=$1
dir=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$dir"' EXIT
port=$((20000 + RANDOM % 20000))
"$tsq" serve --data "$dir/data" --listen "127.0.0.1:$port" &
server=$!
for _ in $(seq 100); do
  "$tsq" query --url "http://127.0.0.1:$port" '1 + 1' >/dev/null 2>&1 && break
  sleep 0.1
done
answer=$("$tsq" query --url "http://127.0.0.1:$port" '1 + 1' -o json)
case "$answer" in *'"2"'*) ;; *) echo "1 + 1 gave: $answer" >&2; exit 1 ;; esac
kill -TERM "$server"
for _ in $(seq 50); do kill -0 "$server" 2>/dev/null || break; sleep 0.1; done
if kill -0 "$server" 2>/dev/null; then echo 'the server did not stop within 5 s of SIGTERM' >&2; exit 1; fi
"$tsq" verify -d "$dir/data"
echo 'smoke: the server started, answered, stopped, and left a sound directory'
