#!/usr/bin/env bash
# Runs one suite of tests/*/*.test.mjs on Node 22, with the packages of install.sh. The suites' own run.sh call it.
#
#   tests/reference/run.sh SUITE [--reference] [PATH/TO/rookery] [-- NODE_TEST_OPTION...]
#
# --reference         the reference PDS in the place of Rookery: shows that the script is fair
# ROOKERY             the binary, when no argument names it; else a debug build of this clone
# ROOKERY_TEST_CACHE  where packages are kept between runs (default ~/.cache/rookery)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

suite=${1:?usage: tests/reference/run.sh SUITE [--reference] [PATH/TO/rookery]}
shift
export SUBJECT=rookery
while [ $# -gt 0 ]; do
  case "$1" in
    --reference) SUBJECT=reference ;;
    --) shift; break ;;
    *) ROOKERY=$1 ;;
  esac
  shift
done

if [ "$SUBJECT" = rookery ]; then
  if [ -z "${ROOKERY:-}" ]; then
    cargo build --quiet --locked --manifest-path "$root/Cargo.toml" --bin rookery
    ROOKERY=${CARGO_TARGET_DIR:-$root/target}/debug/rookery
  fi
  ROOKERY=$(realpath "$ROOKERY")
  if [ ! -x "$ROOKERY" ]; then
    echo "tests/$suite: no executable at $ROOKERY" >&2
    exit 1
  fi
  export ROOKERY
fi

node=$("$here/install.sh")
# The packages log as JSON unless told not to, and warn about what is deprecated inside them.
export LOG_ENABLED=${LOG_ENABLED:-0}
exec "$node" --no-deprecation --test --test-concurrency=1 --test-force-exit --test-reporter=spec "$@" \
  "$root/tests/$suite"/*.test.mjs
