"""Feature maps of a network at several sizes, for detection and the like."""

import keras

from keras_ratn.layers import _common

MAX_LEVEL = 7
NOMINAL_SIZE = 256  # where a model leaves the size of its images open


def feature_pyramid(model):
    """Finds the last features of each size in a network.

    A level `"Pn"` is 2 to the power n times smaller than the images. Networks
    with the ImageNet stem have P2 to P5; those with the CIFAR stem P0, P1 and
    P2, or P3; dilated ones, which segment, P2 and P3. Hand the result to
    `keras.Model` as outputs. A ResT's features have channels last in either
    `data_format`.

    Args:
        model: `keras.Model` built by this package, with or without top, or
            loaded from a file. EAMLP has no maps, and so no pyramid.

    Returns:
        Dictionary of Keras tensors, largest map first.

    Example:

    >>> model = keras_ratn.CifarAttention56(include_top=False)
    >>> pyramid = keras_ratn.feature_pyramid(model)
    >>> {level: tensor.shape[1:] for level, tensor in pyramid.items()}
    {'P0': (32, 32, 64), 'P1': (16, 16, 128), 'P2': (8, 8, 256)}
    """
    stages = _last_of_stages(model)
    stem = next((x for x in model.layers if x.name.startswith("stem")), None)
    if not stages or stem is None:
        names = [layer.name for layer in model.layers]
        raise ValueError(
            "`feature_pyramid` needs a network of this package: layers named "
            "after its stages, 'stem...', 'stage1_...', were expected. "
            f"Received: model {model.name!r}, whose first layers are "
            f"{names[:5]}"
        )
    # Later stages of the same size take the place of earlier ones.
    return {
        f"P{level}": tensor
        for level, tensor in zip(_levels(model, stem, stages), stages)
    }


def _last_of_stages(model):
    """The output of the last layer of each stage."""
    last = {}
    for layer in model.layers:
        prefix = layer.name.split("_")[0]
        if prefix == "final":  # belongs to the stage before it
            prefix = next(reversed(last), None)
        if prefix and (prefix.startswith("stage") or prefix == "tail"):
            last[prefix] = layer.output
    return list(last.values())


def _levels(model, stem, tensors):
    """How many times the size of each tensor is halved."""
    shape = [size or NOMINAL_SIZE for size in model.inputs[0].shape]
    # The stem's input: layers before it may have resized the images.
    images, *shapes = keras.Model(
        model.inputs, [stem.input, *tensors]
    ).compute_output_shape(shape)
    # Not the model's layout: a ResT computes channels-last in either.
    axes = _common.spatial_axes(stem.data_format)
    size, *sizes = ([shape[a] for a in axes] for shape in (images, *shapes))
    return [_halvings(size, features) for features in sizes]


def _halvings(image_size, size):
    for level in range(MAX_LEVEL + 1):
        if size == [-(-length // 2**level) for length in image_size]:
            return level
    raise ValueError(
        "`feature_pyramid` needs features whose size is that of the images, "
        f"halved up to {MAX_LEVEL} times. Received: features of "
        f"{size} for images of {image_size} pixels"
    )
