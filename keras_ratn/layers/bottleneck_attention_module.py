"""The Bottleneck Attention Module (BAM)."""

import keras
from keras import ops

from keras_ratn.layers import _attention_layer
from keras_ratn.layers import _common

BAM_COMBINATIONS = ("product", "sum")
BAM_NORMALIZATIONS = ("hidden", "final")


@keras.saving.register_keras_serializable(package="keras_ratn")
class BottleneckAttentionModule(_attention_layer.Gate):
    """Strengthens what a channel map and a spatial map point at together.

    The channel map comes from the channels' means through two dense layers,
    the spatial map from 1x1, two dilated 3x3 and 1x1 convolutions. Combined,
    they give the mask *M*, and the output is `x * (1 + M)`. The authors put
    one such module between the stages of a network, where it is narrowest.

    Paper and code disagree twice, and both are offered. The paper adds the
    two maps before the sigmoid, the code multiplies them. The code follows
    every hidden layer by batch normalization and ReLU; the paper's equations
    have one batch normalization at the end of each branch and nothing else.

    Reference:
    - [BAM: Bottleneck Attention Module (Park et al., 2018)](
        https://arxiv.org/abs/1807.06514)

    Args:
        reduction_ratio: Integer. By how much both branches are narrower than
            the input. Defaults to `16`.
        dilation_rate: Integer. Dilation of the 3x3 convolutions. Defaults to
            `4`.
        combine: String, `"product"` (the authors' code) or `"sum"` (the
            paper). Defaults to `"product"`.
        normalization: String, `"hidden"` (the authors' code) or `"final"`
            (the paper's equations). Defaults to `"hidden"`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: 4D tensor.
        training: Boolean. Whether batch normalization uses and learns from
            the batch's own statistics.
        return_attention_mask: Boolean. Whether to return a pair `(outputs,
            mask)`, the mask being *M*. Defaults to `False`.

    Input shape:
        `(batch_size, height, width, channels)` for `"channels_last"`.

    Output shape:
        The same as the input's, and so is the mask's.

    Example:

    >>> x = keras.random.normal((2, 8, 8, 32))
    >>> tuple(keras_ratn.layers.BottleneckAttentionModule()(x).shape)
    (2, 8, 8, 32)
    """

    NUM_DILATED = 2

    def __init__(
        self,
        reduction_ratio=16,
        dilation_rate=4,
        combine="product",
        normalization="hidden",
        data_format=None,
        **kwargs,
    ):
        super().__init__(data_format, **kwargs)
        self.reduction_ratio = _common.positive_integer(
            "reduction_ratio", reduction_ratio
        )
        self.dilation_rate = _common.positive_integer(
            "dilation_rate", dilation_rate
        )
        self.combine = _common.one_of("combine", combine, BAM_COMBINATIONS)
        self.normalization = _common.one_of(
            "normalization", normalization, BAM_NORMALIZATIONS
        )

    def build(self, input_shape):
        channels = self._channels(input_shape)
        hidden = _attention_layer.reduced_channels(
            channels, self.reduction_ratio
        )
        # Each branch is a list of layers, run in order.
        self.channel_branch = self._branch(
            "channel",
            [
                self._dense(hidden, "channel_squeeze"),
                self._dense(channels, "channel_excite"),
            ],
            # The means are vectors: their channels are last in any layout.
            data_format="channels_last",
        )
        dilated = [
            self._convolution(
                hidden,
                3,
                f"spatial_dilated{index + 1}",
                use_bias=True,
                dilation_rate=self.dilation_rate,
            )
            for index in range(self.NUM_DILATED)
        ]
        self.spatial_branch = self._branch(
            "spatial",
            [
                self._convolution(hidden, 1, "spatial_squeeze", use_bias=True),
                *dilated,
                self._convolution(1, 1, "spatial_map", use_bias=True),
            ],
            data_format=self.data_format,
        )
        self._build_chain(self.channel_branch, (None, channels))
        self._build_chain(self.spatial_branch, input_shape)

    def _branch(self, name, weighted, data_format):
        """Adds to the weighted layers the normalization that was chosen."""
        if self.normalization == "final":
            bn = self._batch_normalization(f"{name}_bn", data_format)
            return [*weighted, bn]
        branch = []
        for index, layer in enumerate(weighted[:-1]):
            bn = self._batch_normalization(f"{name}_bn{index + 1}", data_format)
            relu = keras.layers.ReLU(dtype=self.dtype_policy)
            branch += [layer, bn, relu]
        return [*branch, weighted[-1]]

    def _chain(self, branch, x, training):
        for layer in branch:
            if isinstance(layer, keras.layers.BatchNormalization):
                x = layer(x, training=training)
            else:
                x = layer(x)
        return x

    def _attention_mask(self, inputs, training=None):
        channel_map = self._as_map(
            self._chain(
                self.channel_branch, self._global_average(inputs), training
            )
        )
        spatial_map = self._chain(self.spatial_branch, inputs, training)
        if self.combine == "sum":
            return ops.sigmoid(channel_map + spatial_map)
        return ops.sigmoid(channel_map * spatial_map)

    def call(self, inputs, training=None, return_attention_mask=False):
        mask = self._attention_mask(inputs, training)
        outputs = inputs + inputs * mask
        return (outputs, mask) if return_attention_mask else outputs

    def _mask_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "reduction_ratio": self.reduction_ratio,
            "dilation_rate": self.dilation_rate,
            "combine": self.combine,
            "normalization": self.normalization,
        }
