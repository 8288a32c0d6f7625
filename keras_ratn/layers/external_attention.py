"""External attention (EANet): positions look up a small learned memory."""

import keras
from keras import ops

from keras_ratn.layers import _attention_layer
from keras_ratn.layers import _common
from keras_ratn.layers._composite import CompositeLayer

# Keeps the second normalization away from a division by zero.
NORMALIZATION_EPSILON = 1e-9


@keras.saving.register_keras_serializable(package="keras_ratn")
class DoubleNormalization(keras.Layer):
    """Turns similarities of tokens and memory slots into attention scores.

    A softmax over the tokens, for each slot, then for each token a division
    by its sum over the slots. Computed in float32 whatever the precision: the
    softmax of many tokens and the epsilon vanish in less.

    Reference:
    - [Beyond Self-attention: External Attention using Two Linear Layers for
        Visual Tasks (Guo et al., 2021)](https://arxiv.org/abs/2105.02358),
        section 3.2

    Args:
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Input shape:
        `(..., tokens, slots)`.

    Output shape:
        The same as the input's.

    Example:

    >>> x = keras.ops.zeros((1, 9, 4))
    >>> scores = keras_ratn.layers.DoubleNormalization()(x)
    >>> round(float(scores[0, 0, 0]), 4)
    0.25
    """

    def call(self, inputs):
        x = ops.softmax(_attention_layer.cast(inputs, "float32"), axis=-2)
        x = x / (ops.sum(x, axis=-1, keepdims=True) + NORMALIZATION_EPSILON)
        return _attention_layer.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)


