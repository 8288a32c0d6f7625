"""Efficient Channel Attention (ECA-Net)."""

import math

import keras
from keras import ops

from keras_ratn.layers import _attention_layer
from keras_ratn.layers import _common


@keras.saving.register_keras_serializable(package="keras_ratn")
class EfficientChannelAttention(_attention_layer.Gate):
    """Weighs each channel by the averages of its neighbour channels.

    The mask is the sigmoid of a convolution of `kernel_size` taps along the
    channel axis of the channels' means, with zeros beyond the ends and no
    bias: as few as 3 weights, and no bottleneck.

    Reference:
    - [ECA-Net: Efficient Channel Attention for Deep Convolutional Neural
        Networks (Wang et al., 2020)](https://arxiv.org/abs/1910.03151)

    Args:
        kernel_size: Odd integer, or `None` for the paper's rule, which gives
            3 taps up to 64 channels, 5 from 128 to 1024 and 7 for 2048. The
            authors' own networks do not use the rule: their code takes 3
            everywhere, their checkpoints 3, 5, 5 and 7 in the stages of
            ResNet-50. Defaults to `3`.
        shared: Boolean. Whether all channels share the taps (ECA) or each has
            its own (ECA-NS). Defaults to `True`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: 4D tensor.
        return_attention_mask: Boolean. Whether to return a pair `(outputs,
            mask)`. Defaults to `False`.

    Input shape:
        `(batch_size, height, width, channels)` for `"channels_last"`.

    Output shape:
        The same as the input's; the mask is `(batch_size, 1, 1, channels)`.

    Example:

    >>> x = keras.random.normal((1, 8, 8, 32))
    >>> layer = keras_ratn.layers.EfficientChannelAttention(5)
    >>> tuple(layer(x).shape), layer.count_params()
    ((1, 8, 8, 32), 5)
    """

    # The paper's rule: the odd number at or above |(log2(C) + b) / gamma|.
    GAMMA = 2
    B = 1

    def __init__(self, kernel_size=3, shared=True, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        if kernel_size is not None:
            _common.positive_integer("kernel_size", kernel_size)
            if kernel_size % 2 == 0:
                raise ValueError(
                    "`kernel_size` of EfficientChannelAttention must be odd, "
                    "so that a channel has as many neighbours on each side, "
                    "or None for the paper's rule. "
                    f"Received: kernel_size={kernel_size}"
                )
        self.kernel_size = kernel_size
        self.shared = bool(shared)

    @classmethod
    def adaptive_kernel_size(cls, channels):
        """The number of taps that the paper's rule gives `channels`."""
        taps = int(abs((math.log2(channels) + cls.B) / cls.GAMMA))
        return taps if taps % 2 else taps + 1

    def build(self, input_shape):
        channels = self._channels(input_shape)
        self.taps = self.kernel_size or self.adaptive_kernel_size(channels)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.taps, 1 if self.shared else channels),
            initializer=keras.initializers.RandomUniform(
                -1 / math.sqrt(self.taps), 1 / math.sqrt(self.taps)
            ),
        )

    def _attention_mask(self, inputs, training=None):
        mean = self._global_average(inputs)
        channels = mean.shape[-1]
        margin = (self.taps - 1) // 2
        padded = ops.pad(mean, ((0, 0), (margin, margin)))
        kernel = ops.cast(self.kernel, mean.dtype)
        logits = sum(
            kernel[tap] * padded[:, tap : tap + channels]
            for tap in range(self.taps)
        )
        return self._as_map(ops.sigmoid(logits))

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "shared": self.shared,
        }
