#!/usr/bin/env bash
# Moves accounts between the reference PDS and Rookery, both ways, everything on loopback.
#
#   tests/migration/run.sh [PATH/TO/rookery]
#   tests/migration/run.sh --reference        the same script between reference servers only
#
# The variables are those of ../reference/run.sh.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/../reference/run.sh" migration "$@"
