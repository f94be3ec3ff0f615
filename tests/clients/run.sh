#!/usr/bin/env bash
# Runs real clients against Rookery: @atproto/api, @atcute/client, the Python SDK `atproto`, and goat when it is there.
#
#   tests/clients/run.sh [PATH/TO/rookery]
#   tests/clients/run.sh --reference          the same against the reference PDS
#
# goat, the official command line, is taken from the PATH. The variables are those of ../reference/run.sh.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/reference/debian.sh
. "$here/../reference/debian.sh"
cache=${ROOKERY_TEST_CACHE:-$HOME/.cache/rookery}

# A virtual environment per list of packages, made beside its place and moved there when it is whole. Its pip knows
# where it was made, so only its interpreter is used from then on.
python_environment() {
  local lock venv
  lock=$(sha256sum "$here/python/requirements.txt" | cut -c1-16)
  venv=$cache/python-$lock
  if [ ! -d "$venv" ]; then
    mkdir -p "$cache"
    local fresh
    fresh=$(mktemp -d "$venv.XXXXXX")
    python3 -m venv "$fresh" >&2 || return 1
    "$fresh/bin/pip" install --quiet --disable-pip-version-check -r "$here/python/requirements.txt" >&2 || return 1
    mv -T "$fresh" "$venv" 2>/dev/null || rm -rf "$fresh"
  fi
  echo "$venv/bin/python"
}

# What `python3 -m venv` needs is a package of its own in Debian.
if debian_package python3-venv python3 -c 'import venv, ensurepip'; then
  PYTHON_SDK=$(python_environment)
  export PYTHON_SDK
else
  echo "tests/clients: the Python SDK is SKIPPED" >&2
fi
command -v goat >/dev/null || echo "tests/clients: goat is SKIPPED: no such program on the PATH" >&2
exec "$here/../reference/run.sh" clients "$@"