@keras.saving.register_keras_serializable(package="keras_ratn")
class ExternalAttention(_attention_layer.ScoredLayer):
    """Adds to a map what its positions find in two shared memories.

    The similarity of each position to the `memory_size` slots of a learned
    key memory is normalized twice, over the positions and over the slots, and
    weighs the slots of a learned value memory. A 1x1 convolution comes before
    and another, with batch normalization, after; the input is added and ReLU
    ends the layer. Linear in the positions.

    The two memories are separate weights, as in the paper; the authors' code
    starts them as each other's transposes.

    Reference:
    - [Beyond Self-attention: External Attention using Two Linear Layers for
        Visual Tasks (Guo et al., 2021)](https://arxiv.org/abs/2105.02358)

    Args:
        memory_size: Integer. Slots of the memories (*S*). Defaults to `64`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: 4D tensor.
        training: Boolean. Whether batch normalization uses and learns from
            the batch's own statistics.
        return_attention_scores: Boolean. Whether to return a pair `(outputs,
            scores)`. Defaults to `False`.

    Input shape:
        `(batch_size, height, width, channels)` for `"channels_last"`.

    Output shape:
        The same as the input's; the scores are `(batch_size, N,
        memory_size)` for the *N* positions in rows.

    Example:

    >>> x = keras.random.normal((1, 8, 8, 16))
    >>> tuple(keras_ratn.layers.ExternalAttention()(x).shape)
    (1, 8, 8, 16)
    """

    def __init__(self, memory_size=64, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.memory_size = _common.positive_integer("memory_size", memory_size)

    def build(self, input_shape):
        channels = self._channels(input_shape)
        initializer = _attention_layer.he_fan_out
        # On tokens, a 1x1 convolution is a dense layer.
        self.input_projection = self._dense(
            channels, "input_projection", kernel_initializer=initializer()
        )
        self.key_memory = self._dense(
            self.memory_size,
            "key_memory",
            use_bias=False,
            kernel_initializer=initializer(),
        )
        self.value_memory = self._dense(
            channels,
            "value_memory",
            use_bias=False,
            kernel_initializer=initializer(),
        )
        self.output_projection = self._dense(
            channels,
            "output_projection",
            use_bias=False,
            kernel_initializer=initializer(),
        )
        self.double_normalization = DoubleNormalization(
            dtype=self.dtype_policy, name="double_normalization"
        )
        self.bn = self._batch_normalization("bn", "channels_last")
        self._build_chain(
            [
                self.input_projection,
                self.key_memory,
                self.double_normalization,
                self.value_memory,
                self.output_projection,
                self.bn,
            ],
            (None, None, channels),
        )

    def call(self, inputs, training=None, return_attention_scores=False):
        x = _attention_layer.to_channels_last(inputs, self.data_format)
        shape = ops.shape(x)
        tokens = ops.reshape(x, (-1, shape[1] * shape[2], x.shape[-1]))
        similarity = self.key_memory(self.input_projection(tokens))
        scores = self.double_normalization(similarity)  # (B, N, S)
        found = self.output_projection(self.value_memory(scores))
        tokens = ops.relu(self.bn(found, training=training) + tokens)
        x = ops.reshape(tokens, (-1, *shape[1:3], x.shape[-1]))
        outputs = _attention_layer.from_channels_last(x, self.data_format)
        return (outputs, scores) if return_attention_scores else outputs

    def _scores_shape(self, input_shape):
        positions = _attention_layer.num_positions(
            input_shape, self.data_format
        )
        return (input_shape[0], positions, self.memory_size)

    def get_config(self):
        return {**super().get_config(), "memory_size": self.memory_size}


@keras.saving.register_keras_serializable(package="keras_ratn")
class MultiHeadExternalAttention(CompositeLayer):
    """External attention on tokens, in heads that share their memories.

    A dense layer widens the tokens `expansion` times and splits them into
    `expansion * num_heads` heads. All heads look up the same key and value
    memory (dense layers with bias); a dense layer merges them. The scores are
    normalized over tokens and slots as in `ExternalAttention`. Linear in the
    tokens.

    Reference:
    - [Beyond Self-attention: External Attention using Two Linear Layers for
        Visual Tasks (Guo et al., 2021)](https://arxiv.org/abs/2105.02358),
        section 3.3

    Args:
        num_heads: Integer that divides the number of channels. Defaults to
            `8`.
        expansion: Integer. How many times the tokens are widened. Defaults to
            `4`.
        memory_size: Integer. Slots of the memories (*S*). Defaults to `64`.
        dropout_rate: Float. Dropout of the scores and of the output. Defaults
            to `0.0`.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: 3D tensor.
        training: Boolean. Whether to apply dropout.
        return_attention_scores: Boolean. Whether to return a pair `(outputs,
            scores)`. Defaults to `False`.

    Input shape:
        `(batch_size, tokens, channels)`.

    Output shape:
        The same as the input's; the scores are `(batch_size, expansion *
        num_heads, tokens, memory_size)`.

    Example:

    >>> x = keras.random.normal((1, 50, 32))
    >>> tuple(keras_ratn.layers.MultiHeadExternalAttention(4)(x).shape)
    (1, 50, 32)
    """

    def __init__(
        self,
        num_heads=8,
        expansion=4,
        memory_size=64,
        dropout_rate=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = _common.positive_integer("num_heads", num_heads)
        self.expansion = _common.positive_integer("expansion", expansion)
        self.memory_size = _common.positive_integer("memory_size", memory_size)
        self.dropout_rate = float(dropout_rate)

    def build(self, input_shape):
        channels = input_shape[-1]
        _attention_layer.divisible(
            "The number of channels",
            channels,
            self.num_heads,
            "`num_heads`",
            input_shape,
        )
        width = channels // self.num_heads
        widened = self.expansion * channels
        for name, inputs, units in (
            ("input_projection", channels, widened),
            ("key_memory", width, self.memory_size),
            ("value_memory", self.memory_size, width),
            ("output_projection", widened, channels),
        ):
            layer = keras.layers.Dense(
                units,
                kernel_initializer=keras.initializers.TruncatedNormal(
                    stddev=0.02
                ),
                dtype=self.dtype_policy,
                name=name,
            )
            layer.build((None, inputs))
            setattr(self, name, layer)
        self.double_normalization = DoubleNormalization(
            dtype=self.dtype_policy, name="double_normalization"
        )
        self.dropout = keras.layers.Dropout(
            self.dropout_rate, dtype=self.dtype_policy, name="dropout"
        )
        for layer in (self.double_normalization, self.dropout):
            layer.build((None, None, None, self.memory_size))

    def call(self, inputs, training=None, return_attention_scores=False):
        tokens, channels = ops.shape(inputs)[1], inputs.shape[-1]
        width = channels // self.num_heads
        heads = self.expansion * self.num_heads
        x = self.input_projection(inputs)
        x = ops.reshape(x, (-1, tokens, heads, width))
        x = ops.transpose(x, (0, 2, 1, 3))  # (B, heads, tokens, width)
        scores = self.double_normalization(self.key_memory(x))
        scores = self.dropout(scores, training=training)
        x = ops.transpose(self.value_memory(scores), (0, 2, 1, 3))
        x = ops.reshape(x, (-1, tokens, heads * width))
        outputs = self.output_projection(x)
        outputs = self.dropout(outputs, training=training)
        return (outputs, scores) if return_attention_scores else outputs

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def compute_output_spec(
        self, inputs, training=None, return_attention_scores=False
    ):
        outputs = keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
        if not return_attention_scores:
            return outputs
        batch, tokens, _ = inputs.shape
        heads = self.expansion * self.num_heads
        scores = keras.KerasTensor(
            (batch, heads, tokens, self.memory_size), dtype=self.compute_dtype
        )
        return outputs, scores

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "expansion": self.expansion,
            "memory_size": self.memory_size,
            "dropout_rate": self.dropout_rate,
        }
