"""The paper's three ways to turn mask logits into a mask."""

import keras
from keras import ops

from keras_ratn.layers import _common

MASK_ACTIVATIONS = ("mixed", "channel", "spatial")


@keras.saving.register_keras_serializable(package="keras_ratn")
class MaskActivation(keras.Layer):
    """Turns mask logits into a mask, by one of the paper's three functions.

    * `"mixed"` (*f1*): `sigmoid(x)`, no constraint between positions or
      channels; the paper's choice.
    * `"channel"` (*f2*): `x / ||x||`, the L2 norm taken over the channels of
      each position. There is no sigmoid: values lie in [-1, 1].
    * `"spatial"` (*f3*): `sigmoid((x - mean) / deviation)`, both taken over
      the positions of each channel's map.

    The norms and statistics are computed in float32 whatever the precision.

    Reference:
    - [Residual Attention Network for Image Classification (Wang et al., 2017)](
        https://arxiv.org/abs/1704.06904), section 3.2

    Args:
        mode: String, `"mixed"`, `"channel"` or `"spatial"`. Defaults to
            `"mixed"`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Input shape:
        4D tensor of logits.

    Output shape:
        The same as the input's.

    Example:

    >>> x = keras.ops.zeros((1, 2, 2, 3))
    >>> float(keras_ratn.layers.MaskActivation("mixed")(x)[0, 0, 0, 0])
    0.5
    """

    # Keeps the norm of an all-zero position and the deviation of a constant
    # map away from a division by zero.
    EPSILON = 1e-6

    def __init__(self, mode="mixed", data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.mode = _common.one_of("mode", mode, MASK_ACTIVATIONS)
        self.data_format = _common.standard_data_format(data_format)

    def call(self, inputs):
        if self.mode == "mixed":
            return ops.sigmoid(inputs)
        x = ops.cast(inputs, "float32")
        if self.mode == "channel":
            # In these operations LiteRT's converter sees L2_NORMALIZATION.
            axis = _common.channel_axis(self.data_format)
            squared_norm = ops.sum(ops.square(x), axis=axis, keepdims=True)
            x = x * ops.rsqrt(ops.maximum(squared_norm, self.EPSILON**2))
        else:
            # A product, because LiteRT cannot square 8-bit integers.
            axes = _common.spatial_axes(self.data_format)
            x = x - ops.mean(x, axis=axes, keepdims=True)
            variance = ops.mean(ops.multiply(x, x), axis=axes, keepdims=True)
            x = ops.sigmoid(x * ops.rsqrt(variance + self.EPSILON))
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "mode": self.mode,
            "data_format": self.data_format,
        }
