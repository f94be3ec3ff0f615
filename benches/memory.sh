#!/usr/bin/env bash
# How much memory a release build takes, and whether that is within the limits that Rookery promises:
#
#   benches/memory.sh idle      resident memory under 16 MiB at the start and 19 MiB after sign-ups, ready within a second
#   benches/memory.sh repo      a repository of $RECORDS records (default 1000000) in and out: under 100 MiB, twice:
#                               blocks depth first and shuffled; then how long createRecord takes on it
#   benches/memory.sh upload    a blob of 300 MB, and one that is cut off: under 100 MiB, nothing left of the second
#   benches/memory.sh           all of it: some minutes, and 4 GB in $TMPDIR
#
# Prints what it measures; ends with 1 when something is over its limit. Linux only (/proc).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

RECORDS=${RECORDS:-1000000}
IDLE_KIB_MAX=$((16 * 1024))
SIGNED_UP_KIB_MAX=$((19 * 1024))
BUSY_KIB_MAX=$((100 * 1024))
READY_MS_MAX=1000
# createRecord on the large repository may take this many times what it takes on one of 1000 records.
SLOWER_MAX=2
CREATES=300

target_dir=${CARGO_TARGET_DIR:-target}
rookery=$target_dir/release/rookery
make_repo=$target_dir/release/examples/make_repo
url=http://127.0.0.1:2593
work=$(mktemp -d "${TMPDIR:-/tmp}/rookery-memory.XXXXXX")
server=
over=0

finish() {
    stop_server
    rm -rf -- "$work"
}
trap finish EXIT

now_ms() { echo $(($(date +%s%N) / 1000000)); }

# start_server DIR: leaves its pid in $server, and in $ready_ms the time until it said that it was ready.
start_server() {
    local started
    started=$(now_ms)
    : >"$work/server.out"
    "$rookery" dev --listen "${url#http://}" --data-dir "$1" --log warn >"$work/server.out" 2>"$work/server.err" &
    server=$!
    until grep -q ready "$work/server.out"; do
        if ! kill -0 "$server" 2>/dev/null; then
            cat "$work/server.err" >&2
            exit 1
        fi
        sleep 0.005
    done
    ready_ms=$(($(now_ms) - started))
}

