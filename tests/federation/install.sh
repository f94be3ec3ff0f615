#!/usr/bin/env bash
# Builds the official relay and `tap` from the Go module proxy, once per version, and prints the folder that has them.
#
# Needs go (a newer toolchain than the one installed is fetched by go itself) and, for SQLite, a C compiler, which root gets
# from Debian. Everything goes to $ROOKERY_TEST_CACHE (default ~/.cache/rookery), so that a second run works offline.
# Ends with 3 when there is no go, or the modules cannot be had: the suite is then skipped.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/reference/debian.sh
. "$here/../reference/debian.sh"

module=github.com/bluesky-social/indigo
version=v0.0.0-20260605210604-af2fec94f34c
programs=${ROOKERY_TEST_CACHE:-$HOME/.cache/rookery}/indigo-$version
skipped=3

mkdir -p "$(dirname "$programs")"
# Two suites may be started at once: one builds, the other waits. What is half built is never used.
exec 9>"$programs.lock"
flock 9
if [ ! -d "$programs" ]; then
  if ! command -v go >/dev/null; then
    echo "missing: go, to build the relay and tap (Debian package golang-go, or https://go.dev/dl)" >&2
    exit "$skipped"
  fi
  debian_package build-essential cc --version || exit "$skipped"
  fresh=$(mktemp -d "$programs.XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  echo "building $module/cmd/{relay,tap}@$version" >&2
  if ! CGO_ENABLED=1 GOBIN=$fresh go install "$module/cmd/relay@$version" "$module/cmd/tap@$version" >&2; then
    echo "missing: the relay and tap, which go could not build (see above)" >&2
    exit "$skipped"
  fi
  chmod 755 "$fresh"
  mv -T "$fresh" "$programs"
  trap - EXIT
fi
echo "$programs"
