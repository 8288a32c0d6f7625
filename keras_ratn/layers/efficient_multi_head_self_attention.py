"""The two attentions of ResT: over positions, and of each pixel by itself."""

import keras
from keras import ops

from keras_ratn.layers import _attention_layer
from keras_ratn.layers import _common
from keras_ratn.layers._channels_first import layer_class

INSTANCE_NORM_EPSILON = 1e-5


@keras.saving.register_keras_serializable(package="keras_ratn")
class PixelAttention(_attention_layer.Gate):
    """Weighs each value of a map by what surrounds it.

    The mask is the sigmoid of a 3x3 depthwise convolution with bias. ResT
    uses it as a position encoding that works at any size: the padding tells
    the network where the borders are.

    Reference:
    - [ResT: An Efficient Transformer for Visual Recognition (Zhang & Yang,
        2021)](https://arxiv.org/abs/2105.13677), section 3.3

    Args:
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
        The same as the input's, and so is the mask's.

    Example:

    >>> x = keras.random.normal((1, 8, 8, 16))
    >>> tuple(keras_ratn.layers.PixelAttention()(x).shape)
    (1, 8, 8, 16)
    """

    def build(self, input_shape):
        self.conv = layer_class("DepthwiseConv2D", self.data_format)(
            3,
            padding="same",
            depthwise_initializer=_truncated_normal(),
            data_format=self.data_format,
            dtype=self.dtype_policy,
            name="conv",
        )
        self.conv.build(input_shape)

    def attention_mask(self, inputs, training=None):
        """The mask for these inputs, not applied to them."""
        return ops.sigmoid(self.conv(inputs))

    def _mask_shape(self, input_shape):
        return tuple(input_shape)


