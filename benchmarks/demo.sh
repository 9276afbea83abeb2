#!/usr/bin/env bash
# The README's figures of `make demo`: in a clean clone, then once more. Prints what the demo says of its time.
set -euo pipefail
place=$(mktemp -d)
git clone -q "$(dirname "$0")/.." "$place/clone"
cd "$place/clone"
for run in first again; do
    started=$(date +%s)
    make demo KEEP=0 > "$place/$run.txt" 2>&1
    echo "$run: $(($(date +%s) - started)) s with make itself"
    grep -E "s in all|jobs reused" "$place/$run.txt"
done
rm -rf "$place"
