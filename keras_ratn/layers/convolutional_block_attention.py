"""The Convolutional Block Attention Module (CBAM)."""

import keras
from keras import ops

from keras_ratn.layers import _attention_layer
from keras_ratn.layers import _common


@keras.saving.register_keras_serializable(package="keras_ratn")
class ConvolutionalBlockAttention(_attention_layer.Gate):
    """Weighs the channels, then the positions, of its input.

    The channel gate adds what one small network makes of each channel's mean
    and of its maximum. The spatial gate convolves the maximum and the mean
    over the channels of what the first gate let through.

    The spatial gate starts at a half everywhere (its batch normalization's
    gamma starts at 0), as in the authors' code. That code gives this batch
    normalization a slower momentum (0.99); here it has the package's 0.9.

    Reference:
    - [CBAM: Convolutional Block Attention Module (Woo et al., 2018)](
        https://arxiv.org/abs/1807.06521)

    Args:
        reduction_ratio: Integer. By how much the hidden layer of the channel
            gate is narrower than the input. Defaults to `16`.
        kernel_size: Odd integer. Size of the spatial gate's convolution.
            Defaults to `7`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: 4D tensor.
        training: Boolean. Whether batch normalization uses and learns from
            the batch's own statistics.
        return_attention_mask: Boolean. Whether to return a pair `(outputs,
            mask)`, the mask being the product of both gates. Defaults to
            `False`.

    Input shape:
        `(batch_size, height, width, channels)` for `"channels_last"`.

    Output shape:
        The same as the input's, and so is the mask's.

    Example:

    >>> x = keras.random.normal((1, 8, 8, 32))
    >>> tuple(keras_ratn.layers.ConvolutionalBlockAttention()(x).shape)
    (1, 8, 8, 32)
    """

    def __init__(
        self, reduction_ratio=16, kernel_size=7, data_format=None, **kwargs
    ):
        super().__init__(data_format, **kwargs)
        self.reduction_ratio = _common.positive_integer(
            "reduction_ratio", reduction_ratio
        )
        _common.positive_integer("kernel_size", kernel_size)
        if kernel_size % 2 == 0:
            raise ValueError(
                "`kernel_size` of ConvolutionalBlockAttention must be odd, so "
                "that the mask is centred. "
                f"Received: kernel_size={kernel_size}"
            )
        self.kernel_size = kernel_size

    def build(self, input_shape):
        channels = self._channels(input_shape)
        hidden = _attention_layer.reduced_channels(
            channels, self.reduction_ratio
        )
        self.squeeze = self._dense(hidden, "squeeze", activation="relu")
        self.excite = self._dense(channels, "excite")
        self._build_chain([self.squeeze, self.excite], (None, channels))
        self.spatial_conv = self._convolution(
            1, self.kernel_size, "spatial_conv"
        )
        self.spatial_bn = self._batch_normalization(
            "spatial_bn", gamma_initializer="zeros"
        )
        pooled = _common.with_channels(input_shape, 2, self.data_format)
        self._build_chain([self.spatial_conv, self.spatial_bn], pooled)

    def call(self, inputs, training=None, return_attention_mask=False):
        channel_mask = self._channel_mask(inputs)
        x = ops.multiply(inputs, channel_mask)
        spatial_mask = self._spatial_mask(x, training)
        outputs = ops.multiply(x, spatial_mask)
        if not return_attention_mask:
            return outputs
        return outputs, ops.multiply(channel_mask, spatial_mask)

    def _channel_mask(self, x):
        maximum = ops.max(x, axis=_common.spatial_axes(self.data_format))
        logits = self.excite(self.squeeze(self._global_average(x)))
        logits = logits + self.excite(self.squeeze(maximum))
        return self._as_map(ops.sigmoid(logits))

    def _spatial_mask(self, x, training):
        axis = _common.channel_axis(self.data_format)
        pooled = ops.concatenate(
            [
                ops.max(x, axis=axis, keepdims=True),
                ops.mean(x, axis=axis, keepdims=True),
            ],
            axis=axis,
        )
        logits = self.spatial_bn(self.spatial_conv(pooled), training=training)
        return ops.sigmoid(logits)

    def _mask_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "reduction_ratio": self.reduction_ratio,
            "kernel_size": self.kernel_size,
        }
