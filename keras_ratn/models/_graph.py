"""Adding plain, named layers to a functional graph, all in one layout."""

import keras

from keras_ratn.layers import _common
from keras_ratn.layers._attention_layer import he_fan_out
from keras_ratn.layers._attention_layer import LAYER_NORM_EPSILON
from keras_ratn.layers._channels_first import layer_class


class Graph:
    """Calls layers of the convolutional networks on their tensors.

    Every method takes the tensor first and the layer's name last. Strided
    layers pad by the same number of pixels on all sides, as the authors do.

    Args:
        data_format: String, `"channels_last"` or `"channels_first"`.
        kernel_initializer: Function that returns an initializer.
    """

    def __init__(self, data_format, kernel_initializer=he_fan_out):
        self.data_format = data_format
        self.kernel_initializer = kernel_initializer
        self.common = {
            "data_format": data_format,
            "dtype": keras.config.dtype_policy(),
        }

    def channels(self, x):
        """The number of channels of a map."""
        return x.shape[_common.channel_axis(self.data_format)]

    def pad(self, x, pixels, name):
        """Zeros around a map."""
        return keras.layers.ZeroPadding2D(
            pixels, data_format=self.data_format, name=name
        )(x)

    def convolve(
        self,
        x,
        filters,
        kernel_size,
        name,
        strides=1,
        dilation_rate=1,
        groups=1,
        use_bias=False,
    ):
        """A convolution that keeps ceil(size / strides)."""
        if strides > 1 and kernel_size > 1:
            x = self.pad(x, (kernel_size - 1) // 2, f"{name}_padding")
        return layer_class("Conv2D", self.data_format)(
            filters,
            kernel_size,
            strides,
            padding="same" if strides == 1 else "valid",
            dilation_rate=dilation_rate,
            groups=groups,
            use_bias=use_bias,
            kernel_initializer=self.kernel_initializer(),
            name=f"{name}_conv",
            **self.common,
        )(x)

    def normalize(self, x, name):
        """Batch normalization."""
        return _common.batch_normalization(name=f"{name}_bn", **self.common)(x)

    def relu(self, x, name):
        """ReLU."""
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    def convolve_normalize(self, x, filters, kernel_size, name, **kwargs):
        """Convolution and batch normalization."""
        x = self.convolve(x, filters, kernel_size, name, **kwargs)
        return self.normalize(x, name)

    def convolve_normalize_relu(self, x, filters, kernel_size, name, **kwargs):
        """Convolution, batch normalization and ReLU."""
        x = self.convolve_normalize(x, filters, kernel_size, name, **kwargs)
        return self.relu(x, name)

    def max_pool(self, x, name):
        """3x3 of stride 2; zeros around are right for maps after ReLU."""
        x = self.pad(x, 1, f"{name}_padding")
        return layer_class("MaxPooling2D", self.data_format)(
            3, 2, padding="valid", name=name, **self.common
        )(x)

    def average_pool(self, x, size, strides, name, padding="valid"):
        """Average-pooling."""
        return layer_class("AveragePooling2D", self.data_format)(
            size, strides, padding=padding, name=name, **self.common
        )(x)

    def concatenate(self, tensors, name):
        """Maps side by side, along their channels."""
        axis = _common.channel_axis(self.data_format)
        return keras.layers.Concatenate(axis=axis, name=name)(tensors)


def layer_normalize(x, name):
    """Layer normalization over the last axis."""
    return keras.layers.LayerNormalization(
        epsilon=LAYER_NORM_EPSILON, name=name
    )(x)


def feed_forward(x, hidden, dropout_rate, name):
    """Two dense layers with the exact GELU between them."""
    channels = x.shape[-1]
    x = keras.layers.Dense(
        hidden, kernel_initializer=truncated_normal(), name=f"{name}_fc1"
    )(x)
    x = keras.layers.Activation("gelu", name=f"{name}_gelu")(x)
    if dropout_rate:
        x = keras.layers.Dropout(dropout_rate, name=f"{name}_dropout1")(x)
    x = keras.layers.Dense(
        channels, kernel_initializer=truncated_normal(), name=f"{name}_fc2"
    )(x)
    if dropout_rate:
        x = keras.layers.Dropout(dropout_rate, name=f"{name}_dropout2")(x)
    return x


def add_residual(x, residual, drop_rate, name):
    """Adds the residual, which training leaves out at times (drop path)."""
    if drop_rate:
        # One draw for each sample.
        noise_shape = (None,) + (1,) * (len(x.shape) - 1)
        residual = keras.layers.Dropout(
            drop_rate, noise_shape=noise_shape, name=f"{name}_drop_path"
        )(residual)
    return keras.layers.Add(name=f"{name}_add")([x, residual])


def truncated_normal():
    """What transformers start their kernels with."""
    return keras.initializers.TruncatedNormal(stddev=0.02)