@keras.saving.register_keras_serializable(package="keras_ratn")
class EfficientMultiHeadSelfAttention(_attention_layer.ScoredLayer):
    """Self-attention whose keys and values come from a smaller map.

    A strided depthwise convolution shrinks the map that keys and values are
    made of, by `spatial_reduction_ratio` in each direction, so time and
    memory fall by its square; they stay quadratic in the positions. With
    more than one head, a 1x1 convolution mixes the heads' similarities before
    the softmax, and an instance normalization (over all pairs of a head, with
    no weights, also at inference) restores their spread after it. Then rows
    of the scores do not sum to 1.

    Reference:
    - [ResT: An Efficient Transformer for Visual Recognition (Zhang & Yang,
        2021)](https://arxiv.org/abs/2105.13677), section 3.2

    Args:
        num_heads: Integer that divides the number of channels. Defaults to
            `1`.
        spatial_reduction_ratio: Integer. By how much the map of keys and
            values is smaller in each direction. Defaults to `1`.
        mix_heads: Boolean. Whether several heads are mixed and normalized as
            described; else this is ordinary attention. Defaults to `True`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: 4D tensor.
        return_attention_scores: Boolean. Whether to return a pair `(outputs,
            scores)`. Defaults to `False`.

    Input shape:
        `(batch_size, height, width, channels)` for `"channels_last"`.

    Output shape:
        The same as the input's; the scores are `(batch_size, num_heads, N,
        M)` for *N* positions and *M* of the smaller map.

    Example:

    >>> x = keras.random.normal((1, 8, 8, 16))
    >>> layer = keras_ratn.layers.EfficientMultiHeadSelfAttention(2, 4)
    >>> outputs, scores = layer(x, return_attention_scores=True)
    >>> tuple(outputs.shape), tuple(scores.shape)
    ((1, 8, 8, 16), (1, 2, 64, 4))
    """

    def __init__(
        self,
        num_heads=1,
        spatial_reduction_ratio=1,
        mix_heads=True,
        data_format=None,
        **kwargs,
    ):
        super().__init__(data_format, **kwargs)
        self.num_heads = _common.positive_integer("num_heads", num_heads)
        self.spatial_reduction_ratio = _common.positive_integer(
            "spatial_reduction_ratio", spatial_reduction_ratio
        )
        self.mix_heads = bool(mix_heads)

    def build(self, input_shape):
        channels = self._channels(input_shape)
        _attention_layer.divisible(
            "The number of channels",
            channels,
            self.num_heads,
            "`num_heads`",
            input_shape,
        )
        self.query = self._projection(channels, "query")
        self.key_value = self._projection(2 * channels, "key_value")
        self.output_projection = self._projection(channels, "output_projection")
        for layer in (self.query, self.key_value, self.output_projection):
            layer.build((None, None, channels))
        if self.spatial_reduction_ratio > 1:
            self._build_reduction(channels)
        if self._mixes_heads:
            heads = self.num_heads
            self.mix_kernel = self.add_weight(
                name="mix_kernel",
                shape=(heads, heads),
                initializer=_truncated_normal(),
            )
            self.mix_bias = self.add_weight(
                name="mix_bias", shape=(heads, 1), initializer="zeros"
            )

    @property
    def _mixes_heads(self):
        return self.mix_heads and self.num_heads > 1

    def _projection(self, units, name):
        return self._dense(units, name, kernel_initializer=_truncated_normal())

    def _build_reduction(self, channels):
        ratio = self.spatial_reduction_ratio
        shape = (None, None, None, channels)
        # Symmetric: ceil(size / ratio) positions remain of an even ratio.
        self.reduction_padding = keras.layers.ZeroPadding2D(
            ratio // 2,
            data_format="channels_last",
            dtype=self.dtype_policy,
            name="reduction_padding",
        )
        self.reduction_conv = keras.layers.DepthwiseConv2D(
            ratio + 1,
            ratio,
            padding="valid",
            depthwise_initializer=_truncated_normal(),
            data_format="channels_last",
            dtype=self.dtype_policy,
            name="reduction_conv",
        )
        self.reduction_norm = keras.layers.LayerNormalization(
            epsilon=_attention_layer.LAYER_NORM_EPSILON,
            dtype=self.dtype_policy,
            name="reduction_norm",
        )
        self._build_chain(
            [self.reduction_padding, self.reduction_conv, self.reduction_norm],
            shape,
        )

    def call(self, inputs, training=None, return_attention_scores=False):
        x = _attention_layer.to_channels_last(inputs, self.data_format)
        shape, channels = ops.shape(x), x.shape[-1]
        reduced = x
        if self.spatial_reduction_ratio > 1:
            reduced = self.reduction_conv(self.reduction_padding(x))
            reduced = self.reduction_norm(reduced)
        query = self._heads(self.query(x))
        # (B, h', w', 2 C): the keys' channels first, then the values'.
        key, value = ops.split(self.key_value(reduced), 2, axis=-1)
        key = ops.transpose(self._heads(key), (0, 1, 3, 2))
        scale = (channels // self.num_heads) ** -0.5
        scores = self._scores(ops.matmul(query * scale, key))
        mixture = ops.matmul(scores, self._heads(value))  # (B, h, N, C / h)
        mixture = ops.transpose(mixture, (0, 2, 1, 3))
        mixture = ops.reshape(mixture, (-1, *shape[1:3], channels))
        outputs = _attention_layer.from_channels_last(
            self.output_projection(mixture), self.data_format
        )
        return (outputs, scores) if return_attention_scores else outputs

    def _heads(self, x):
        """`(B, H, W, C)` to `(B, heads, H W, C / heads)`."""
        shape = ops.shape(x)
        width = x.shape[-1] // self.num_heads
        x = ops.reshape(x, (-1, shape[1] * shape[2], self.num_heads, width))
        return ops.transpose(x, (0, 2, 1, 3))

    def _scores(self, similarity):
        """`(B, heads, N, M)`, from similarities of that shape."""
        if not self._mixes_heads:
            return _attention_layer.softmax(similarity, axis=-1)
        shape = ops.shape(similarity)
        x = ops.reshape(similarity, (-1, self.num_heads, shape[2] * shape[3]))
        kernel = _attention_layer.cast(
            ops.transpose(self.mix_kernel), self.compute_dtype
        )
        x = ops.matmul(kernel, x) + _attention_layer.cast(
            self.mix_bias, self.compute_dtype
        )
        x = ops.reshape(x, (-1, self.num_heads, *shape[2:]))
        x = ops.softmax(_attention_layer.cast(x, "float32"), axis=-1)
        mean = ops.mean(x, axis=(2, 3), keepdims=True)
        variance = ops.mean(ops.square(x - mean), axis=(2, 3), keepdims=True)
        x = (x - mean) * ops.rsqrt(variance + INSTANCE_NORM_EPSILON)
        return _attention_layer.cast(x, self.compute_dtype)

    def _scores_shape(self, input_shape):
        batch, height, width, _ = _attention_layer.channels_last_shape(
            input_shape, self.data_format
        )
        if None in (height, width):
            return (batch, self.num_heads, None, None)
        keys = self._reduced(height) * self._reduced(width)
        return (batch, self.num_heads, height * width, keys)

    def reduced_size(self, size):
        """Size of the map of keys and values.

        Args:
            size: Pair of integers, height and width of the input.

        Returns:
            Pair of integers.
        """
        return tuple(map(self._reduced, size))

    def _reduced(self, length):
        ratio = self.spatial_reduction_ratio
        if ratio == 1:
            return length
        # The convolution's kernel is one larger than its stride.
        return (length + 2 * (ratio // 2) - (ratio + 1)) // ratio + 1

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "spatial_reduction_ratio": self.spatial_reduction_ratio,
            "mix_heads": self.mix_heads,
        }


def _truncated_normal():
    return keras.initializers.TruncatedNormal(stddev=0.02)
