#!/usr/bin/env bash
# Tests install.sh without touching this machine: a dry run, and installations below a temporary prefix.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { printf 'tests/install.sh: %s\n' "$*" >&2; exit 1; }

# A dry run names every step and does none of them.
output=$(./install.sh --dry-run --prefix "$work/dry")
[[ $output == *"cargo build --release"* ]] || fail "the dry run does not mention the build"
[[ ! -e $work/dry ]] || fail "the dry run made something"

# A first installation puts everything in place.
printf '#!/bin/sh\necho first\n' >"$work/program"
./install.sh --prefix "$work/root" --binary "$work/program" >/dev/null
for file in usr/local/bin/rookery etc/rookery/config.toml etc/systemd/system/rookery.service; do
    [[ -f $work/root/$file ]] || fail "$file is missing"
done
[[ $(stat -c %a "$work/root/var/lib/rookery") == 700 ]] || fail "the data directory can be read by others"
[[ $(stat -c %a "$work/root/etc/rookery/config.toml") == 640 ]] || fail "the configuration can be read by others"

# A second one replaces the program and keeps configuration and data.
echo 'mine' >"$work/root/etc/rookery/config.toml"
echo 'mine' >"$work/root/var/lib/rookery/data"
printf '#!/bin/sh\necho second\n' >"$work/program"
output=$(./install.sh --prefix "$work/root" --binary "$work/program")
[[ $output == *"is kept"* ]] || fail "the upgrade does not say that the configuration is kept"
[[ $("$work/root/usr/local/bin/rookery") == second ]] || fail "the program was not replaced"
[[ $(cat "$work/root/etc/rookery/config.toml") == mine ]] || fail "the configuration was overwritten"
[[ $(cat "$work/root/var/lib/rookery/data") == mine ]] || fail "data was touched"

# What cannot be done is refused with a reason.
if output=$(./install.sh --prefix "$work/none" --binary "$work/no-such-file" 2>&1); then fail "a missing program was accepted"; fi
[[ $output == *"is not a file"* ]] || fail "the refusal does not say why: $output"
if output=$(./install.sh --no-such-option 2>&1); then fail "an unknown option was accepted"; fi
[[ $output == *"unknown option"* ]] || fail "the refusal does not say why: $output"

echo "install.sh: ok"
