"""What every layer shares: argument checks, and our kind of convolution."""

import keras

from keras_ratn.layers._batch_normalization import BatchNormalization
from keras_ratn.layers._channels_first import layer_class

BATCH_NORM_EPSILON = 1e-5
# Keras's default of 0.99 lags so far behind in networks this deep that a
# freshly trained one evaluates at chance level.
BATCH_NORM_MOMENTUM = 0.9


def one_of(argument, value, allowed):
    """Returns `value` if it is allowed, else raises listing what is."""
    if value not in list(allowed):  # a dictionary would hash it
        raise ValueError(
            f"`{argument}` must be one of {list(allowed)}. "
            f"Received: {argument}={value!r}"
        )
    return value


def positive_integer(argument, value, minimum=1):
    """Returns `value` if it is an integer from `minimum` up, else raises."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if not is_integer or value < minimum:
        raise ValueError(
            f"`{argument}` must be an integer of at least {minimum}. "
            f"Received: {argument}={value!r}"
        )
    return value


def known_activation(argument, value):
    """Returns `value` if Keras takes it for an activation, else raises."""
    try:
        keras.activations.get(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{argument}` must be the name of an activation of Keras, a "
            f"function or None. Received: {argument}={value!r}"
        ) from error
    return value


def standard_data_format(data_format):
    """Fills in Keras's global layout where none is given."""
    if data_format is None:
        return keras.config.image_data_format()
    return one_of(
        "data_format", data_format, ("channels_first", "channels_last")
    )


def channel_axis(data_format):
    return -1 if data_format == "channels_last" else 1


def spatial_axes(data_format):
    return (1, 2) if data_format == "channels_last" else (2, 3)


def with_channels(shape, channels, data_format):
    """The 4D `shape` with its channel count replaced."""
    shape = list(shape)
    shape[channel_axis(data_format)] = channels
    return tuple(shape)


def strided_shape(shape, strides, data_format):
    """Shape after a convolution that keeps ceil(size / strides)."""
    shape = list(shape)
    for axis in spatial_axes(data_format):
        if shape[axis] is not None:
            shape[axis] = -(-shape[axis] // strides)
    return tuple(shape)


def convolution(
    filters, kernel_size, strides=1, *, data_format, dtype, name, **kwargs
):
    """A bias-free, He-initialised convolution.

    At stride 1 it keeps the size. A strided one is "valid": give it an input
    padded by `(kernel_size - 1) / 2` on *every* side, as the authors do.
    Keras's strided "same" pads even sizes on the bottom and right only, which
    gives different numbers.
    """
    return layer_class("Conv2D", data_format)(
        filters,
        kernel_size,
        strides,
        padding="same" if strides == 1 else "valid",
        use_bias=False,
        kernel_initializer="he_normal",
        data_format=data_format,
        dtype=dtype,
        name=name,
        **kwargs,
    )


def batch_normalization(*, data_format, dtype, name, **kwargs):
    """Batch normalization with the authors' epsilon and a fast momentum."""
    return BatchNormalization(
        axis=channel_axis(data_format),
        epsilon=BATCH_NORM_EPSILON,
        momentum=BATCH_NORM_MOMENTUM,
        dtype=dtype,
        name=name,
        **kwargs,
    )


def max_pooling(*, data_format, dtype, name):
    """3x3 max-pooling of stride 2 that keeps ceil(size / 2)."""
    return layer_class("MaxPooling2D", data_format)(
        3,
        2,
        padding="same",
        data_format=data_format,
        dtype=dtype,
        name=name,
    )
