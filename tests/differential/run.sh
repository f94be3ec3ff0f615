#!/usr/bin/env bash
# Sends one script of requests to the reference PDS and to Rookery, side by side, and compares the answers. Differences
# that are meant are listed in better.md; the suite fails on any other, and on a listed one that is gone.
#
#   tests/differential/run.sh [PATH/TO/rookery]          everything, in about two minutes
#   tests/differential/run.sh [PATH/TO/rookery] --only sync,blobs
#                                                        only these files of script/, by parts of their names
#   tests/differential/run.sh --self                     two references, which must not differ: what is compared is stable
#   tests/differential/run.sh ... --out FILE             write what differs there
#
# The packages come from ../reference (Node 22, @atproto/pds). ROOKERY names the binary when no argument does.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
rookery=${ROOKERY:-}

while [ $# -gt 0 ]; do
  case "$1" in
    --self) export DIFFERENTIAL_SELF=1 ;;
    --only)
      export DIFFERENTIAL_ONLY=$2
      shift
      ;;
    --out)
      DIFFERENTIAL_OUT=$(realpath "$2")
      export DIFFERENTIAL_OUT
      shift
      ;;
    -*)
      sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
      exit 2
      ;;
    *) rookery=$1 ;;
  esac
  shift
done

node=$("$root/tests/reference/install.sh")
if [ -z "$rookery" ] && [ -z "${DIFFERENTIAL_SELF:-}" ]; then
  cargo build --quiet --locked --manifest-path "$root/Cargo.toml" --bin rookery
  rookery=${CARGO_TARGET_DIR:-$root/target}/debug/rookery
fi
[ -z "$rookery" ] || ROOKERY=$(realpath "$rookery")
export ROOKERY
exec "$node" --test --test-force-exit --test-reporter=spec "$here/differential.test.mjs"
