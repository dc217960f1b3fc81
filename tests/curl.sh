#!/usr/bin/env bash
# Talks to the testbed with curl and with raw bytes. Usage: tests/curl.sh PATH_OF_TESTBED
set -uo pipefail

failed=0
check() { # NAME EXPECTED ACTUAL
    if [[ $2 == "$3" ]]; then
        printf 'ok     %s\n' "$1"
    else
        printf 'FAILED %s: expected %q, got %q\n' "$1" "$2" "$3"
        failed=1
    fi
}

# Sends bytes (printf escapes) on a connection of their own; the status line, once the server closed.
status_of_raw() {
    exec 3<>"/dev/tcp/127.0.0.1/${url##*:}" || return
    printf '%b' "$1" >&3
    timeout 5 cat <&3 | head -n 1 | tr -d '\r' | cut -d ' ' -f 1-2
    exec 3>&-
}
status_of() { curl -s -o /dev/null --max-time 5 -w '%{http_code}' "$@"; }

exec 4< <(PORT=0 exec "$1")
pid=$!
trap 'kill -KILL "$pid" 2>/dev/null' EXIT
read -r -t 10 line <&4
url=${line#listening on }
[[ $url == http://127.0.0.1:* ]] || { printf 'FAILED testbed printed no address: %q\n' "$line"; exit 1; }

check 'health' ok "$(curl -s --max-time 5 "$url/health")"
check 'hello' 'Hello, World!' "$(curl -s --max-time 5 "$url/hello")"
check 'an unknown path' 404 "$(status_of "$url/no-such-path")"
check 'a wrong method' 405 "$(status_of -X POST "$url/hello")"
check 'a wrong method names the right ones' GET \
    "$(curl -s -o /dev/null --max-time 5 -D - -X POST "$url/hello" | grep -i '^allow:' | grep -ow GET)"
check 'a line break in an event name is refused' 400 "$(status_of "$url/inject?event=a%0Adata:b&id=1&data=c")"

events=$(curl -sN --max-time 2 "$url/tick?ms=100")
check 'a stream lasts until curl gives up' 28 $?
check 'at least 5 events in 2 s' yes "$( (($(grep -c '^data: ' <<<"$events") >= 5)) && echo yes || echo "$events")"

check 'two Hosts' 'HTTP/1.1 400' "$(status_of_raw 'GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n')"
check 'no Host' 'HTTP/1.1 400' "$(status_of_raw 'GET /health HTTP/1.1\r\n\r\n')"
check 'a space before a colon' 'HTTP/1.1 400' "$(status_of_raw 'GET /health HTTP/1.1\r\nHost : a\r\n\r\n')"
check 'two kinds of framing' 'HTTP/1.1 400' \
    "$(status_of_raw 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n')"
check 'nonsense' 'HTTP/1.1 400' "$(status_of_raw '\x16\x03\x01 \x00\r\n\r\n')"

exec 5<>"/dev/tcp/127.0.0.1/${url##*:}"
printf 'GET /idle HTTP/1.1\r\nHost: a\r\n\r\n' >&5
read -r -t 5 line <&5
check 'an idle stream sends its head at once' $'HTTP/1.1 200 OK\r' "$line"
kill -TERM "$pid"
for ((tenths = 0; tenths < 200; tenths++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
done
((tenths < 200)) || kill -KILL "$pid"
wait "$pid"
check 'SIGTERM drains and exits 0 with a stream open' 0 $?
trap - EXIT
exit "$failed"
