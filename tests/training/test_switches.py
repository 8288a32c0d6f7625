"""Keras's own switches: with each, a tiny run trains."""

import dataclasses
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from training_runs import checkpoint_arrays
from training_runs import smallest

from training import train
from training.config import AugmentationConfig
from training.config import DataConfig
from training.config import RuntimeConfig

SWITCHES = {
    "bfloat16": {"precision": "mixed_bfloat16"},
    "accumulation": {"accumulation": 2},
    "steps_per_execution": {"steps_per_execution": 2},
    "remat": {"remat": True},
    "jit_compile": {"jit_compile": True},
    "no_jit_compile": {"jit_compile": False},
}


def trained(folder, augmentation=None, **runtime):
    """Losses, and the first and last weights of a run without noise."""
    off = AugmentationConfig(flip=False, shift=0.0)
    config = smallest(
        runtime=RuntimeConfig(**runtime),
        augmentation=augmentation or off,
        data=DataConfig(source="digits", max_images=64),
    )
    # The rate follows the images of an update; here it shall not.
    rate = 0.1 / config.runtime.accumulation
    optimizer = dataclasses.replace(config.optimizer, learning_rate=rate)
    results = train.run(
        dataclasses.replace(config, optimizer=optimizer), folder
    )
    return [row["loss"] for row in results["history"]]


@pytest.mark.slow
@pytest.mark.parametrize("name", SWITCHES)
def test_a_run_learns_with_the_switch(tmp_path, name):
    if keras.backend.backend() == "torch" and name == "jit_compile":
        pytest.skip("torch.compile needs a compiler on the machine")
    losses = trained(tmp_path / name, **SWITCHES[name])
    assert np.all(np.isfinite(losses)) and losses[1] < losses[0]
    dtypes = {a.dtype for a in checkpoint_arrays(tmp_path / name).values()}
    assert np.dtype("float32") in dtypes
    if name in ("bfloat16", "accumulation"):
        return  # rounded, or updated half as often
    # The others change how it is computed, not what.
    plain = trained(tmp_path / "plain")
    np.testing.assert_allclose(losses, plain, rtol=2e-2)


@pytest.mark.slow
def test_a_run_learns_with_mixed_images(tmp_path):
    """What `cifar10_modern` does to its images, and bfloat16."""
    augmentation = AugmentationConfig(
        flip=True, shift=0.1, cutout=0.5, mixup=0.2, cutmix=True
    )
    losses = trained(tmp_path, augmentation, precision="mixed_bfloat16")
    assert np.all(np.isfinite(losses)) and losses[1] < losses[0]


@pytest.mark.slow
def test_the_switches_on_jax(tmp_path):
    pytest.importorskip("jax")
    if keras.backend.backend() == "jax":
        pytest.skip("this is JAX")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "slow", __file__],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-3000:]
