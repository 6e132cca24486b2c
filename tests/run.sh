#!/usr/bin/env bash
# Runs every check and every test of the project, from any directory:
#
#   tests/run.sh          formatting, lints, all tests, and the tests against real peers
#   tests/run.sh --long   the same with the long forms of tests that have one, and with applications that take long to get
#
# Installs what it needs: Chromium with its driver, nginx, HAProxy, PgBouncer, Apache and uWSGI without their services, PHP, Pebble,
# skopeo, slowhttptest, PostgreSQL, Node.js with npm and Python's venv by apt-get; Prometheus, Pushgateway, Alertmanager and a
# container registry, OpenLDAP and Glewlwyd unpacked from their packages; the peers by pip into .tests/venv, .tests/apps and
# .tests/servers and by npm into .tests/node and .tests/node-apps; where there is Go, Pyroscope, Hydra and Dex from their Go modules,
# and where there are Java and Maven, Keycloak (ten minutes, once, while cargo builds); in a long run large applications by pip into
# folders of their own (two gigabytes), and Micromegas from its crates into .tests/micromegas (half an hour, once). Every server it
# starts listens on 127.0.0.1 only and ends with it.
# Status: 0 all passed, 1 something failed (named at the end), 2 usage.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for argument in "$@"; do
  case "$argument" in
    --long) export DOORWARD_TEST_LONG=1 ;;
    *) echo "usage: tests/run.sh [--long]" >&2; exit 2 ;;
  esac
done

scratch=$(mktemp -d)
chmod 711 "$scratch" # the unprivileged owner of the PostgreSQL data passes through
export TMPDIR=$scratch
install_pid=
failed=()

cleanup() {
  [ -z "$install_pid" ] || kill "$install_pid" 2>/dev/null || true
  stop_postgres
  rm -rf "$scratch" || true # a peer that is still ending may hold on to its files
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n== %s\n' "$*"; }

# Runs one step; a failure is remembered and the other steps still run.
step() {
  local name=$1
  shift
  say "$name"
  local started=$SECONDS
  if "$@"; then
    echo "-- $name: passed in $((SECONDS - started)) s"
  else
    failed+=("$name")
    echo "-- $name: FAILED after $((SECONDS - started)) s"
  fi
}

# --- what the peers need ------------------------------------------------------------------------

missing_packages() {
  command -v chromium >/dev/null || echo chromium
  command -v pebble >/dev/null || echo pebble
  command -v chromedriver >/dev/null || echo chromium-driver
  [ -x /usr/sbin/haproxy ] || echo haproxy
  [ -x /usr/sbin/nginx ] || echo nginx
  [ -x /usr/sbin/pgbouncer ] || echo pgbouncer
  [ -n "$(postgres_programs)" ] || echo postgresql
  command -v slowhttptest >/dev/null || echo slowhttptest
  command -v skopeo >/dev/null || echo skopeo
  command -v git >/dev/null || echo git
  [ -x /usr/sbin/apache2 ] || echo apache2-bin
  [ -x /usr/bin/php-cgi ] || echo php-cgi
  [ -x /usr/bin/uwsgi-core ] || echo uwsgi-core
  ls /usr/lib/uwsgi/plugins/python3*_plugin.so >/dev/null 2>&1 || echo uwsgi-plugin-python3
  command -v npm >/dev/null || echo nodejs npm
  python3 -c 'import venv, ensurepip' 2>/dev/null || echo python3-venv
}

install_packages() {
  local packages
  packages=$(missing_packages)
  [ -n "$packages" ] || return 0
  packages=$(echo "$packages" | tr '\n' ' ')
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "cannot install: $packages(neither root nor sudo)"; return 1; }
    as_root=(sudo -n)
  fi
  command -v apt-get >/dev/null || { echo "cannot install: $packages(no apt-get here)"; return 1; }
  echo "installing: $packages"
  "${as_root[@]}" apt-get -qq update || return 1
  # shellcheck disable=SC2086 # a list of words
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install --yes --no-install-recommends $packages || return 1
}

# install_python VENV LIST: the venv keeps a copy of the list it was made from; the same list needs no second install.
install_python() {
  cmp -s "$2" "$1/requirements.txt" && return 0
  echo "installing into $1:" && grep -v '^#' "$2"
  python3 -m venv "$1" || return 1
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$2" || return 1
  cp "$2" "$1/requirements.txt"
}

