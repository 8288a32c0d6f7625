"""Runs of the smallest network, for the tests of training."""

import dataclasses

import numpy as np

from training import configs
from training.config import DataConfig
from training.config import RuntimeConfig


def smallest(**changes):
    """An `Experiment` of two epochs of a few steps."""
    config, _ = configs.load("smoke")
    defaults = {
        "epochs": 2,
        "batch_size": 16,
        "optimizer": dataclasses.replace(config.optimizer, warmup_epochs=0),
        "data": DataConfig(
            source="digits", validation_fraction=0.1, max_images=64
        ),
        "runtime": RuntimeConfig(deterministic=True),
    }
    return dataclasses.replace(config, **{**defaults, **changes})


def checkpoint_arrays(folder):
    with np.load(folder / "checkpoint.npz") as file:
        return {k: file[k] for k in file.files if k.startswith("variable")}
