#!/bin/sh
# keycloak.sh FOLDER: fetches Keycloak 26.7.3 by Maven, once, and prepares it for the tests: FOLDER/keycloak/bin/kc.sh is the program.
# Status: 0 it is there, 1 it could not be had, 2 usage.
set -eu
[ $# -eq 1 ] || { sed -n '2,3s/^# //p' "$0"; exit 2; }
version=26.7.3
plugin=org.apache.maven.plugins:maven-dependency-plugin:3.6.1
mkdir -p "$1"
cd "$1"
[ "$(cat built 2>/dev/null)" = "$version" ] && exit 0

rm -rf keycloak "keycloak-$version"
mvn -q -B "$plugin:copy" -Dartifact="org.keycloak:keycloak-quarkus-dist:$version:zip" -DoutputDirectory=.
python3 -m zipfile -e "keycloak-quarkus-dist-$version.zip" .
rm "keycloak-quarkus-dist-$version.zip"
mv "keycloak-$version" keycloak
chmod +x keycloak/bin/*.sh
# Otherwise its first start does this, and takes twice as long.
nice keycloak/bin/kc.sh build --db=dev-mem --cache=local
echo "$version" >built
