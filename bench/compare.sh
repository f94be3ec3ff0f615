#!/usr/bin/env bash
# Measures Rookery and the reference PDS in turn, and writes docs/performance.md and its plots.
#
#   bench/compare.sh                     everything: about 20 minutes on two calm cores
#   bench/compare.sh --quick             small repositories and short runs, into target/bench-quick: some minutes
#   bench/compare.sh --only SCENARIO     only these, separated by commas; `growth-records`, `growth-accounts` and
#                                        `growth-subscribers` are among them, the others are named by `rookery-bench list`
#   bench/compare.sh --report            no measuring: the document, from the results that are there
#   bench/compare.sh --again             forget results that are there
#   bench/compare.sh --rounds N, --seconds S
#                                        how often each scenario runs, and for how long
#
# ROOKERY names a binary to measure, ROOKERY_BENCH one of the load program; else release builds of this clone are made.
# Every result is a file below target/bench. A run that was broken off goes on with what is missing; --again starts over.
# Both servers run at the same time on the same disk, and one of them idles while the other is measured, round by round. Both
# use the official did:plc directory, in memory, in a process of its own. The packages of the reference come from
# tests/reference/install.sh. Ends with 1 when a scenario failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mode=full
only=
rounds=
seconds=
again=
report_only=
command_line="bench/compare.sh $*"
while (($#)); do
  case "$1" in
    --quick) mode=quick ;;
    --only) only=,${2:?--only needs a scenario}, && shift ;;
    --rounds) rounds=${2:?--rounds needs a number} && shift ;;
    --seconds) seconds=${2:?--seconds needs a number} && shift ;;
    --report) report_only=1 ;;
    --again) again=1 ;;
    *)
      sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
      exit 2
      ;;
  esac
  shift
done

# What the two modes differ in.
target=${CARGO_TARGET_DIR:-target}
case $mode in
  full)
    base=$target/bench
    : "${rounds:=3}" "${seconds:=4}"
    scale=1 records_max=1000000 accounts_max=10000
    document=docs/performance.md plots=docs
    ;;
  quick)
    base=$target/bench-quick
    : "${rounds:=1}" "${seconds:=1.5}"
    scale=0.1 records_max=10000 accounts_max=100
    document=$base/performance.md plots=$base
    ;;
esac
# A scenario that takes longer has failed. Signing up 10,000 accounts is the longest.
SCENARIO_SECS_MAX=900
START_SECS_MAX=60

# Rookery takes ROOKERY_ variables for settings.
export -n ROOKERY ROOKERY_BENCH
results=$base/results
work=$base/work
rookery=${ROOKERY:-$target/release/rookery}
bench=${ROOKERY_BENCH:-$target/release/examples/rookery-bench}
failed=0
declare -A pids urls

stop() {
  local pid=${pids[$1]:-}
  [[ -n $pid ]] || return 0
  unset "pids[$1]"
  kill "$pid" 2>/dev/null || true
  local waited
  for ((waited = 0; waited < 100; waited++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}

finish() {
  local name
  for name in "${!pids[@]}"; do stop "$name"; done
  rm -rf -- "$work"
}

say() { printf '\n== %s\n' "$*"; }

write_report() {
  mkdir -p "$plots"
  # The document of a quick run is beside its results; docs/ keeps that of the last full one.
  [[ $document == docs/performance.md ]] || cp docs/performance.md "$document"
  "$bench" report --results "$results" --document "$document" --plots "$plots"
  say "$document is up to date"
}

# A port on loopback that nobody listens at, below those that the system hands out.
free_port() {
  local port
  while port=$((20000 + RANDOM % 10000)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

# await_url NAME FILE: until the process called NAME has printed a URL into FILE.
await_url() {
  local waited
  for ((waited = 0; waited < START_SECS_MAX * 10; waited++)); do
    if grep -q '^http' "$2"; then return; fi
    kill -0 "${pids[$1]}" 2>/dev/null || break
    sleep 0.1
  done
  echo "$1 did not start:" >&2
  cat "$2" "${2%.out}.err" >&2
  return 1
}

# await_health NAME
await_health() {
  local waited
  for ((waited = 0; waited < START_SECS_MAX * 10; waited++)); do
    if curl --silent --fail --max-time 5 -o "$work/health" "${urls[$1]}/xrpc/_health"; then return; fi
    kill -0 "${pids[$1]}" 2>/dev/null || break
    sleep 0.1
  done
  echo "$1 did not start:" >&2
  cat "$work/$1.err" >&2
  return 1
}

start_directory() {
  "$node" --no-deprecation bench/directory.mjs >"$work/directory.out" 2>"$work/directory.err" &
  pids[directory]=$!
  await_url directory "$work/directory.out"
  plc_url=$(grep -m 1 '^http' "$work/directory.out")
}

# rookery_config NAME PORT: a server as an operator would run it, but for limits and relays.
rookery_config() {
  cat >"$work/$1.toml" <<END
[server]
hostname = "localhost"
listen = "127.0.0.1:$2"
public_url = "http://localhost:$2"
data_dir = "$PWD/$work/$1"
[identity]
plc_url = "$plc_url"
handle_domains = [".test"]
[accounts]
invite_required = false
[services]
appview_url = ""
report_url = ""
relays = []
[rate_limits]
enabled = false
[log]
level = "error"
END
}

# start_rookery NAME
start_rookery() {
  local port
  port=$(free_port)
  rookery_config "$1" "$port"
  env -u ROOKERY_TEST_CACHE "$rookery" serve --config "$work/$1.toml" >"$work/$1.out" 2>"$work/$1.err" &
  pids[$1]=$!
  urls[$1]=http://127.0.0.1:$port
  await_health "$1"
}

start_reference() {
  local port
  port=$(free_port)
  TMPDIR=$PWD/$work LOG_ENABLED=0 "$node" --no-deprecation bench/reference.mjs "$port" "$plc_url" \
    >"$work/reference.out" 2>"$work/reference.err" &
  pids[reference]=$!
  urls[reference]=http://127.0.0.1:$port
  await_health reference
}

# measure SUBJECT RESULT ARGUMENT...: one call of the load program; a result that is there is left alone.
measure() {
  local subject=$1 result=$2
  shift 2
  [[ ! -e $result ]] || return 0
  printf '%-10s ' "${subject%%-*}"
  # The heading is in the first line.
  if ! RUST_BACKTRACE=0 timeout "$SCENARIO_SECS_MAX" "$bench" "$@" --url "${urls[$subject]}" --pid "${pids[$subject]}" \
    --label "${subject%%-*}" --seconds "$seconds" --scale "$scale" --state "$work/$subject.state" --json "$result" \
    2>"$work/failure" >"$work/measured"; then
    echo "$* failed: $(tr '\n' ' ' <"$work/failure")"
    failed=1
    return 0
  fi
  tail -n +2 "$work/measured"
  cat "$work/failure" >&2
}

wanted() { [[ -z $only || $only == *,$1,* ]]; }

# Only what a small machine can do in minutes is asked of the reference.
rounds_of() {
  case $1 in
    idle | at-end) echo 1 ;;
    import-1m) if [[ $2 == rookery ]]; then echo 1; else echo 0; fi ;;
    import-100k) if [[ $2 == rookery ]]; then echo "$rounds"; else echo 1; fi ;;
    *) echo "$rounds" ;;
  esac
}

