#!/usr/bin/env bash
# Prints the folder of a wasm-opt that what is released is made smaller with; fetched once, from npm. Debian's is older than 110, and
# gives the table of references the number of another where WASM is split.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
VERSION=132.0.0
folder="$CACHE/binaryen-$VERSION"
if [ ! -x "$folder/node_modules/binaryen/bin/wasm-opt" ]; then
  npm install --prefix "$folder" --silent --no-audit --no-fund "binaryen@$VERSION" >&2 || die "binaryen $VERSION could not be installed from npm"
fi
printf '%s\n' "$folder/node_modules/binaryen/bin"
