#!/bin/sh
# Is the server at this URL up, ready, closed to strangers, and does it transcribe? smoke-test.sh ws://HOST:8080
set -eu
url=${1:?usage: smoke-test.sh ws://HOST:8080}
http=http${url#ws}

curl --silent --show-error --fail --max-time 10 "$http/health" >/dev/null
echo "ok    alive"
if [ -n "${VIVAVOCE_API_KEY-}" ]; then
    code=$(curl --silent --max-time 10 --output /dev/null --write-out '%{http_code}' --request POST --data-binary x "$http/v1/transcribe")
    [ "$code" = 401 ] || { echo "FAIL  a stranger got HTTP $code instead of 401" >&2; exit 1; }
    echo "ok    closed to strangers"
    exec vivavoce smoke --url "$url" --key "$VIVAVOCE_API_KEY"
fi
exec vivavoce smoke --url "$url"
