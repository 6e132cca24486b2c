#!/bin/sh
# hydra.sh FOLDER: builds Ory Hydra 2.3.0 from its Go module, once: FOLDER/hydra is the program. Fetches nothing but Go modules.
# Status: 0 it is there, 1 it could not be built, 2 usage.
set -eu
[ $# -eq 1 ] || { sed -n '2,3s/^# //p' "$0"; exit 2; }
server=github.com/ory/hydra/v2@v2.3.0
mkdir -p "$1"
cd "$1"
[ "$(cat built 2>/dev/null)" = "$server" ] && exit 0

mkdir -p build
cd build
export GOTOOLCHAIN=local GOFLAGS=-mod=mod
# The replacement stands in its go.mod, whose replacements count in the main module only.
printf 'module peers/hydra\n\ngo 1.23\n' >go.mod
go mod edit -replace github.com/gobuffalo/pop/v6=github.com/ory/pop/v6@v6.2.1-0.20241121111754-e5dfc0f3344b
go get -tool "$server"
nice go build -trimpath -ldflags '-s -w' -tags sqlite,sqlite_omit_load_extension -o ../hydra "${server%@*}"
cd ..
echo "$server" >built
