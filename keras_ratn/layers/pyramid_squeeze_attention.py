"""Pyramid Squeeze Attention (EPSANet)."""

import keras
from keras import ops

from keras_ratn.layers import _attention_layer
from keras_ratn.layers import _common
from keras_ratn.layers.squeeze_excite import SqueezeExcite


@keras.saving.register_keras_serializable(package="keras_ratn")
class PyramidSqueezeAttention(_attention_layer.Gate):
    """Convolves at several kernel sizes and lets the sizes compete.

    Each branch convolves the whole input to its share of the channels, with a
    kernel size and a number of groups of its own. One Squeeze-and-Excitation
    weighs the channels of every branch, and a softmax over the branches makes
    these weights compete. The branches are concatenated in *reversed* order,
    the last kernel size first, as the authors' code does. There is no batch
    normalization and no activation.

    Reference:
    - [EPSANet: An Efficient Pyramid Squeeze Attention Block on Convolutional
        Neural Network (Zhang et al., 2021)](https://arxiv.org/abs/2105.14447)

    Args:
        kernel_sizes: Tuple of odd integers, one for each branch. Defaults to
            `(3, 5, 7, 9)`.
        groups: Tuple of integers, the groups of each branch's convolution.
            Defaults to `(1, 4, 8, 16)`.
        strides: Integer. Stride of all convolutions. Defaults to `1`.
        reduction_ratio: Integer. By how much the shared excitation is
            narrower than a branch. Defaults to `16`.
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
        `(batch_size, ceil(height / strides), ceil(width / strides),
        channels)` for `"channels_last"`; the mask is `(batch_size, 1, 1,
        channels)`.

    Example:

    >>> x = keras.random.normal((1, 8, 8, 64))
    >>> tuple(keras_ratn.layers.PyramidSqueezeAttention(strides=2)(x).shape)
    (1, 4, 4, 64)
    """

    def __init__(
        self,
        kernel_sizes=(3, 5, 7, 9),
        groups=(1, 4, 8, 16),
        strides=1,
        reduction_ratio=16,
        data_format=None,
        **kwargs,
    ):
        super().__init__(data_format, **kwargs)
        self.kernel_sizes = tuple(kernel_sizes)
        self.groups = tuple(groups)
        if len(self.kernel_sizes) != len(self.groups) or not self.groups:
            raise ValueError(
                "`kernel_sizes` and `groups` must have one entry for each "
                f"branch. Received: kernel_sizes={self.kernel_sizes}, "
                f"groups={self.groups}"
            )
        for size, count in zip(self.kernel_sizes, self.groups):
            _common.positive_integer("kernel_sizes", size)
            _common.positive_integer("groups", count)
            if size % 2 == 0:
                raise ValueError(
                    "`kernel_sizes` must be odd, so that the branches stay "
                    f"aligned. Received: kernel_sizes={self.kernel_sizes}"
                )
        self.strides = _common.positive_integer("strides", strides)
        self.reduction_ratio = _common.positive_integer(
            "reduction_ratio", reduction_ratio
        )

    def build(self, input_shape):
        channels = self._channels(input_shape)
        num_branches = len(self.kernel_sizes)
        _attention_layer.divisible(
            "The number of channels",
            channels,
            num_branches,
            "the number of branches",
            input_shape,
        )
        width = channels // num_branches
        self.convolutions, self.paddings = [], []
        for size, groups in zip(self.kernel_sizes, self.groups):
            # The input's channels are a multiple of the branch's.
            _attention_layer.divisible(
                "The number of channels of a branch",
                width,
                groups,
                "its entry in `groups`",
                input_shape,
            )
            conv = self._convolution(
                width, size, f"conv{size}", self.strides, groups=groups
            )
            conv.build(self._any_size(input_shape))
            self.convolutions.append(conv)
            if self.strides > 1:
                self.paddings.append(
                    self._padding(
                        (size - 1) // 2, f"padding{size}", input_shape
                    )
                )
        self.excitation = SqueezeExcite(
            self.reduction_ratio,
            data_format=self.data_format,
            dtype=self.dtype_policy,
            name="excitation",
        )
        self.excitation.build(
            _common.with_channels(input_shape, width, self.data_format)
        )

    def call(self, inputs, training=None, return_attention_mask=False):
        axis = _common.channel_axis(self.data_format)
        branches, weights = [], []
        for index, convolution in enumerate(self.convolutions):
            x = self.paddings[index](inputs) if self.paddings else inputs
            branches.append(convolution(x))
            weights.append(self.excitation.attention_mask(branches[-1]))
        # (B, branches, 1, 1, C / branches): the branches compete.
        weights = _attention_layer.softmax(ops.stack(weights, axis=1), axis=1)
        order = reversed(range(len(branches)))
        mask = ops.concatenate([weights[:, i] for i in order], axis=axis)
        features = ops.concatenate(branches[::-1], axis=axis)
        outputs = ops.multiply(features, mask)
        return (outputs, mask) if return_attention_mask else outputs

    def compute_output_shape(self, input_shape):
        return _common.strided_shape(
            input_shape, self.strides, self.data_format
        )

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_sizes": self.kernel_sizes,
            "groups": self.groups,
            "strides": self.strides,
            "reduction_ratio": self.reduction_ratio,
        }
