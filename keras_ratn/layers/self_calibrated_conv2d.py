"""The self-calibrated convolution of SCNet."""

import keras
import numpy as np
from keras import ops

from keras_ratn.layers import _attention_layer
from keras_ratn.layers import _common
from keras_ratn.layers._channels_first import layer_class


@keras.saving.register_keras_serializable(package="keras_ratn")
class SelfCalibratedConv2D(_attention_layer.Gate):
    """A 3x3 convolution that looks at a smaller copy of its input first.

    The copy, shrunk by average-pooling, is convolved and enlarged again; the
    sigmoid of its sum with the input is a mask on the convolved input, and a
    last convolution follows. Each of the three convolutions is followed by
    batch normalization and none by an activation. Channels stay as they are.

    The copy is enlarged to the nearest pixel as in the authors' code (the
    paper says bilinearly), with PyTorch's rule `floor(i * small / large)`:
    rows and columns that the pooling dropped reuse the last ones it made.

    Reference:
    - [Improving Convolutional Networks with Self-Calibrated Convolutions (Liu
        et al., 2020)](https://mftp.mmcheng.net/Papers/20cvprSCNet.pdf)

    Args:
        strides: Integer. Stride of the last convolution. Defaults to `1`.
        dilation_rate: Integer. Dilation of all convolutions. Defaults to `1`.
        pool_size: Integer. How much smaller the copy is. Maps must be at
            least as large. Defaults to `4`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: 4D tensor.
        training: Boolean. Whether batch normalization uses and learns from
            the batch's own statistics.
        return_attention_mask: Boolean. Whether to return a pair `(outputs,
            mask)`. Defaults to `False`.

    Input shape:
        `(batch_size, height, width, channels)` for `"channels_last"`.

    Output shape:
        `(batch_size, ceil(height / strides), ceil(width / strides),
        channels)` for `"channels_last"`; the mask has the input's shape.

    Example:

    >>> x = keras.random.normal((1, 14, 14, 8))
    >>> tuple(keras_ratn.layers.SelfCalibratedConv2D()(x).shape)
    (1, 14, 14, 8)
    """

    def __init__(
        self,
        strides=1,
        dilation_rate=1,
        pool_size=4,
        data_format=None,
        **kwargs,
    ):
        super().__init__(data_format, **kwargs)
        self.strides = _common.positive_integer("strides", strides)
        self.dilation_rate = _common.positive_integer(
            "dilation_rate", dilation_rate
        )
        if strides > 1 and dilation_rate > 1:
            raise ValueError(
                "A SelfCalibratedConv2D cannot be strided and dilated at "
                f"once. Received: strides={strides}, "
                f"dilation_rate={dilation_rate}"
            )
        self.pool_size = _common.positive_integer("pool_size", pool_size)

    def build(self, input_shape):
        self._check_size(input_shape)
        channels = self._channels(input_shape)
        self.pool = layer_class("AveragePooling2D", self.data_format)(
            self.pool_size,
            data_format=self.data_format,
            dtype=self.dtype_policy,
            name="pool",
        )
        self.pool.build(input_shape)
        for prefix in ("small", "features", "last"):
            strides = self.strides if prefix == "last" else 1
            conv = self._convolution(
                channels,
                3,
                f"{prefix}_conv",
                strides,
                dilation_rate=self.dilation_rate,
            )
            bn = self._batch_normalization(f"{prefix}_bn")
            setattr(self, f"{prefix}_conv", conv)
            setattr(self, f"{prefix}_bn", bn)
            # No weight depends on the height or the width.
            conv.build(self._any_size(input_shape))
            bn.build(input_shape)
        self.padding = None
        if self.strides > 1:
            self.padding = self._padding(1, "padding", input_shape)

    def _check_size(self, shape):
        sizes = [shape[a] for a in _common.spatial_axes(self.data_format)]
        if any(s is not None and s < self.pool_size for s in sizes):
            raise ValueError(
                "A SelfCalibratedConv2D needs height and width of at least "
                f"its `pool_size`. Received: input_shape={tuple(shape)} with "
                f"data_format={self.data_format!r} and "
                f"pool_size={self.pool_size}. Use larger images or a smaller "
                "`pool_size`."
            )

    def attention_mask(self, inputs, training=None):
        """The mask for these inputs, not applied to them."""
        small = self.small_conv(self.pool(inputs))
        small = self.small_bn(small, training=training)
        return ops.sigmoid(inputs + self._enlarge(small, ops.shape(inputs)))

    def _enlarge(self, x, shape):
        """Nearest neighbours at indices `floor(i * small / large)`."""
        for axis in _common.spatial_axes(self.data_format):
            small, large = ops.shape(x)[axis], shape[axis]
            static = isinstance(small, int) and isinstance(large, int)
            xp = np if static else ops
            index = xp.arange(large, dtype="int32") * small // large
            x = ops.take(x, index, axis=axis)
        return x

    def call(self, inputs, training=None, return_attention_mask=False):
        self._check_size(inputs.shape)
        mask = self.attention_mask(inputs, training)
        x = self.features_bn(self.features_conv(inputs), training=training)
        x = ops.multiply(x, mask)
        if self.padding is not None:
            x = self.padding(x)
        outputs = self.last_bn(self.last_conv(x), training=training)
        return (outputs, mask) if return_attention_mask else outputs

    def compute_output_shape(self, input_shape):
        return _common.strided_shape(
            input_shape, self.strides, self.data_format
        )

    def _mask_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "strides": self.strides,
            "dilation_rate": self.dilation_rate,
            "pool_size": self.pool_size,
        }
