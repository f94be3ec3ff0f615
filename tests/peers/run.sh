#!/usr/bin/env bash
# Runs the official AT Protocol packages against a rookery binary, everything on loopback.
#
#   tests/peers/run.sh                          build rookery (debug) and run every suite
#   tests/peers/run.sh PATH/TO/rookery          run every suite against that binary
#   tests/peers/run.sh PATH/TO/rookery api sync run only api.test.mjs and sync.test.mjs
#
# ROOKERY             the binary, when no argument names it
# ROOKERY_TEST_CACHE  where the npm packages are kept between runs (default ~/.cache/rookery)
# ROOKERY_VECTORS     conformance vectors for import.test.mjs (default ../shared/testdata beside the clone)
# ROOKERY_SEED        repeats a run of the random suites
# ROOKERY_LONG=1      also run what takes minutes (a repo of a million records)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

if ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 14) ? 0 : 1)'; then
  echo "tests/peers needs Node 20.14 or newer on the PATH; found '$(node --version 2>/dev/null || echo none)'" >&2
  exit 1
fi

if [ $# -ge 1 ]; then
  rookery=$(realpath "$1")
  shift
elif [ -n "${ROOKERY:-}" ]; then
  rookery=$(realpath "$ROOKERY")
else
  cargo build --quiet --locked --manifest-path "$root/Cargo.toml" --bin rookery
  rookery=${CARGO_TARGET_DIR:-$root/target}/debug/rookery
fi
if [ ! -x "$rookery" ]; then
  echo "tests/peers: no executable at $rookery" >&2
  exit 1
fi

# The packages live outside the clone, one folder per lock file, installed once. A half finished
# install is never used: it is made beside its place and moved there when it is whole.
lock=$(cat "$here/package.json" "$here/package-lock.json" | sha256sum | cut -c1-16)
packages=${ROOKERY_TEST_CACHE:-$HOME/.cache/rookery}/peers-$lock
if [ ! -d "$packages/node_modules" ]; then
  mkdir -p "$(dirname "$packages")"
  fresh=$(mktemp -d "$packages.XXXXXX")
  cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$fresh/"
  (cd "$fresh" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
  mv -T "$fresh" "$packages" 2>/dev/null || rm -rf "$fresh"
fi
if [ ! -e "$here/node_modules" ] || [ -L "$here/node_modules" ]; then
  ln -sfn "$packages/node_modules" "$here/node_modules"
fi

suites=()
if [ $# -eq 0 ]; then
  suites=("$here"/*.test.mjs)
else
  for name in "$@"; do
    suites+=("$here/${name%.test.mjs}.test.mjs")
  done
fi

# One suite at a time: the memory suite measures, and a small machine should stay usable. A test that has timed out
# must not keep the run alive.
export ROOKERY=$rookery
export ROOKERY_VECTORS=${ROOKERY_VECTORS:-$root/../shared/testdata}
exec node --test --test-concurrency=1 --test-force-exit --test-reporter=spec "${suites[@]}"
