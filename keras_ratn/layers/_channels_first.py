"""Channels-first layers that also run where only channels-last kernels exist.

TensorFlow has no channels-first convolution or pooling for processors without
its oneDNN build's instructions (and never eagerly). There, these layers
transpose, compute channels-last and transpose back; anywhere else they are
Keras's own. They keep Keras's class names because class names are the keys of
weights files: the same file serves both layouts.
"""

import functools

import keras
from keras import ops


@functools.cache
def _needs_channels_last():
    return (
        keras.backend.backend() == "tensorflow"
        and not keras.distribution.list_devices("gpu")
    )


class _Transposing:
    """Runs the `call` of the Keras layer behind it between transpositions."""

    def call(self, inputs):
        if not _needs_channels_last():
            return super().call(inputs)
        x = ops.transpose(inputs, (0, 2, 3, 1))
        self.data_format = "channels_last"
        try:
            x = super().call(x)
        finally:
            self.data_format = "channels_first"
        return ops.transpose(x, (0, 3, 1, 2))


@keras.saving.register_keras_serializable(package="keras_ratn")
class Conv2D(_Transposing, keras.layers.Conv2D):
    """A channels-first convolution."""


@keras.saving.register_keras_serializable(package="keras_ratn")
class DepthwiseConv2D(_Transposing, keras.layers.DepthwiseConv2D):
    """A channels-first depthwise convolution."""


@keras.saving.register_keras_serializable(package="keras_ratn")
class MaxPooling2D(_Transposing, keras.layers.MaxPooling2D):
    """A channels-first max-pooling."""


@keras.saving.register_keras_serializable(package="keras_ratn")
class AveragePooling2D(_Transposing, keras.layers.AveragePooling2D):
    """A channels-first average-pooling."""


def layer_class(name, data_format):
    """Keras's layer of that name, or its channels-first stand-in."""
    if data_format == "channels_last":
        return getattr(keras.layers, name)
    return globals()[name]