stop_server() {
    if [[ -n $server ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" || true
        server=
    fi
}

status_kib() { awk -v field="$1:" '$1 == field { print $2 }' "/proc/$server/status"; }

# The peak is counted from here on.
reset_peak() { echo 5 >"/proc/$server/clear_refs"; }

# check WHAT VALUE MAX UNIT
check() {
    local verdict=ok
    if (($2 > $3)); then
        verdict=OVER
        over=1
    fi
    printf '%-52s %8d %-3s (at most %d) %s\n' "$1" "$2" "$4" "$3" "$verdict"
}

note() { printf '%-52s %8s %s\n' "$1" "$2" "$3"; }

# call METHOD [curl arguments]: the answer; an error ends the script.
call() {
    local method=$1
    shift
    curl --silent --show-error --fail-with-body "$url/xrpc/$method" "$@"
}

json='content-type: application/json'
field() { sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"; }

# sign_up NAME: leaves $did and $token.
sign_up() {
    local answer
    answer=$(call com.atproto.server.createAccount -H "$json" \
        -d "{\"handle\":\"$1.test\",\"email\":\"$1@example.com\",\"password\":\"open-sesame\"}")
    did=$(field did <<<"$answer")
    token=$(field accessJwt <<<"$answer")
}

import() {
    call com.atproto.repo.importRepo -H "authorization: Bearer $token" -H 'content-type: application/vnd.ipld.car' \
        -T "$1" -X POST
}

# The median time of createRecord in microseconds, one after the other on one connection.
create_median_us() {
    local config=$work/creates
    # shellcheck disable=SC2016 # A dollar sign of JSON, not of the shell.
    for ((n = 0; n < CREATES; n++)); do
        ((n == 0)) || echo next
        cat <<END
url = "$url/xrpc/com.atproto.repo.createRecord"
header = "$json"
header = "authorization: Bearer $token"
data = "{\"repo\":\"$did\",\"collection\":\"app.bsky.feed.post\",\"record\":{\"\$type\":\"app.bsky.feed.post\",\"text\":\"Post $n\",\"createdAt\":\"2026-01-02T03:04:05.678Z\"}}"
output = "$work/answer"
write-out = "%{http_code} %{time_total}\n"
END
    done | sed 's/\\"\$type\\"/\\"$type\\"/' >"$config"
    curl --silent --config "$config" >"$work/times"
    if grep -qv '^200 ' "$work/times"; then
        echo "createRecord failed: $(cat "$work/answer")" >&2
        exit 1
    fi
    awk '{ printf "%d\n", $2 * 1000000 }' "$work/times" | sort -n | sed -n "$((CREATES / 2))p"
}

idle() {
    printf '\n== idle\n'
    start_server "$work/idle"
    sleep 1
    check 'ready after' "$ready_ms" "$READY_MS_MAX" ms
    check 'resident after the start' "$(status_kib VmRSS)" "$IDLE_KIB_MAX" KiB
    for n in 1 2 3 4 5; do sign_up "user$n"; done
    # Until the threads that hashed passwords have gone, too: they wait for ten seconds for more work.
    sleep 12
    check 'resident after 5 sign-ups' "$(status_kib VmRSS)" "$SIGNED_UP_KIB_MAX" KiB
    note 'peak during sign-ups' "$(status_kib VmHWM)" KiB
    stop_server
}

repo() {
    local started size small_us large_us
    printf '\n== a repository of %d records\n' "$RECORDS"
    start_server "$work/repo"
    sign_up small
    "$make_repo" 1000 "$work/small.car" --did "$did" >"$work/made"
    import "$work/small.car"
    small_us=$(create_median_us)
    for order in depth-first shuffled; do
        sign_up "$order"
        started=$(now_ms)
        if [[ $order == shuffled ]]; then set -- --shuffle; else set --; fi
        "$make_repo" "$RECORDS" "$work/big.car" --did "$did" "$@" >"$work/made"
        size=$(stat -c %s "$work/big.car")
        note "$order: CAR" $((size / 1000000)) "MB, made in $(($(now_ms) - started)) ms"
        reset_peak
        started=$(now_ms)
        import "$work/big.car"
        note "$order: import took" $(($(now_ms) - started)) ms
        check "$order: peak during import" "$(status_kib VmHWM)" "$BUSY_KIB_MAX" KiB
        reset_peak
        started=$(now_ms)
        call com.atproto.sync.getRepo --get --data-urlencode "did=$did" -o "$work/out.car"
        note "$order: export took" $(($(now_ms) - started)) ms
        check "$order: peak during export" "$(status_kib VmHWM)" "$BUSY_KIB_MAX" KiB
        for command in 'repo verify' 'repo ls'; do
            started=$(now_ms)
            # shellcheck disable=SC2086 # two words
            "$rookery" $command "$work/out.car" >"$work/told" 2>"$work/progress" &
            server_of_before=$server server=$!
            peak=0
            while rss=$(status_kib VmHWM 2>/dev/null) && [[ -n $rss ]]; do
                peak=$rss
                sleep 0.05
            done
            wait "$server"
            server=$server_of_before
            note "$order: rookery $command took" $(($(now_ms) - started)) ms
            check "$order: peak of rookery $command" "$peak" "$BUSY_KIB_MAX" KiB
        done
    done
    large_us=$(create_median_us)
    note "createRecord, median, 1000 records" "$small_us" us
    check "createRecord, median, $RECORDS records" "$large_us" $((SLOWER_MAX * small_us)) us
    stop_server
}

files_in() { find "$1" -type f | wc -l; }

upload() {
    local started files
    printf '\n== a blob of 300 MB\n'
    start_server "$work/upload"
    sign_up uploader
    head -c 300000000 /dev/urandom >"$work/blob"
    reset_peak
    started=$(now_ms)
    call com.atproto.repo.uploadBlob -H "authorization: Bearer $token" -H 'content-type: video/mp4' \
        -T "$work/blob" -X POST -o "$work/answer"
    note 'upload took' $(($(now_ms) - started)) ms
    check 'peak during upload' "$(status_kib VmHWM)" "$BUSY_KIB_MAX" KiB
    files=$(($(files_in "$work/upload/blobs") + $(files_in "$work/upload/tmp")))
    # Chunked, and the client is gone before the end.
    (cat "$work/blob" && sleep 6) | curl --silent --max-time 5 "$url/xrpc/com.atproto.repo.uploadBlob" -X POST \
        -H "authorization: Bearer $token" -H 'content-type: video/mp4' -T - -o "$work/answer" || true
    sleep 1
    check 'files left of an upload that was cut off' \
        $(($(files_in "$work/upload/blobs") + $(files_in "$work/upload/tmp") - files)) 0 ''
    check 'peak until then' "$(status_kib VmHWM)" "$BUSY_KIB_MAX" KiB
    stop_server
}

case "${1:-all}" in
    all | idle | repo | upload) ;;
    *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
# Apart: together, the features that only examples need would be in the program, too.
cargo build --quiet --release --locked --bin rookery
case "${1:-all}" in
    all | repo) cargo build --quiet --release --locked --example make_repo ;;
esac
printf 'load: %s\n' "$(cut -d ' ' -f 1-3 /proc/loadavg)"
case "${1:-all}" in
    all) idle; repo; upload ;;
    *) "$1" ;;
esac
if ((over)); then
    printf '\nover a limit\n' >&2
    exit 1
fi
printf '\nall within the limits\n'
