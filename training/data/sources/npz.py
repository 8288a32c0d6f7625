"""Arrays in an `.npz` file."""

import pathlib

import numpy as np

from ...errors import RunError
from ..labels import check_numbers
from ..labels import UNREADABLE
from ..pixels import fit_arrays
from ..split import array_split
from ..split import Source


def load(config):
    """The `Source` of an `.npz` file."""
    path = pathlib.Path(config.location).expanduser()
    wanted = "Wanted: x_train and y_train, and x_test and y_test if there are."
    try:
        file = np.load(path)
        if isinstance(file, np.ndarray):
            raise ValueError("it is one array without a name")
        arrays = {key: file[key] for key in file}
    except UNREADABLE as error:
        raise RunError(f"{path} cannot be read: {error}. {wanted}") from error
    parts = ["train"]
    parts += [p for p in ("validation", "test") if f"x_{p}" in arrays]
    missing = {f"{x}_{part}" for part in parts for x in "xy"} - set(arrays)
    if missing:
        raise RunError(
            f"{path} lacks {', '.join(sorted(missing))} and holds the arrays "
            f"{', '.join(arrays) or 'none'}. {wanted}"
        )
    names = arrays.get("class_names")
    splits = {"train": None, "validation": None, "test": None}
    for part in parts:
        labels = arrays[f"y_{part}"].reshape(-1)
        images = _checked_images(arrays[f"x_{part}"], labels, part)
        if names is None:
            names = np.arange(int(labels.max()) + 1)
        if labels.min() < 0 or labels.max() >= len(names):
            raise RunError(
                f"y_{part} must hold labels from 0 to {len(names) - 1}. "
                f"Received: labels from {labels.min()} to {labels.max()}"
            )
        splits[part] = array_split(
            fit_arrays(images, config.image_size), labels
        )
    channels = [splits[p].read(np.arange(1))[0].shape[-1] for p in parts]
    if len(set(channels)) > 1:
        raise RunError(
            f"The images of {path} must have the same number of channels. "
            f"Received: {dict(zip(parts, channels))}"
        )
    return Source([str(x) for x in names], **splits, channels=channels[0])


def _checked_images(images, labels, part):
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.dtype != np.uint8:
        raise RunError(
            f"x_{part} must be uint8 of shape (images, height, width, "
            f"channels). Received: {images.dtype} of shape {images.shape}"
        )
    if len(images) != len(labels) or not len(images):
        raise RunError(
            f"y_{part} must hold one label for each image of x_{part}, one at "
            f"least. Received: {len(labels)} labels for {len(images)} images"
        )
    check_numbers(labels, f"y_{part}")
    return images
