"""TensorFlow Datasets, in memory where they fit."""

import numpy as np

from ...errors import RunError
from ..pixels import fit_array
from ..split import array_split
from ..split import Source
from ..stream import check_stream
from ..stream import MEMORY_LIMIT
from ..stream import Stream
from ..stream import unlabelled


def load(config):
    """The `Source` of a TFDS name."""
    import os

    # Quiet, and without asking the network for what is on the disk.
    os.environ.setdefault("TFDS_GCS_DISABLED", "1")
    try:
        import tensorflow_datasets as tfds
    except ModuleNotFoundError as error:
        raise RunError(
            "Reading TensorFlow Datasets needs `pip install "
            f"keras_ratn[train]`: {error}"
        ) from error
    name = config.location
    try:
        builder = tfds.builder(name, data_dir=config.tfds_directory)
        if not builder.info.splits:
            builder.download_and_prepare()
    except Exception as error:  # each data set fails in its own way
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RunError(
            f"TFDS has no prepared {name!r} in "
            f"{config.tfds_directory or 'its default folder'} and cannot "
            f"download it: {reason[0]}\nPrepare it where there is a network, "
            f'by `python -c "import tensorflow_datasets as tfds; '
            f"tfds.load('{name}')\"`, and copy the folder, or point "
            "--data.tfds-directory at it."
        ) from error
    missing = {"image", "label"} - set(builder.info.features)
    if missing:
        raise RunError(
            f"TFDS's {name!r} must have the features image and label. "
            f"Received: {', '.join(builder.info.features)}"
        )
    names = _class_names(name, builder.info.features["label"])
    channels = _channels(name, builder.info.features["image"])
    if "train" not in builder.info.splits:
        raise RunError(
            f"TFDS's {name!r} must have a split `train`. Received: "
            f"{', '.join(builder.info.splits)}"
        )
    splits = {"train": "train", "validation": "validation", "test": "test"}
    if config.test_split != "test":
        splits |= {"test": config.test_split, "validation": None}
    for role, part in splits.items():
        splits[role] = None
        if part in builder.info.splits:
            splits[role] = _tfds_split(tfds, builder, part, config)
    return Source(names, **splits, channels=channels)


def _class_names(name, label):
    names = getattr(label, "names", None)
    if not names:
        raise RunError(
            f"TFDS's {name!r} must say which classes there are: its label a "
            f"`ClassLabel`. Received: {label}"
        )
    return list(names)


def _channels(name, image):
    dtype, channels = np.dtype(image.np_dtype), image.shape[-1]
    if dtype not in (np.uint8, np.uint16) or len(image.shape) != 3:
        raise RunError(
            f"TFDS's {name!r} must have images of uint8 or uint16, whose "
            f"largest value is white. Received: {image}"
        )
    if channels is None:
        raise RunError(
            f"TFDS's {name!r} must have images of one number of channels. "
            f"Received: {image}"
        )
    return channels


def _tfds_split(tfds, builder, part, config):
    """A split in memory if it fits, in its original order where it says so."""
    if builder.info.splits[part].num_bytes > MEMORY_LIMIT:
        check_stream(config)
        return Stream(builder.info, part, config.image_size)
    dataset = builder.as_dataset(split=part, shuffle_files=False)
    images, labels, names = [], [], []
    size = config.image_size
    for example in tfds.as_numpy(dataset):
        image = example["image"]
        if image.dtype == np.uint16:
            image = np.uint8(image >> 8)
        if image.shape[:2] != (size, size):
            image = fit_array(image, size, size)
        images.append(image)
        labels.append(example["label"])
        names.append(example.get("id", b""))
    if min(labels, default=0) < 0:
        raise unlabelled(builder.info.name, part)
    # TFDS shuffles what it stores; names such as `train_00012` give the order
    # back, which label files rely on.
    order = np.argsort(names, kind="stable")
    return array_split(np.stack(images)[order], np.asarray(labels)[order])
