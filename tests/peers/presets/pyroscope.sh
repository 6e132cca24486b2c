#!/bin/sh
# pyroscope.sh FOLDER: builds Pyroscope 0.37.2 from its Go module, once: FOLDER/pyroscope is the program, FOLDER/source
# its source, FOLDER/api the published interface of Pyroscope 1.x. Fetches nothing but Go modules.
# Status: 0 it is there, 1 it could not be built, 2 usage.
set -eu
[ $# -eq 1 ] || { sed -n '2,4s/^# //p' "$0"; exit 2; }
server=github.com/pyroscope-io/pyroscope@v0.37.2
interface=github.com/grafana/pyroscope/api@v1.6.0
mkdir -p "$1"
cd "$1"
[ "$(cat built 2>/dev/null)" = "$server $interface" ] && exit 0

mkdir -p build/godeltaprof
cd build
export GOTOOLCHAIN=local GOFLAGS=-mod=mod
# Its profiler of itself does not compile since Go 1.21, and is off in the tests: a hollow one takes its place.
printf 'module github.com/pyroscope-io/godeltaprof\n\ngo 1.19\n' >godeltaprof/go.mod
cat >godeltaprof/godeltaprof.go <<'GO'
package godeltaprof

import "io"

type (
	BlockProfiler struct{}
	HeapProfiler  struct{}
)

func NewBlockProfiler() *BlockProfiler { return nil }
func NewMutexProfiler() *BlockProfiler { return nil }
func NewHeapProfiler() *HeapProfiler   { return nil }

func (*BlockProfiler) Profile(io.Writer) error { return nil }
func (*HeapProfiler) Profile(io.Writer) error  { return nil }
GO
# The first replacement stands in its go.mod, whose replacements count in the main module only.
printf 'module peers/pyroscope\n\ngo 1.21\n' >go.mod
go mod edit -replace github.com/mgechev/revive@v1.0.3=github.com/pyroscope-io/revive@v1.0.6-0.20210330033039-4a71146f9dc1 \
  -replace github.com/pyroscope-io/godeltaprof=./godeltaprof
go get "${server%@*}/cmd/pyroscope@${server#*@}"
go build -trimpath -ldflags '-s -w' -o ../pyroscope "${server%@*}/cmd/pyroscope"
modules=$(go env GOMODCACHE)
go mod download "$interface"
cd ..
ln -sfn "$modules/$server" source
ln -sfn "$modules/$interface" api
echo "$server $interface" >built
