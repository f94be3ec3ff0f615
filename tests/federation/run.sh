#!/usr/bin/env bash
# Has the official relay crawl two Rookeries and a reference PDS, and the official `tap` follow the relay, everything on
# loopback: nothing may be lost. In about two minutes.
#
#   tests/federation/run.sh [PATH/TO/rookery]
#
# ROOKERY_LONG=1      ten times as much under restarts, with ten times as many restarts
# ROOKERY_SEED        repeats the writes of a run that failed
# Relay and tap come from install.sh beside this; without go the suite says that it is skipped. The other variables are
# those of ../reference/run.sh.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
FEDERATION_BINARIES=$("$here/install.sh") || {
  [ $? = 3 ] || exit 1
  echo "tests/federation: SKIPPED" >&2
  exit 0
}
export FEDERATION_BINARIES
exec "$here/../reference/run.sh" federation "$@"
