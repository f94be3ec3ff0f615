#!/usr/bin/env bash
# Runs a real AppView and moderation service behind Rookery, everything on loopback.
#
#   tests/appview/run.sh [PATH/TO/rookery]
#   tests/appview/run.sh --reference          the same script with the reference PDS in the place of Rookery
#
# Needs PostgreSQL from Debian; as root it is installed when it is missing, without starting a cluster.
# The variables are those of ../reference/run.sh.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/reference/debian.sh
. "$here/../reference/debian.sh"

have_postgres() { compgen -G '/usr/lib/postgresql/*/bin/initdb'; }
if ! debian_package postgresql-15 have_postgres; then
  echo "tests/appview: SKIPPED: there is no PostgreSQL" >&2
  exit 0
fi
exec "$here/../reference/run.sh" appview "$@"
