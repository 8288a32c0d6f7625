"""What the layers of the attention family share.

They take maps in either layout, read the number of channels when they are
built, and can hand out the map that they weigh their input by.
"""

import keras
from keras import ops

from keras_ratn.layers import _common
from keras_ratn.layers._channels_first import layer_class
from keras_ratn.layers._composite import CompositeLayer

LAYER_NORM_EPSILON = 1e-5


def he_fan_out():
    """Normal of variance 2 / (kernel area * filters), whatever the groups."""
    return keras.initializers.VarianceScaling(
        2.0, "fan_out", "untruncated_normal"
    )


def uniform_fan_in():
    """Uniform within 1 / sqrt(fan_in): what PyTorch starts layers with."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def divisible(what, number, divisor, by, shape):
    """Raises unless `divisor` divides `number`."""
    if number % divisor:
        raise ValueError(
            f"{what} must be divisible by {by}. Received: {number} is not "
            f"divisible by {divisor}, with input_shape={tuple(shape)}"
        )


def reduced_channels(channels, reduction_ratio):
    """`channels // reduction_ratio`, or an error where nothing is left."""
    if reduction_ratio > channels:
        raise ValueError(
            "`reduction_ratio` must not be larger than the number of channels "
            f"that it divides. Received: reduction_ratio={reduction_ratio} "
            f"for {channels} channels. Use reduction_ratio={channels} or less."
        )
    return channels // reduction_ratio


def cast(x, dtype):
    """`ops.cast`, but no operation where there is nothing to do."""
    if keras.backend.standardize_dtype(x.dtype) == dtype:
        return x
    return ops.cast(x, dtype)


def softmax(x, axis):
    """Softmax in float32 whatever the precision of `x`."""
    dtype = keras.backend.standardize_dtype(x.dtype)
    return cast(ops.softmax(cast(x, "float32"), axis=axis), dtype)


def to_channels_last(x, data_format):
    """A map in the layout that tokens and dense layers want."""
    if data_format == "channels_last":
        return x
    return ops.transpose(x, (0, 2, 3, 1))


def from_channels_last(x, data_format):
    """The inverse of `to_channels_last`."""
    if data_format == "channels_last":
        return x
    return ops.transpose(x, (0, 3, 1, 2))


def channels_last_shape(shape, data_format):
    """The shape that `to_channels_last` gives."""
    if data_format == "channels_last":
        return tuple(shape)
    batch, channels, height, width = shape
    return (batch, height, width, channels)


def num_positions(shape, data_format):
    """Height times width, or `None` where one of them is not known."""
    height, width = (shape[a] for a in _common.spatial_axes(data_format))
    return None if None in (height, width) else height * width


class MapLayer(CompositeLayer):
    """A layer on maps: its layout, its sub-layers and its shapes."""

    def __init__(self, data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.data_format = _common.standard_data_format(data_format)

    def _channels(self, input_shape):
        return input_shape[_common.channel_axis(self.data_format)]

    def _convolution(
        self, filters, kernel_size, name, strides=1, use_bias=False, **kwargs
    ):
        """Keeps the size at stride 1; a strided one wants a padded input."""
        kwargs.setdefault("kernel_initializer", he_fan_out())
        kwargs.setdefault("data_format", self.data_format)
        return layer_class("Conv2D", kwargs["data_format"])(
            filters,
            kernel_size,
            strides,
            padding="same" if strides == 1 else "valid",
            use_bias=use_bias,
            dtype=self.dtype_policy,
            name=name,
            **kwargs,
        )

    def _dense(self, units, name, use_bias=True, **kwargs):
        kwargs.setdefault("kernel_initializer", uniform_fan_in())
        return keras.layers.Dense(
            units,
            use_bias=use_bias,
            dtype=self.dtype_policy,
            name=name,
            **kwargs,
        )

    def _batch_normalization(self, name, data_format=None, **kwargs):
        return _common.batch_normalization(
            data_format=data_format or self.data_format,
            dtype=self.dtype_policy,
            name=name,
            **kwargs,
        )

    def _padding(self, pixels, name, input_shape):
        """Zeros around the map, by a layer that is built."""
        padding = keras.layers.ZeroPadding2D(
            pixels,
            data_format=self.data_format,
            dtype=self.dtype_policy,
            name=name,
        )
        padding.build(input_shape)
        return padding

    def _any_size(self, shape):
        """The shape with height and width left open.

        Strided convolutions see padded maps: for the size of the unpadded
        one, a large kernel would refuse to be built.
        """
        shape = list(shape)
        for axis in _common.spatial_axes(self.data_format):
            shape[axis] = None
        return tuple(shape)

    def _build_chain(self, layers, shape):
        for layer in layers:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        return shape

    def _global_average(self, x):
        """`(batch, channels)`, averaged in float32."""
        axes = _common.spatial_axes(self.data_format)
        return cast(ops.mean(cast(x, "float32"), axis=axes), self.compute_dtype)

    def _as_map(self, vector):
        """`(batch, channels)` to one that multiplies a map."""
        return ops.expand_dims(vector, _common.spatial_axes(self.data_format))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "data_format": self.data_format}


class Gate(MapLayer):
    """A map layer that multiplies its input by a mask.

    A subclass computes the mask in `attention_mask` and, where this is not
    one number for each channel, says its shape in `_mask_shape`.
    """

    def call(self, inputs, training=None, return_attention_mask=False):
        mask = self.attention_mask(inputs, training)
        outputs = ops.multiply(inputs, mask)
        return (outputs, mask) if return_attention_mask else outputs

    def _mask_shape(self, input_shape):
        shape = list(input_shape)
        for axis in _common.spatial_axes(self.data_format):
            shape[axis] = 1
        return tuple(shape)

    def compute_output_spec(
        self, inputs, training=None, return_attention_mask=False
    ):
        outputs = keras.KerasTensor(
            self.compute_output_shape(inputs.shape), dtype=self.compute_dtype
        )
        if not return_attention_mask:
            return outputs
        mask = keras.KerasTensor(
            self._mask_shape(inputs.shape), dtype=self.compute_dtype
        )
        return outputs, mask


class ScoredLayer(MapLayer):
    """A map layer that can return the softmax scores it mixes its input by.

    A subclass says their shape in `_scores_shape`.
    """

    def compute_output_spec(
        self, inputs, training=None, return_attention_scores=False
    ):
        outputs = keras.KerasTensor(
            self.compute_output_shape(inputs.shape), dtype=self.compute_dtype
        )
        if not return_attention_scores:
            return outputs
        scores = keras.KerasTensor(
            self._scores_shape(inputs.shape), dtype=self.compute_dtype
        )
        return outputs, scores
