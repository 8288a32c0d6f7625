"""What export takes from the training package: its runs and their images.

Neither package imports the other as a whole; export can do without training,
and its parts are fetched here when they are wanted.
"""

import dataclasses
import importlib
import pathlib

import numpy as np

CONFIG = "config.json"


def training(module):
    """A module of the training package, installed or in the checkout."""
    package = __package__.removesuffix("export") + "training"
    try:
        return importlib.import_module(f"{package}.{module}")
    except ModuleNotFoundError as error:
        raise ValueError(
            "Training data and schedules need `pip install "
            f"keras_ratn[train]`: {error}"
        ) from error


def experiment_of(path):
    """The experiment that a model file came from, `None` if unknown.

    Args:
        path: Path of a file in a run folder of `ratn train`.
    """
    file = pathlib.Path(path).absolute().parent / CONFIG
    if not file.exists():
        return None
    try:
        return training("config").Experiment.read(file)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file} is no config of `ratn train`: {error}. Move the model "
            "elsewhere, or remove the file."
        ) from error


def open_source(data, seed):
    """The images that a `DataConfig` names."""
    try:
        return training("sources").load_source(data, seed)
    except training("errors").RunError as error:
        raise ValueError(str(error)) from error


def drawn(split, limit, seed=0):
    """Some images of a split and their classes, readable ones only.

    Args:
        split: `Split` or `Stream` of a training source.
        limit: Integer. How many to draw at most.
        seed: Integer, for the draw. Defaults to `0`.

    Returns:
        Pair of a float32 array of pixels and an integer array.
    """
    limit = min(limit, len(split))
    if hasattr(split, "read"):
        numbers = np.random.default_rng(seed).permutation(len(split))[:limit]
        images, readable = split.read(numbers)
        images, labels = images[readable], split.labels[numbers][readable]
    else:  # read from the disk, batch by batch
        inputs, labels = next(iter(split.training_batches(limit, seed, 1)))
        images, labels = np.asarray(inputs["images"]), np.asarray(labels)
    return images.astype("float32"), labels.astype("int64")


def representative_images_of(path, shape, limit):
    """Training images of the run that a model file came from.

    Args:
        path: Path of the model file.
        shape: Triple of integers, `(height, width, channels)`.
        limit: Integer. How many to draw at most.

    Returns:
        float32 array of pixels, `None` if the file is in no run folder.
    """
    experiment = experiment_of(path)
    if experiment is None:
        return None
    height, width, _ = shape
    if height != width:
        raise ValueError(
            "Training images are square. Received: a model for images of "
            f"{height}x{width}. Pass others of that size by --data."
        )
    data = dataclasses.replace(experiment.data, image_size=height)
    try:
        source = open_source(data, experiment.seed)
    except ValueError as error:
        raise ValueError(
            f"The training images of {path} cannot be read; pass others by "
            f"--data. {error}"
        ) from error
    return drawn(source.train, limit)[0]
