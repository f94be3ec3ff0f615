#!/usr/bin/env bash
# Installs Rookery from this checkout: a release build, a configuration to edit, a system user and a systemd unit.
#
#   sudo ./install.sh                 install, or upgrade the program and the unit
#   ./install.sh --dry-run            say what would be done, do nothing
#   ./install.sh --prefix DIR         put everything below DIR (packaging, tests): no user, no systemctl
#   ./install.sh --binary FILE        install FILE instead of building
#
# An existing configuration is kept. Data is never touched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

user=rookery
prefix=
binary=
dry_run=

usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; }
refuse() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
say() { printf '%s\n' "$*"; }

# Says what is done, and does it unless --dry-run.
run() {
    say "+ $*"
    [[ -n $dry_run ]] || "$@"
}

while (($#)); do
    case "$1" in
        --prefix) [[ $# -ge 2 && -n $2 ]] || refuse "--prefix needs a directory"; prefix=${2%/}; shift 2 ;;
        --binary) [[ $# -ge 2 && -n $2 ]] || refuse "--binary needs a file"; binary=$2; shift 2 ;;
        --dry-run) dry_run=yes; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; refuse "unknown option $1" ;;
    esac
done

bin_dir=$prefix/usr/local/bin
etc_dir=$prefix/etc/rookery
unit_dir=$prefix/etc/systemd/system
data_dir=$prefix/var/lib/rookery

if [[ -z $prefix && -z $dry_run ]]; then
    [[ $(uname -s) == Linux ]] || refuse "this installs a systemd service, which needs Linux; on other systems run: cargo install --path ."
    [[ $(id -u) -eq 0 ]] || refuse "run it as root (sudo ./install.sh), or try ./install.sh --dry-run"
    [[ -d /run/systemd/system ]] || refuse "systemd is not running here; use --prefix DIR, or the Dockerfile"
fi

build() {
    if [[ -n $binary ]]; then
        [[ -n $dry_run || -f $binary ]] || refuse "$binary is not a file"
        return
    fi
    if ! command -v cargo >/dev/null; then
        [[ -n $dry_run ]] || refuse "cargo is not in PATH: install Rust from https://rustup.rs, or give a finished program with --binary"
    fi
    run cargo build --release --locked --bin rookery
    binary=${CARGO_TARGET_DIR:-target}/release/rookery
}

install_files() {
    run install -d -m 0755 "$bin_dir" "$etc_dir" "$unit_dir"
    run install -m 0755 "$binary" "$bin_dir/rookery.new"
    # A running program cannot be overwritten, but its name can be given to another file.
    run mv -f "$bin_dir/rookery.new" "$bin_dir/rookery"
    run install -m 0644 config.example.toml "$etc_dir/config.example.toml"
    if [[ -e $etc_dir/config.toml ]]; then
        say "$etc_dir/config.toml exists and is kept; config.example.toml beside it shows what is new"
    else
        run install -m 0640 config.example.toml "$etc_dir/config.toml"
    fi
    run install -m 0644 packaging/rookery.service "$unit_dir/rookery.service"
}

prepare_user() {
    if [[ -n $prefix ]]; then
        run install -d -m 0700 "$data_dir"
        return
    fi
    if ! id "$user" >/dev/null 2>&1; then
        run useradd --system --user-group --home-dir "$data_dir" --shell /usr/sbin/nologin "$user"
    fi
    if [[ ! -d $data_dir ]]; then
        run install -d -m 0700 -o "$user" -g "$user" "$data_dir"
    fi
    run chgrp "$user" "$etc_dir/config.toml"
}

build
install_files
prepare_user
if [[ -z $prefix ]]; then
    run systemctl daemon-reload
fi

say ""
say "Installed. Next:"
say "  1. write your hostname into $etc_dir/config.toml"
say "  2. put a reverse proxy with TLS in front of it (docs/operations.md)"
say "  3. systemctl enable --now rookery        (after an upgrade: systemctl restart rookery)"
say "  4. sudo -u $user rookery invite create --config $etc_dir/config.toml"
