"""Squeeze-and-Excitation, and the variants that ECA's authors studied."""

import keras
from keras import ops

from keras_ratn.layers import _attention_layer
from keras_ratn.layers import _common

SQUEEZE_EXCITE_VARIANTS = ("bottleneck", "var1", "var2", "var3", "grouped")


@keras.saving.register_keras_serializable(package="keras_ratn")
class SqueezeExcite(_attention_layer.Gate):
    """Weighs each channel by what all channels are on average.

    The mask is `sigmoid(f(y))`, *y* being the mean of each channel. The
    variants differ in *f*:

    | `variant` | *f(y)* | weights for *C* channels |
    | --- | --- | --- |
    | `"bottleneck"` | `W2 relu(W1 y)`, the layer of the SE paper | 2C²/r |
    | `"var1"` | `y` | 0 |
    | `"var2"` | `w * y`, a weight for each channel | C |
    | `"var3"` | `W y` | C² |
    | `"grouped"` | `W y`, *W* block-diagonal in *G* groups | C²/G |

    Reference:
    - [Squeeze-and-Excitation Networks (Hu et al., 2018)](
        https://arxiv.org/abs/1709.01507)
    - [ECA-Net (Wang et al., 2020)](https://arxiv.org/abs/1910.03151), table 1,
        for the variants

    Args:
        reduction_ratio: Integer. By how much the bottleneck is narrower than
            the input (*r*). Defaults to `16`.
        variant: String, one of the table above. Defaults to `"bottleneck"`.
        use_bias: Boolean. Whether the bottleneck's two dense layers have
            biases: yes in the authors' networks, no in the accounts of ECA's
            authors. Defaults to `True`.
        groups: Integer. Groups of the `"grouped"` variant. Defaults to `16`.
        group_size: Optional integer. Channels in each group, in place of
            `groups`. Defaults to `None`.
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
    >>> tuple(keras_ratn.layers.SqueezeExcite()(x).shape)
    (1, 8, 8, 32)
    """

    def __init__(
        self,
        reduction_ratio=16,
        variant="bottleneck",
        use_bias=True,
        groups=16,
        group_size=None,
        data_format=None,
        **kwargs,
    ):
        super().__init__(data_format, **kwargs)
        self.reduction_ratio = _common.positive_integer(
            "reduction_ratio", reduction_ratio
        )
        self.variant = _common.one_of(
            "variant", variant, SQUEEZE_EXCITE_VARIANTS
        )
        self.use_bias = bool(use_bias)
        self.groups = _common.positive_integer("groups", groups)
        if group_size is not None:
            _common.positive_integer("group_size", group_size)
        self.group_size = group_size

    def build(self, input_shape):
        channels = self._channels(input_shape)
        vector = (None, channels)
        if self.variant == "bottleneck":
            hidden = _attention_layer.reduced_channels(
                channels, self.reduction_ratio
            )
            self.squeeze = self._dense(
                hidden, "squeeze", self.use_bias, activation="relu"
            )
            self.excite = self._dense(channels, "excite", self.use_bias)
            self._build_chain([self.squeeze, self.excite], vector)
        elif self.variant == "var2":
            self.scale = self.add_weight(
                name="scale", shape=(channels,), initializer="ones"
            )
        elif self.variant == "var3":
            self.excite = self._dense(channels, "excite", use_bias=False)
            self.excite.build(vector)
        elif self.variant == "grouped":
            self._build_grouped(channels, input_shape)

    def _build_grouped(self, channels, input_shape):
        divisor, by = self.groups, "`groups`"
        if self.group_size is not None:
            divisor, by = self.group_size, "`group_size`"
        _attention_layer.divisible(
            "The number of channels", channels, divisor, by, input_shape
        )
        groups = self.groups
        if self.group_size is not None:
            groups = channels // self.group_size
        self.excite = self._convolution(
            channels,
            1,
            "excite",
            groups=groups,
            kernel_initializer=_attention_layer.uniform_fan_in(),
            data_format="channels_last",
        )
        self.excite.build((None, 1, 1, channels))

    def _attention_mask(self, inputs, training=None):
        x = self._global_average(inputs)
        if self.variant == "bottleneck":
            x = self.excite(self.squeeze(x))
        elif self.variant == "var2":
            x = x * ops.cast(self.scale, x.dtype)
        elif self.variant == "var3":
            x = self.excite(x)
        elif self.variant == "grouped":
            x = self.excite(ops.expand_dims(x, (1, 2)))
            x = ops.squeeze(x, (1, 2))
        return self._as_map(ops.sigmoid(x))

    def get_config(self):
        return {
            **super().get_config(),
            "reduction_ratio": self.reduction_ratio,
            "variant": self.variant,
            "use_bias": self.use_bias,
            "groups": self.groups,
            "group_size": self.group_size,
        }
