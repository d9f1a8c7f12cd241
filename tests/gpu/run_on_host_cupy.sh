#!/usr/bin/env bash
# The suite with device="gpu" on the real CuPy, without a card: its arrays in host memory, its kernels compiled by g++, our
# Numba CUDA kernels by LLVM.
#
#   tests/gpu/run_on_host_cupy.sh [FOLDER [PYTEST ARGUMENTS]]
#
# Needs Linux, g++ and nm, Python's headers, and the network. FOLDER keeps the environment and the compiled kernels for the
# next time; without one both go to a temporary folder that is deleted. What this shows and what not: README.md here.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ $# -gt 0 ]; then
  work=$(mkdir -p "$1" && cd "$1" && pwd)
  shift
else
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
cd "$root"

if [ ! -x "$work/venv/bin/pytest" ]; then
  "${PYTHON:-python3}" -m venv "$work/venv"
  mkdir -p "$work/source" # a copy, so that installing leaves nothing in this folder
  cp -r setup.cfg pyproject.toml README.md LICENSE accelgrad kernels notebooks "$work/source"
  "$work/venv/bin/pip" install -q --disable-pip-version-check "cupy-cuda13x==14.2.0" "numba-cuda==0.30.4" \
    "$work/source[test]"
  "$work/venv/bin/pip" uninstall -q -y accelgrad # its requirements stay; the tests take the sources from here
  rm -rf "$work/source"
fi

if [ $# -eq 0 ]; then
  set -- -q -n 2 tests/ops tests/standin tests/nn tests/optim tests/core tests/test_amp.py tests/gpu/compiled
fi
export CUPY_ON_HOST_BUILD="$work/kernels" NUMBA_CACHE_DIR="$work/numba" PYTHONDONTWRITEBYTECODE=1
time "$work/venv/bin/python" -m pytest --device cupy-on-host -p no:cacheprovider "$@"
