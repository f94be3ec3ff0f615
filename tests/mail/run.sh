#!/usr/bin/env bash
# Runs the mail suite: a real SMTP server (aiosmtpd) takes what a rookery binary sends, everything on loopback.
#
#   tests/mail/run.sh                  build rookery (debug) and run the suite
#   tests/mail/run.sh PATH/TO/rookery  run it against that binary
#
# ROOKERY             the binary, when no argument names it
# ROOKERY_TEST_CACHE  where the Python packages are kept between runs (default ~/.cache/rookery)
#
# Needs Python 3.9 or later with venv, and openssl for the certificates of the TLS tests.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
  echo "tests/mail needs Python 3.9 or later with venv (Debian: apt-get install python3-venv)" >&2
  exit 1
fi

if [ $# -ge 1 ]; then
  rookery=$(realpath "$1")
elif [ -n "${ROOKERY:-}" ]; then
  rookery=$(realpath "$ROOKERY")
else
  cargo build --quiet --locked --manifest-path "$root/Cargo.toml" --bin rookery
  rookery=${CARGO_TARGET_DIR:-$root/target}/debug/rookery
fi
if [ ! -x "$rookery" ]; then
  echo "tests/mail: no executable at $rookery" >&2
  exit 1
fi

# One folder per list of packages, installed once. A half finished install is never used: the mark is made last.
lock=$(sha256sum "$here/requirements.txt" | cut -c1-16)
packages=${ROOKERY_TEST_CACHE:-$HOME/.cache/rookery}/mail-$lock
if [ ! -e "$packages/whole" ]; then
  rm -rf "$packages"
  python3 -m venv "$packages"
  "$packages/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
    -r "$here/requirements.txt"
  touch "$packages/whole"
fi

export ROOKERY=$rookery
exec "$packages/bin/python" -W error::DeprecationWarning:__main__ "$here/test_mail.py" -v
