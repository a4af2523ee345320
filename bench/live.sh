#!/usr/bin/env bash
# The live streams' figures of docs/benchmarks.md, against a server of its own: 32 streams whose ends lie apart (end of
# speech to final text), then 64 that all end at once (step time). On a machine that does nothing else:
#
#     bench/live.sh [SECONDS of each load, 24] [PORT, 8093]
#
# JSON of both loads on standard output, to be added to bench/results/load.jsonl; what they mean on standard error.
set -euo pipefail
seconds=${1:-24} port=${2:-8093} python=${PYTHON:-python}
url=ws://127.0.0.1:$port
log=$(mktemp)

"$python" -m vivavoce serve --port "$port" --slots 64 --threads 1 --load-limit 0 2>"$log" &
server=$!
trap 'kill $server 2>/dev/null; wait $server || true; rm -f "$log"' EXIT
until grep -q "Ready after" "$log"; do
    kill -0 $server || { cat "$log" >&2; exit 1; }
    sleep 0.2
done

load() { "$python" -m vivavoce bench load --url "$url" --seconds "$seconds" --processes 1 --differences-max 0 --json "$@" || true; }
load --streams 32 --spread 10.6 --latency-max 150
load --streams 64 --step-max 80
