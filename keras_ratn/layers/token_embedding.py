"""What a sequence of tokens gets before the blocks: a class, and positions."""

import keras
import numpy as np
from keras import ops


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
