"""Where images come from: TFDS, a folder, arrays, or scikit-learn's digits."""

import dataclasses

from ...errors import RunError
from ..labels import noisy_labels
from ..labels import read_labels
from ..split import first_of
from ..split import hold_out
from ..split import Source
from ..stream import Stream
from . import digits
from . import folder
from . import npz
from . import tfds

_LOADERS = {
    "digits": digits.load,
    "npz": npz.load,
    "tfds": tfds.load,
    "folder": folder.load,
}


def load_source(config, seed):
    """Reads what a `DataConfig` names.

    Args:
        config: `DataConfig`.
        seed: Integer. Of the held-out images and of label noise.

    Returns:
        A `Source`. Labels of the training images are those of the label file
        and with the noise that the config asks for; test labels never are.
    """
    source = _LOADERS[config.source](config)
    train = source.train
    if config.label_file is not None:
        train = dataclasses.replace(
            train, labels=read_labels(config.label_file, source)
        )
    if isinstance(train, Stream):
        if config.validation_fraction and source.validation is None:
            raise RunError(
                f"{config.location} is read from the disk in each epoch, and "
                "no images can be held out of it: "
                f"`data.validation_fraction` must be 0. Received: "
                f"{config.validation_fraction}"
            )
        return source
    test = source.test
    if test is None:
        # The same images of both: what is tested keeps its own labels.
        train, _ = hold_out(train, config.test_fraction, seed)
        _, test = hold_out(source.train, config.test_fraction, seed)
    if config.label_noise:
        train = dataclasses.replace(
            train,
            labels=noisy_labels(
                train.labels, config.label_noise, len(source.class_names), seed
            ).astype("int32"),
        )
    validation = source.validation
    if validation is None:
        # Another seed, or the test images would be drawn the same way.
        train, validation = hold_out(
            train, config.validation_fraction, seed + 1
        )
    splits = (train, validation, test)
    if config.max_images is not None:
        splits = (first_of(s, config.max_images, seed) for s in splits)
    return Source(source.class_names, *splits, source.channels)
