#!/bin/sh
# dex.sh FOLDER: builds Dex 2.41.1 from its Go module, once: FOLDER/dex is the program. Fetches nothing but Go modules.
# Status: 0 it is there, 1 it could not be built, 2 usage.
set -eu
[ $# -eq 1 ] || { sed -n '2,3s/^# //p' "$0"; exit 2; }
# Its tags do not fit the path of its module, so a version is named by its commit; this one is 2.41.1.
server=github.com/dexidp/dex@v0.0.0-20240807174518-43956db7fd75
mkdir -p "$1"
cd "$1"
[ "$(cat built 2>/dev/null)" = "$server" ] && exit 0

mkdir -p build
cd build
export GOTOOLCHAIN=local GOFLAGS=-mod=mod
printf 'module peers/dex\n\ngo 1.22\n' >go.mod
go get -tool "${server%@*}/cmd/dex@${server#*@}"
# It has this module in a folder that is not published with it, where it is newer than what its go.mod asks for.
go get github.com/dexidp/dex/api/v2@v2.2.0
nice go build -trimpath -ldflags '-s -w' -o ../dex "${server%@*}/cmd/dex"
cd ..
echo "$server" >built
