"""From pixels to what the networks take, and from their outputs to names."""

import keras
import numpy as np
from keras import ops

from keras_ratn.layers import _common
from keras_ratn.layers.classification_head import ClassificationHead
from keras_ratn.layers.classification_head import ClassScores
from keras_ratn.models.architecture import FAMILIES


def preprocessing_layer(family, channels, data_format, **kwargs):
    """The layer that scales pixels 0-255 as the family's networks want it."""
    if channels != 3:
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0, **kwargs)
    statistics = FAMILIES[family]
    return keras.layers.Normalization(
        axis=_common.channel_axis(data_format),
        mean=statistics.mean,
        # Normalization takes variances.
        variance=tuple(d**2 for d in statistics.deviation),
        **kwargs,
    )


def preprocess_input(images, family="imagenet", data_format=None):
    """Scales pixels 0-255 for a network built without preprocessing.

    Networks have this step inside unless they are built with
    `include_preprocessing=False`: then, and only then, call this function.
    Images of 3 channels lose the family's mean and are divided by its
    deviation, colour by colour; any others are scaled to [-1, 1].

    Args:
        images: Array or tensor of pixels 0-255, of an integer or floating
            dtype: one image (3D) or a batch (4D).
        family: String, `"imagenet"` or `"cifar"`. Defaults to `"imagenet"`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.

    Returns:
        Tensor of the same shape, in Keras's default float dtype.

    Example:

    >>> import numpy as np
    >>> white = np.full((1, 32, 32, 1), 255, "uint8")
    >>> float(keras_ratn.preprocess_input(white)[0, 0, 0, 0])
    1.0
    """
    _common.one_of("family", family, FAMILIES)
    data_format = _common.standard_data_format(data_format)
    images = _checked_pixels(images)
    channels = images.shape[-1 if data_format == "channels_last" else -3]
    if channels is None:  # 3 or not decides how they are scaled
        raise ValueError(
            "The number of channels must be known. Set the shape of the "
            f"images beforehand. Received: shape={tuple(images.shape)}"
        )
    images = ops.cast(images, keras.config.floatx())
    if channels != 3:
        return images / 127.5 - 1.0
    statistics = FAMILIES[family]
    shape = (3,) if data_format == "channels_last" else (3, 1, 1)
    mean = np.reshape(statistics.mean, shape).astype("float32")
    deviation = np.reshape(statistics.deviation, shape).astype("float32")
    # `ops`, since PyTorch tensors and NumPy arrays do not mix by operators.
    return ops.divide(ops.subtract(images, mean), deviation)


def _checked_pixels(images):
    """Raises unless `images` can be pixels 0-255."""
    if isinstance(images, (list, tuple)):
        images = np.asarray(images)
    dtype = getattr(images, "dtype", type(images).__name__)
    dtype = str(getattr(dtype, "name", dtype)).removeprefix("torch.")
    if not dtype.startswith(("uint", "int", "float", "bfloat")):
        raise ValueError(
            "Images must be an array or tensor of an integer or floating "
            f"dtype, holding pixels from 0 to 255. Received: dtype={dtype}"
        )
    if images.ndim not in (3, 4):
        raise ValueError(
            "Images must be one image of 3 dimensions or a batch of 4. "
            f"Received: shape={images.shape}"
        )
    values = _values(images)
    if values is None:
        return images  # inside a traced function only dtype and shape show
    if values.size == 0:
        raise ValueError(
            f"Images must not be empty. Received: shape={tuple(values.shape)}"
        )
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 255):  # also false for NaN
        raise ValueError(
            "Pixels must lie between 0 and 255. "
            f"Received values from {low:g} to {high:g}."
        )
    if "float" in dtype and 0 < high <= 1:
        raise ValueError(
            "Pixels must lie between 0 and 255, but these floats end at "
            f"{high:g} and look scaled already. Multiply them by 255, or "
            "leave this function out."
        )
    return images


def _values(images):
    """The pixels as a NumPy array, `None` where they are not known yet."""
    if isinstance(images, keras.KerasTensor):
        return None
    try:
        return ops.convert_to_numpy(images)
    except Exception:  # each backend has its own error for a traced tensor
        return None


def class_names(model):
    """The class names that a network carries.

    Args:
        model: `keras.Model`, built by this package or loaded from a file.

    Returns:
        List of strings in the order of the outputs, or `None`.

    Example:

    >>> model = keras_ratn.CifarAttention56(classes=2, class_names=["a", "b"])
    >>> keras_ratn.class_names(model)
    ['a', 'b']
    """
    for layer in reversed(model.layers):
        if isinstance(layer, (ClassificationHead, ClassScores)):
            names = layer.class_names
            return None if names is None else list(names)
        if isinstance(layer, keras.Model) and class_names(layer):
            return class_names(layer)
    return None


def decode_predictions(predictions, top=5, *, model=None, class_names=None):
    """Names the classes with the highest scores.

    Args:
        predictions: Array or tensor `(batch_size, classes)` of scores.
        top: Integer. How many classes to name. Defaults to `5`.
        model: Optional `keras.Model` whose own class names to use.
        class_names: Optional list of strings to use instead. Without either,
            1000 scores are taken to be ImageNet's classes, whose names Keras
            finds (it downloads them once).

    Returns:
        One list for each sample, of `(class, name, score)`, best first. The
        class is its index, or the WordNet id for ImageNet's.

    Example:

    >>> import numpy as np
    >>> scores = np.array([[0.2, 0.7, 0.1]])
    >>> names = ["cat", "dog", "owl"]
    >>> keras_ratn.decode_predictions(scores, top=1, class_names=names)
    [[(1, 'dog', 0.7)]]
    """
    scores = ops.convert_to_numpy(predictions)
    if scores.ndim != 2:
        raise ValueError(
            "`predictions` must have the shape (batch_size, classes). "
            f"Received: shape={tuple(scores.shape)}"
        )
    _common.positive_integer("top", top)
    if class_names is None and model is not None:
        class_names = _names_of(model)
    if class_names is None:
        if scores.shape[1] == 1000:
            decode = keras.applications.imagenet_utils.decode_predictions
            return decode(scores, top=top)
        raise ValueError(
            "The names of the classes are not known. Pass `class_names`, or a "
            "`model` that was built with `class_names`. Received: "
            f"predictions for {scores.shape[1]} classes."
        )
    if len(class_names) != scores.shape[1]:
        raise ValueError(
            "There must be one name for each class. Received: "
            f"{len(class_names)} names, predictions for {scores.shape[1]} "
            "classes."
        )
    # In float64, since the negative of a small integer wraps around.
    best = np.argsort(-scores.astype("float64"), axis=1, kind="stable")
    return [
        [(int(i), class_names[i], float(row[i])) for i in order[:top]]
        for row, order in zip(scores, best)
    ]


_names_of = class_names  # `decode_predictions` has an argument of that name
