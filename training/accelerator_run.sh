#!/usr/bin/env bash
# Trains the networks whose weights ship, on one large GPU with JAX and without
# TensorFlow, and goes on where it was cut off:
#
#     training/accelerator_run.sh cifar10.npz 25        (minutes)
#
# Each run prints a profile first (images/s, where the time goes, how long all
# epochs will take). EPOCHS=100 shortens the schedule of all runs; RUNS="92:1"
# chooses some (depth:seed). What a run leaves is in runs/accelerator/; then
#
#     python -m training.release runs/accelerator/92_seed1 cifar10 \
#         --hardware "one NVIDIA H200"
#
# on a machine with TensorFlow makes its weights loadable by name.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:?the .npz file of CIFAR-10: x_train, y_train, x_test, y_test}
minutes=${2:?for how many minutes}
epochs=${EPOCHS:-220}
runs=${RUNS:-92:1 56:1 236:1 92:2 92:3}
export KERAS_BACKEND=jax XLA_PYTHON_CLIENT_PREALLOCATE=false
# A second start finds the compiled programs.
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-runs/compiled}

for run in $runs; do
    depth=${run%:*} seed=${run#*:}
    left=$(((minutes * 60 - SECONDS) / 60))
    [ "$left" -ge 1 ] || break
    python3 -m training.train cifar10_modern \
        --model "CifarAttention$depth" --seed "$seed" --epochs "$epochs" \
        --data.source npz --data.location "$data" \
        --data.validation-fraction 0.1 \
        --runtime.resident --profile --time-limit "$left" \
        --run-dir "runs/accelerator/${depth}_seed$seed"
done
