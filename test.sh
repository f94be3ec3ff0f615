#!/usr/bin/env bash
# Runs all tests, after installing what they need that cargo does not bring.
#
#   ./test.sh             everything
#   ./test.sh rust        the Rust tests: units, properties, interop vectors, HTTP, command line, documentation
#   ./test.sh scripts     the shell scripts
#   ./test.sh mail        mail through a real SMTP server (Python 3.9 or later)
#   ./test.sh peers       independent implementations against a running Rookery (Node 20 or later)
#   ./test.sh clients     real clients: @atproto/api, @atcute/client, the Python SDK, goat when it is on the PATH
#   ./test.sh appview     a real AppView and moderation service behind Rookery (PostgreSQL)
#   ./test.sh differential  the reference PDS and Rookery get the same requests and must answer alike
#   ./test.sh migration   accounts move between the reference PDS and Rookery, both ways
#   ./test.sh federation  the official relay and tap follow two Rookeries and a reference PDS (Go; ROOKERY_LONG=1 for more)
#
# Packages go to $ROOKERY_TEST_CACHE (default: target/test-cache), so that a second run works offline. As root, Debian
# packages that are missing are installed; else the suite that needs them says that it is skipped.
# ROOKERY_VECTORS names a folder of conformance vectors; the default is ../shared/testdata. Tests skip what is not there
# and say so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

target_dir=${CARGO_TARGET_DIR:-target}
export ROOKERY_TEST_CACHE=${ROOKERY_TEST_CACHE:-$PWD/target/test-cache}

say() { printf '\n== %s\n' "$*"; }

rust_tests() {
    say "Rust tests"
    # --workspace takes in the protocol crate; documentation examples are part of it.
    cargo test --workspace
    # Those that wait for a real interval.
    cargo test --workspace --test firehose -- --ignored
}

script_tests() {
    say "shell scripts"
    local scripts=(test.sh install.sh .ci/run tests/install.sh benches/memory.sh bench/compare.sh)
    local script
    for script in tests/*/run.sh tests/{reference,federation}/install.sh tests/reference/debian.sh; do
        [[ -f $script ]] && scripts+=("$script")
    done
    for script in "${scripts[@]}"; do bash -n "$script"; done
    if command -v shellcheck >/dev/null; then
        shellcheck "${scripts[@]}"
    else
        echo "shellcheck is not installed: the scripts were only parsed"
    fi
    tests/install.sh
}

mail_tests() {
    say "mail"
    cargo build --bin rookery
    ROOKERY=${ROOKERY:-$target_dir/debug/rookery} tests/mail/run.sh
}

peer_tests() {
    if [[ ! -x tests/peers/run.sh ]]; then
        say "peers: no suite here, skipped"
        return
    fi
    say "peers"
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        echo "error: the peer suites need Node 20 or later and npm; install them and run ./test.sh peers" >&2
        return 1
    fi
    cargo build --bin rookery
    ROOKERY=${ROOKERY:-$target_dir/debug/rookery} tests/peers/run.sh
    # The validator against the npm package that run.sh has installed.
    ROOKERY_PEERS=$PWD/tests/peers cargo test --test lexicon_peer -- --ignored
}

# Suites on Node 22, which tests/reference/install.sh brings.
reference_tests() {
    local suite
    for suite in "$@"; do
        if [[ ! -x tests/$suite/run.sh ]]; then
            say "$suite: no suite here, skipped"
            continue
        fi
        say "$suite"
        if ! command -v npm >/dev/null; then
            echo "error: this suite needs npm; install it and run ./test.sh $suite" >&2
            return 1
        fi
        cargo build --bin rookery
        ROOKERY=${ROOKERY:-$target_dir/debug/rookery} "tests/$suite/run.sh"
    done
}

reference_suites=(differential clients appview migration federation)

case "${1:-all}" in
    all) rust_tests; script_tests; mail_tests; peer_tests; reference_tests "${reference_suites[@]}" ;;
    rust) rust_tests ;;
    scripts) script_tests ;;
    mail) mail_tests ;;
    peers) peer_tests ;;
    differential | clients | appview | migration | federation) reference_tests "$1" ;;
    *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
say "all tests passed"