# All at once: each waits for the network most of the time.
install_pythons() {
  local apps servers status=0
  install_python .tests/apps tests/peers/requirements-apps.txt &
  apps=$!
  install_python .tests/servers tests/peers/requirements-servers.txt &
  servers=$!
  install_python .tests/venv tests/peers/requirements.txt || status=1
  wait "$apps" || status=1
  wait "$servers" || status=1
  return "$status"
}

# install_node FOLDER LIST: the same for what comes by npm; scripts of packages are not run.
install_node() {
  cmp -s "$2" "$1/installed.json" && return 0
  echo "installing into $1:" && grep '^    ' "$2"
  mkdir -p "$1"
  cp "$2" "$1/package.json" || return 1
  npm install --prefix "$1" --ignore-scripts --no-audit --no-fund --no-package-lock --silent || return 1
  cp "$2" "$1/installed.json"
}

install_nodes() {
  install_node .tests/node tests/peers/package.json && install_node .tests/node-apps tests/peers/package-apps.json
}

# Each wants versions of its own. All at once, and only in a long run: they are two gigabytes.
install_large() {
  local list status=0 pids=() pid
  [ -n "${DOORWARD_TEST_LONG:-}" ] || { no_large; return 0; }
  for list in tests/peers/presets/long/*.txt; do
    install_python ".tests/$(basename "$list" .txt)" "$list" &
    pids+=("$!")
  done
  for pid in "${pids[@]}"; do wait "$pid" || status=1; done
  return "$status"
}

no_large() {
  echo "left out: the tests in front of Airflow, Dagster, ESPHome, JupyterHub, pgAdmin and Prefect, which are large (tests/run.sh --long)"
}

# unpack PACKAGE FOLDER PROGRAM: packages that would start a server which listens everywhere are only unpacked.
unpack() {
  [ -x ".tests/$2/$3" ] && return 0
  echo "unpacking $1 into .tests/$2"
  rm -rf ".tests/$2" && mkdir ".tests/$2" || return 1
  (cd ".tests/$2" && apt-get -qq download "$1" && dpkg-deb --extract "$1"_*.deb . && rm "$1"_*.deb)
}

# unpack_whole FOLDER PROGRAM PACKAGE...: the same with the libraries that they need and this machine lacks.
unpack_whole() {
  local folder=.tests/$1 program=$2 libraries
  shift 2
  [ -x "$folder/$program" ] && return 0
  echo "unpacking $* into $folder"
  libraries=$(apt-get -qq --simulate --no-install-recommends install "$@" | sed -n 's/^Inst \([^ ]*\).*/\1/p') || return 1
  rm -rf "$folder" "$folder.new" && mkdir "$folder.new" || return 1
  # shellcheck disable=SC2086 # a list of words
  (cd "$folder.new" && apt-get -qq download "$@" $libraries &&
    for package in *.deb; do dpkg-deb --extract "$package" . || exit; done && rm ./*.deb) && mv "$folder.new" "$folder"
}

# Built from its Go module, once; no other way to it is tried.
install_pyroscope() {
  command -v go >/dev/null || { no_go; return 0; }
  tests/peers/presets/pyroscope.sh .tests/pyroscope >.tests/pyroscope.log 2>&1 || { tail -n 20 .tests/pyroscope.log; return 1; }
}

# Identity servers: what is in packages is unpacked, the rest fetched or built once.
install_providers() {
  unpack_whole slapd usr/sbin/slapd slapd ldap-utils && unpack_whole glewlwyd usr/bin/glewlwyd glewlwyd dbconfig-no-thanks || return 1
  if has_maven; then install_provider keycloak || return 1; else no_maven; fi
  if command -v go >/dev/null; then install_provider hydra && install_provider dex; fi
}

install_provider() {
  "tests/peers/providers/$1.sh" ".tests/$1" >".tests/$1.log" 2>&1 || { tail -n 20 ".tests/$1.log"; return 1; }
}

has_maven() { command -v java >/dev/null && command -v mvn >/dev/null; }

no_maven() {
  echo "left out: the tests of signing in at Keycloak, since there is no Java or no Maven on this machine to run and fetch it with"
}

no_go() {
  echo "left out: the tests in front of the real Pyroscope and of signing in at Hydra and Dex, since there is no Go on this machine to build them with"
}

# Half an hour the first time, so only a long run has it.
install_micromegas() {
  [ -n "${DOORWARD_TEST_LONG:-}" ] || { no_micromegas; return 0; }
  CARGO_TARGET_DIR=$PWD/.tests/micromegas nice cargo build --quiet --locked --manifest-path tests/peers/presets/micromegas_server/Cargo.toml
}

no_micromegas() {
  echo "left out: the tests in front of the real Micromegas, which takes half an hour to build (tests/run.sh --long)"
}

install_all() {
  install_packages && unpack prometheus prometheus usr/bin/promtool && unpack docker-registry registry usr/bin/docker-registry &&
    unpack prometheus-pushgateway pushgateway usr/bin/prometheus-pushgateway &&
    unpack prometheus-alertmanager alertmanager usr/bin/prometheus-alertmanager &&
    install_pythons && install_nodes && install_large && install_providers && install_pyroscope && install_micromegas
}

# --- PostgreSQL ---------------------------------------------------------------------------------

postgres_programs() {
  local programs
  for programs in /usr/lib/postgresql/*/bin; do
    [ -x "$programs/initdb" ] && echo "$programs" && return 0
  done
  return 0
}

# PostgreSQL refuses to run as root, so there it belongs to the user its package made.
as_postgres() {
  if [ "$(id -u)" -eq 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

start_postgres() {
  local programs data=$scratch/postgres port
  programs=$(postgres_programs)
  [ -n "$programs" ] || { echo "no PostgreSQL programs in /usr/lib/postgresql"; return 1; }
  mkdir -m 700 "$data"
  if [ "$(id -u)" -eq 0 ]; then chown postgres "$data"; fi
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])') || return 1
  (
    cd "$data"
    as_postgres "$programs/initdb" -D "$data" -A trust -U doorward -E UTF8 --locale=C.UTF-8 --no-sync >"$scratch/initdb.log" &&
      as_postgres "$programs/pg_ctl" -D "$data" -l "$data/log" -w start >/dev/null -o "-p $port \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories=$data -c max_connections=200 \
        -c fsync=off -c synchronous_commit=off -c full_page_writes=off" &&
      as_postgres "$programs/createdb" -h 127.0.0.1 -p "$port" -U doorward doorward
  ) || { cat "$scratch/initdb.log" "$data/log" 2>/dev/null; return 1; }
  export DOORWARD_TEST_POSTGRES="postgres://doorward@127.0.0.1:$port/doorward"
  echo "$DOORWARD_TEST_POSTGRES"
}

# SIGINT is PostgreSQL's fast shutdown; it ends within the loop or is killed.
stop_postgres() {
  local pid
  pid=$(head -n 1 "$scratch/postgres/postmaster.pid" 2>/dev/null) || return 0
  [ -n "$pid" ] || return 0
  kill -INT "$pid" 2>/dev/null || return 0
  for _ in $(seq 100); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
}

# --- the run ------------------------------------------------------------------------------------

command -v cargo >/dev/null || { echo "cargo is missing: install the Rust toolchain named in Cargo.toml" >&2; exit 1; }

mkdir -p .tests
install_all >.tests/install.log 2>&1 & # while cargo builds
install_pid=$!

installed() {
  local status=0
  wait "$install_pid" || status=$?
  install_pid=
  if [ "$status" -eq 0 ]; then cat .tests/install.log; else tail -n 30 .tests/install.log; fi
  return "$status"
}

# The peer tests are built now, while the peers are still being installed.
build() {
  cargo test --quiet --no-run && cargo test --quiet --no-run --test peers
}

step "formatting" cargo fmt --check
step "lints" cargo clippy --quiet --all-targets -- -D warnings
step "lints of the peer tests" cargo clippy --quiet --test peers -- -D warnings
step "build" build
step "installation" installed
step "PostgreSQL" start_postgres
step "tests" cargo test --quiet --no-fail-fast
step "tests against real peers" cargo test --quiet --test peers
command -v go >/dev/null || no_go
has_maven || no_maven
[ -n "${DOORWARD_TEST_LONG:-}" ] || { no_micromegas; no_large; }

if [ "${#failed[@]}" -gt 0 ]; then
  say "FAILED"
  printf '   %s\n' "${failed[@]}"
  exit 1
fi
say "all passed in $SECONDS s"
