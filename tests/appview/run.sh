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

have_postgres() { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }

install_postgres() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # The package makes and starts a cluster unless told beforehand.
  apt-get install -y -qq --no-install-recommends postgresql-common
  sed -i -E 's/^#?\s*create_main_cluster\s*=.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
  apt-get install -y -qq --no-install-recommends postgresql-15
}

if ! have_postgres; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "tests/appview: installing postgresql-15" >&2
    install_postgres >&2
  else
    echo "tests/appview: SKIPPED: it needs PostgreSQL; install the Debian package postgresql-15, or run as root" >&2
    exit 0
  fi
fi
exec "$here/../reference/run.sh" appview "$@"
