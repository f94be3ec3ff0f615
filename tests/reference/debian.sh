# shellcheck shell=bash
# To be sourced: Debian packages that a suite needs, installed when we may.

# debian_package NAME COMMAND...: true when the commands work, if need be after installing the package. Only root on a
# machine with apt-get installs; for others it says what is missing and is false.
debian_package() {
  local name=$1
  shift
  "$@" >/dev/null 2>&1 && return
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing: the Debian package $name (run as root to have it installed)" >&2
    return 1
  fi
  echo "installing the Debian package $name" >&2
  {
    apt-get update -qq
    if [[ $name == postgresql-* ]]; then
      # It makes and starts a cluster unless told beforehand.
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql-common
      sed -i -E 's/^#?\s*create_main_cluster\s*=.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$name"
  } >&2 || return 1
  "$@" >/dev/null 2>&1
}
