"""Labels: those of a file, and noise of a known share."""

import zipfile
import zlib

import numpy as np

from ..errors import RunError
from .split import LABEL_NOISE
from .split import random

# What NumPy raises for files that are damaged or not its own.
UNREADABLE = (OSError, ValueError, KeyError, EOFError)
UNREADABLE += (zipfile.BadZipFile, zlib.error)


def noisy_labels(labels, rate, num_classes, seed):
    """Moves the share `rate` of the labels evenly to the other classes.

    The confusion matrix Q of the paper: a label keeps its class with
    probability `1 - rate` and goes to each other one with
    `rate / (num_classes - 1)`.
    """
    generator = random(seed, LABEL_NOISE)
    moved = generator.random(len(labels)) < rate
    steps = generator.integers(1, num_classes, len(labels))
    return np.where(moved, (labels + steps) % num_classes, labels)


def read_labels(path, source):
    """Labels in a `.npy` file, or under the key of `FILE.npz:KEY`."""
    name, _, key = path.partition(".npz:")
    try:
        labels = np.load(f"{name}.npz" if key else path)
        if key:
            labels = labels[key]
        if not isinstance(labels, np.ndarray):
            raise ValueError(f"it holds the arrays {', '.join(labels)}")
    except UNREADABLE as error:
        raise RunError(
            f"`data.label_file` cannot be read: {path}: {error}. Wanted: "
            "FILE.npy or FILE.npz:KEY."
        ) from error
    if labels.shape != source.train.labels.shape:
        raise RunError(
            f"`data.label_file` must hold one label for each of the "
            f"{len(source.train)} training images. Received: {path} with "
            f"labels of shape {labels.shape}"
        )
    check_numbers(labels, "`data.label_file`")
    classes = len(source.class_names)
    if labels.min() < 0 or labels.max() >= classes:
        raise RunError(
            f"`data.label_file` must hold labels from 0 to {classes - 1}. "
            f"Received: {path} with labels from {labels.min()} to "
            f"{labels.max()}"
        )
    return labels.astype("int32")


def check_numbers(labels, name):
    """Refuses labels that are no whole numbers."""
    whole = np.full(labels.shape, labels.dtype.kind in "biu")
    if labels.dtype.kind == "f":
        whole = np.isfinite(labels) & (labels == np.floor(labels))
    if not whole.all():
        raise RunError(
            f"{name} must hold the numbers of classes: 0, 1, 2, ... "
            f"Received: {labels.dtype}, such as {labels[~whole][0]}"
        )
