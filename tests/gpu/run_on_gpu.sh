#!/usr/bin/env bash
# Everything that only a real card shows, in parts that do not depend on each other.
#
#   tests/gpu/run_on_gpu.sh [OUT [PART...]]
#
# Parts, in this order if none is named: card ours launch matmul bandwidth demo large small values kernels gradients; the most telling
# come first, and the suite, which takes longest, last. Each ends within LIMIT seconds (540), so that a part fits where a command
# may take ten minutes, and with TOTAL (seconds, no limit) nothing begins that cannot get half a minute of what is left of it; a part
# that fails does not stop the others, and the exit status counts those that did. OUT (gpu-results) gets run.log, and gpu.json with the figures of all parts so far.
#
# By default this makes a virtual environment in OUT, which needs the network: Python 3.11 or newer and an NVIDIA driver; CUDA=12
# for a driver of that generation. INSTALL=no takes the interpreter PYTHON as it is: CuPy, Numba, numba-cuda and pytest, and
# PyTorch for the comparison. A further part, report, compiles every kernel and lists its registers; it needs no card.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=${1:-gpu-results}
shift $(($# > 0 ? 1 : 0))
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=${TMPDIR:-/tmp}/accelgrad-gpu
python=${PYTHON:-python3}
cores=$(nproc)
limit=${LIMIT:-540}
total=${TOTAL:-0}
failed=0

# What numba-cuda needs of a toolkit that is installed on the machine, and not as wheels.
if [ -z "${CUDA_HOME:-}" ] && [ -d /usr/local/cuda ]; then export CUDA_HOME=/usr/local/cuda; fi
export NUMBA_CACHE_DIR="$work/numba" CUPY_CACHE_DIR="$work/cupy" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MPLBACKEND=Agg

part() {
  local name=$1 begun=$SECONDS status=0
  shift
  printf '\n=== %s\n' "$name" | tee -a "$out/run.log"
  local seconds=$limit left=$((total - SECONDS))
  if [ "$total" -gt 0 ] && [ "$left" -lt "$seconds" ]; then seconds=$left; fi
  if [ "$total" -gt 0 ] && [ "$seconds" -lt 30 ]; then
    printf '%s %s: left out, the time is used up\n' '---' "$name" | tee -a "$out/run.log"
    return
  fi
  timeout -k 10 "$seconds" "$@" > "$work/part.log" 2>&1 || status=$?
  cat "$work/part.log" >> "$out/run.log"
  tail -n 25 "$work/part.log"
  if [ "$status" -ne 0 ]; then failed=$((failed + 1)); fi
  printf '%s %s: status %s, %s s\n' '---' "$name" "$status" $((SECONDS - begun)) | tee -a "$out/run.log"
}

tests() { # more processes than cores only wait; each holds a context of the card
  "$python" -m pytest -q --device "${DEVICE:-gpu}" -n $((cores > 8 ? 8 : cores)) -p no:cacheprovider -p no:benchmark "$@"
}

status() {
  nvidia-smi || true
  "$python" - << 'EOF'
import importlib.metadata
from accelgrad import cuda, kernels
print(cuda.status())
print(cuda.get_device_properties())
for name in ("numpy", "numba", "numba-cuda", "cupy-cuda12x", "cupy-cuda13x", "cuda-bindings", "torch"):
    try:
        print(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        print(name, "is not installed")
import accelgrad
with kernels.use("numba"):  # one kernel of ours from source to result, and what is missing if it fails
    x = accelgrad.arange(100000.0, device="gpu").reshape(100, 1000)
    print("softmax by our kernel:", float(accelgrad.softmax(x / 1000, -1).sum().item()), "of 100")
print("kernels that could not be loaded:", {key: text for key, text in kernels.missing.items() if key[0] == "cuda"})
EOF
}

figures() {
  "$python" benchmarks/gpu.py --json "$out/gpu.json" ${BENCHMARK_OPTIONS:-} "$@"
}

install() {
  "$python" -m venv "$out/venv" && "$out/venv/bin/python" -m pip install -q -e ".[cuda${CUDA:-13},test]" &&
    "$out/venv/bin/python" -m pip install -q torch
}

mkdir -p "$work"
export -f tests status figures install
export python cores out
if [ "${INSTALL:-yes}" = yes ]; then
  if [ ! -x "$out/venv/bin/pytest" ]; then part install bash -c install; fi
  python="$out/venv/bin/python"
fi

for name in ${*:-card ours launch matmul bandwidth demo large small values kernels gradients}; do
  case $name in
    card) part card bash -c status ;;
    ours) part ours bash -c 'tests tests/gpu/test_on_a_card.py' ;;
    values) part values bash -c 'tests tests/ops/test_grid.py tests/standin tests/test_amp.py tests/gpu/test_gpu_status.py -k "not test_gradient"' ;;
    gradients) part gradients bash -c 'tests tests/ops/test_grid.py -k test_gradient' ;;
    kernels) ACCELGRAD_KERNELS=numba part kernels bash -c 'tests tests/ops tests/standin' ;;
    demo) part demo "$python" -m accelgrad demo --device gpu --out "$work/demo" ;;
    launch | bandwidth | matmul) part "$name" bash -c "figures --only $name" ;;
    small) part small bash -c 'figures --only steps --models small' ;;
    large) part large bash -c 'figures --only steps --models large' ;;
    report) part report "$python" tests/gpu/kernel_report.py ;;
    *) printf 'no part is called %s\n' "$name" && failed=$((failed + 1)) ;;
  esac
done
printf '\n%s part(s) failed; log and figures in %s\n' "$failed" "$out"
exit "$failed"
