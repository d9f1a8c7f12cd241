#!/usr/bin/env bash
# Everything that only a real card shows, in one go: install, the suite, the demo, the report, the benchmarks.
#
#   tests/gpu/run_on_gpu.sh [OUT]        (CUDA 13 by default; CUDA=12 for a driver of that generation)
#
# Needs Python 3.11 or newer, an NVIDIA driver and the network; makes its own virtual environment.  With PYTHON set and
# INSTALL=no it uses that interpreter as it is.  A step that fails does not stop the others; the exit status counts them.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=${1:-gpu-results}
mkdir -p "$out"
generation=${CUDA:-13}
python=${PYTHON:-python3}
failed=0

step() {
  local name=$1
  shift
  printf '\n=== %s (%s s)\n' "$name" "$SECONDS"
  if ! "$@" > "$out/$name.log" 2>&1; then
    failed=$((failed + 1))
    printf 'FAILED: %s\n' "$name"
  fi
  tail -n 8 "$out/$name.log"
}

if [ "${INSTALL:-yes}" = yes ]; then
  step venv "$python" -m venv "$out/venv"
  python="$out/venv/bin/python"
  step install "$python" -m pip install -q -e ".[cuda$generation,test]"
  step torch "$python" -m pip install -q torch
fi

step card nvidia-smi
step status "$python" -c "from accelgrad import cuda; print(cuda.status()); print(cuda.get_device_properties())"
step suite "$python" -m pytest -q --device gpu -p no:cacheprovider tests/ops tests/standin tests/accelgrad tests/gpu
ACCELGRAD_KERNELS=numba step suite-kernels "$python" -m pytest -q --device gpu -p no:cacheprovider tests/ops tests/gpu
step report "$python" tests/gpu/kernel_report.py
step demo "$python" -m accelgrad demo --device gpu --out "$out/demo"
step benchmarks "$python" benchmarks/gpu.py --json "$out/gpu.json"
printf '\n%s step(s) failed; logs and figures in %s\n' "$failed" "$out"
exit "$failed"
