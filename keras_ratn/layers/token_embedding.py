"""What makes tokens of maps: patches, a class token and positions."""

import keras
import numpy as np
from keras import ops

from keras_ratn.layers import _common


@keras.saving.register_keras_serializable(package="keras_ratn")
class Unfold(keras.Layer):
    """Gathers the patch around every `strides`-th pixel of a map.

    A patch's values are ordered by row, column and channel; PyTorch's, by
    channel, row and column. It is a convolution whose kernel, of zeros and
    ones, is a constant: one that is computed, as that of
    `keras.ops.image.extract_patches`, cannot be quantised to int8.

    Reference:
    - [Tokens-to-Token ViT (Yuan et al., 2021)](
        https://arxiv.org/abs/2101.11986), section 3.1

    Args:
        size: Integer. Height and width of a patch.
        strides: Integer. Distance of neighbouring patches. Defaults to `1`.
        padding: Integer. Zeros around the map on each side. Defaults to `0`.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Input shape:
        `(batch_size, height, width, channels)`.

    Output shape:
        `(batch_size, rows, columns, size * size * channels)`.

    Example:

    >>> x = keras.random.normal((1, 8, 8, 3))
    >>> tuple(keras_ratn.layers.Unfold(3, strides=2, padding=1)(x).shape)
    (1, 4, 4, 27)
    """

    def __init__(self, size, strides=1, padding=0, **kwargs):
        super().__init__(**kwargs)
        self.size = _common.positive_integer("size", size)
        self.strides = _common.positive_integer("strides", strides)
        self.padding = _common.positive_integer("padding", padding, minimum=0)

    def call(self, inputs):
        margin = (self.padding, self.padding)
        x = ops.pad(inputs, ((0, 0), margin, margin, (0, 0)))
        channels = inputs.shape[-1]
        values = self.size * self.size * channels
        kernel = np.eye(values, dtype=self.compute_dtype)
        kernel = kernel.reshape(self.size, self.size, channels, values)
        return ops.conv(
            x,
            ops.convert_to_tensor(kernel),
            self.strides,
            padding="valid",
            data_format="channels_last",
        )

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        rows, columns = (
            None
            if size is None
            else (size + 2 * self.padding - self.size) // self.strides + 1
            for size in (height, width)
        )
        return (batch, rows, columns, self.size * self.size * channels)

    def get_config(self):
        return {
            **super().get_config(),
            "size": self.size,
            "strides": self.strides,
            "padding": self.padding,
        }


@keras.saving.register_keras_serializable(package="keras_ratn")
class ClassToken(keras.Layer):
    """Puts a learned token before the others.

    Reference:
    - [An Image is Worth 16x16 Words (Dosovitskiy et al., 2021)](
        https://arxiv.org/abs/2010.11929), section 3.1

    Args:
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Input shape:
        `(batch_size, tokens, channels)`.

    Output shape:
        `(batch_size, 1 + tokens, channels)`.

    Example:

    >>> x = keras.random.normal((2, 9, 16))
    >>> tuple(keras_ratn.layers.ClassToken()(x).shape)
    (2, 10, 16)
    """

    def build(self, input_shape):
        self.token = self.add_weight(
            name="token",
            shape=(1, 1, input_shape[-1]),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        )

    def call(self, inputs):
        token = ops.cast(self.token, inputs.dtype)
        token = ops.broadcast_to(
            token, (ops.shape(inputs)[0], 1, inputs.shape[-1])
        )
        return ops.concatenate([token, inputs], axis=1)

    def compute_output_shape(self, input_shape):
        batch, tokens, channels = input_shape
        return (batch, None if tokens is None else tokens + 1, channels)


@keras.saving.register_keras_serializable(package="keras_ratn")
class SinusoidalPositions(keras.Layer):
    """Adds to each token the sines and cosines of its position.

    Channel *j* of position *p* gets the sine (*j* even) or the cosine (*j*
    odd) of `p / 10000 ** (2 * (j // 2) / channels)`. The table is kept as a
    weight that does not train, as in the authors' networks.

    Reference:
    - [Attention Is All You Need (Vaswani et al., 2017)](
        https://arxiv.org/abs/1706.03762), section 3.5

    Args:
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Input shape:
        `(batch_size, tokens, channels)`; the number of tokens is known.

    Output shape:
        The same as the input's.

    Example:

    >>> x = keras.ops.zeros((1, 9, 4))
    >>> y = keras_ratn.layers.SinusoidalPositions()(x)
    >>> [round(float(v), 3) for v in y[0, 1]]
    [0.841, 0.54, 0.01, 1.0]
    """

    def build(self, input_shape):
        _, tokens, channels = input_shape
        if tokens is None:
            raise ValueError(
                "SinusoidalPositions needs to know the number of tokens. "
                f"Received: input_shape={tuple(input_shape)}. Give the images "
                "a fixed height and width."
            )
        self.table = self.add_weight(
            name="table",
            shape=(1, tokens, channels),
            initializer=_sinusoids,
            trainable=False,
        )

    def call(self, inputs):
        return inputs + ops.cast(self.table, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)


def _sinusoids(shape, dtype=None):
    _, tokens, channels = shape
    channel = np.arange(channels)
    angle = np.arange(tokens)[:, None] / 10000 ** (
        2 * (channel // 2) / channels
    )
    table = np.where(channel % 2, np.cos(angle), np.sin(angle))
    return ops.convert_to_tensor(table[None].astype("float32"), dtype=dtype)