compare() {
  local scenario subject round turn
  say "scenarios"
  printf '%-10s ' server
  "$bench" heading
  for scenario in $("$bench" list); do
    wanted "$scenario" || continue
    for ((round = 1; round <= rounds; round++)); do
      turn=(rookery reference)
      ((round % 2)) || turn=(reference rookery)
      for subject in "${turn[@]}"; do
        ((round <= $(rounds_of "$scenario" "$subject"))) || continue
        measure "$subject" "$results/$subject/$scenario.$round.json" run --only "$scenario"
      done
    done
  done
}

# grow WHAT TO: on a fresh Rookery.
grow() {
  local name=rookery-$1
  wanted "growth-$1" || return 0
  local fresh=
  if [[ ! -e $results/rookery/growth-$1.json ]]; then
    say "growth: $1"
    start_rookery "$name"
    measure "$name" "$results/rookery/growth-$1.json" grow "$1" --to "$2"
    fresh=1
  fi
  if [[ $1 == accounts && -n $fresh && -e $results/rookery/growth-$1.json ]]; then
    local url=${urls[$name]}
    stop "$name"
    env -u ROOKERY_TEST_CACHE "$bench" start-up --url "$url" --accounts "$2" --json "$results/rookery/start-up.json" -- \
      "$rookery" serve --config "$work/$name.toml" || failed=1
  fi
  stop "$name"
  rm -rf -- "${work:?}/$name"
}

versions() {
  local reference_version node_version
  reference_version=$(sed -n 's/.*"@atproto\/pds": "\(.*\)".*/\1/p' tests/reference/package.json)
  node_version=$("$node" --version)
  cat >"$results/versions.json" <<END
{
  "command": "\`$command_line\`, $rounds rounds of $seconds s each, repositories times $scale; the middle round counts",
  "Rookery": "$("$rookery" --version | cut -d ' ' -f 2), commit $(git rev-parse --short=10 HEAD 2>/dev/null || echo unknown), $(rustc --version | cut -d ' ' -f 1-2), release build; \`synchronous = FULL\`: an answer to a write comes after the flush",
  "reference": "@atproto/pds $reference_version on Node ${node_version#v}; its defaults: WAL with \`synchronous = NORMAL\`, which flushes at checkpoints only: a power cut may lose acknowledged writes; \`PDS_MAX_REPO_IMPORT_SIZE\` raised",
  "both": "plain HTTP on loopback, no rate limits, no request log, @did-plc/server in memory"
}
END
}

trap finish EXIT
trap 'exit 130' INT TERM

if [[ -n $report_only ]]; then
  [[ -n ${ROOKERY_BENCH:-} ]] || cargo build --quiet --release --locked --example rookery-bench
  write_report
  exit
fi

say "building"
# Apart: together, the features that only examples need would be in the program, too.
[[ -n ${ROOKERY:-} ]] || cargo build --quiet --release --locked --bin rookery
[[ -n ${ROOKERY_BENCH:-} ]] || cargo build --quiet --release --locked --example rookery-bench
node=$(tests/reference/install.sh)

rm -rf -- "$work"
[[ -z $again ]] || rm -rf -- "$results"
mkdir -p "$work" "$results"/{rookery,reference}
versions
"$bench" machine --dir "$work" --json "$results/machine.json"
start_directory
start_rookery rookery
start_reference
compare
stop reference
stop rookery
grow subscribers 1000
grow records "$records_max"
grow accounts "$accounts_max"
write_report
((failed == 0)) || { echo "a scenario failed; what it said is above" >&2 && exit 1; }
