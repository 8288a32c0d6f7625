"""Dual attention (DANet): over positions, over channels, and the head."""

import keras
from keras import ops

from keras_ratn.layers import _attention_layer
from keras_ratn.layers import _common


@keras.saving.register_keras_serializable(package="keras_ratn")
class PositionAttention(_attention_layer.ScoredLayer):
    """Adds to each position a mixture of all positions that resemble it.

    Queries and keys of an eighth of the channels are compared, without
    scaling; the softmax over the keys weighs the values. Their mixture enters
    by a learned factor that starts at 0, so that the layer starts as the
    identity. Time and memory grow with the *square* of the positions.

    Reference:
    - [Dual Attention Network for Scene Segmentation (Fu et al., 2019)](
        https://arxiv.org/abs/1809.02983), section 3.2

    Args:
        reduction_ratio: Integer. By how much queries and keys are narrower
            than the input. Defaults to `8`.
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
        The same as the input's; the scores are `(batch_size, N, N)` for the
        *N* positions in rows, queries first.

    Example:

    >>> x = keras.random.normal((1, 8, 8, 16))
    >>> layer = keras_ratn.layers.PositionAttention()
    >>> outputs, scores = layer(x, return_attention_scores=True)
    >>> tuple(scores.shape)
    (1, 64, 64)
    """

    def __init__(self, reduction_ratio=8, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.reduction_ratio = _common.positive_integer(
            "reduction_ratio", reduction_ratio
        )

    def build(self, input_shape):
        channels = self._channels(input_shape)
        width = _attention_layer.reduced_channels(
            channels, self.reduction_ratio
        )
        # On tokens, a 1x1 convolution is a dense layer.
        self.query = self._dense(width, "query")
        self.key = self._dense(width, "key")
        self.value = self._dense(channels, "value")
        for layer in (self.query, self.key, self.value):
            layer.build((None, None, channels))
        self.gamma = self.add_weight(
            name="gamma", shape=(), initializer="zeros"
        )

    def call(self, inputs, training=None, return_attention_scores=False):
        x = _attention_layer.to_channels_last(inputs, self.data_format)
        shape = ops.shape(x)
        tokens = ops.reshape(x, (-1, shape[1] * shape[2], x.shape[-1]))
        keys = ops.transpose(self.key(tokens), (0, 2, 1))
        similarity = ops.matmul(self.query(tokens), keys)  # (B, N, N)
        scores = _attention_layer.softmax(similarity, axis=-1)
        mixture = ops.matmul(scores, self.value(tokens))  # (B, N, C)
        mixture = ops.reshape(mixture, (-1, *shape[1:3], x.shape[-1]))
        gamma = _attention_layer.cast(self.gamma, self.compute_dtype)
        x = ops.add(ops.multiply(mixture, gamma), x)
        outputs = _attention_layer.from_channels_last(x, self.data_format)
        return (outputs, scores) if return_attention_scores else outputs

    def _scores_shape(self, input_shape):
        positions = _attention_layer.num_positions(
            input_shape, self.data_format
        )
        return (input_shape[0], positions, positions)

    def get_config(self):
        return {
            **super().get_config(),
            "reduction_ratio": self.reduction_ratio,
        }


@keras.saving.register_keras_serializable(package="keras_ratn")
class ChannelAffinityAttention(_attention_layer.ScoredLayer):
    """Adds to each channel a mixture of all channels, by their affinity.

    Two channels' affinity is the product of their maps, summed over the
    positions. The paper's formula gives most weight to the channels most
    alike; the authors' code subtracts from the maximum and so gives it to
    those most *unlike*. The mixture enters by a learned factor that starts at
    0; there is no other weight. Linear in the positions.

    Reference:
    - [Dual Attention Network for Scene Segmentation (Fu et al., 2019)](
        https://arxiv.org/abs/1809.02983), section 3.3

    Args:
        affinity: String, `"dissimilar"` (the authors' code, `softmax(-E)`) or
            `"similar"` (the paper, `softmax(E)`). Defaults to `"dissimilar"`.
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
        The same as the input's; the scores are `(batch_size, channels,
        channels)`.

    Example:

    >>> x = keras.random.normal((1, 8, 8, 16))
    >>> tuple(keras_ratn.layers.ChannelAffinityAttention()(x).shape)
    (1, 8, 8, 16)
    """

    AFFINITIES = ("dissimilar", "similar")

    def __init__(self, affinity="dissimilar", data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.affinity = _common.one_of("affinity", affinity, self.AFFINITIES)

    def build(self, input_shape):
        self.gamma = self.add_weight(
            name="gamma", shape=(), initializer="zeros"
        )

    def call(self, inputs, training=None, return_attention_scores=False):
        x = _attention_layer.to_channels_last(inputs, self.data_format)
        shape = ops.shape(x)
        tokens = ops.reshape(x, (-1, shape[1] * shape[2], x.shape[-1]))
        # Sums over all positions outgrow half precision.
        maps = _attention_layer.cast(tokens, "float32")
        affinity = ops.matmul(ops.transpose(maps, (0, 2, 1)), maps)
        sign = -1.0 if self.affinity == "dissimilar" else 1.0
        scores = ops.softmax(sign * affinity, axis=-1)
        scores = _attention_layer.cast(scores, self.compute_dtype)
        # Channel i of the mixture is sum_j scores[i, j] * channel j.
        mixture = ops.matmul(tokens, ops.transpose(scores, (0, 2, 1)))
        mixture = ops.reshape(mixture, (-1, *shape[1:3], x.shape[-1]))
        gamma = _attention_layer.cast(self.gamma, self.compute_dtype)
        x = ops.add(ops.multiply(mixture, gamma), x)
        outputs = _attention_layer.from_channels_last(x, self.data_format)
        return (outputs, scores) if return_attention_scores else outputs

    def _scores_shape(self, input_shape):
        channels = self._channels(input_shape)
        return (input_shape[0], channels, channels)

    def get_config(self):
        return {**super().get_config(), "affinity": self.affinity}


@keras.saving.register_keras_serializable(package="keras_ratn")
class DualAttention(_attention_layer.MapLayer):
    """The segmentation head of DANet: features in, logits per position out.

    One path attends over positions, the other over channels, each between two
    3x3 convolutions with batch normalization and ReLU. The sum of both paths
    is classified, after a dropout of whole channels. For training, each path
    can be classified by itself too: the authors add up the three losses.

    Reference:
    - [Dual Attention Network for Scene Segmentation (Fu et al., 2019)](
        https://arxiv.org/abs/1809.02983)

    Args:
        classes: Integer. Number of classes.
        filters: Integer. Channels of both paths. Defaults to a quarter of the
            input's.
        affinity: String, see `ChannelAffinityAttention`. Defaults to
            `"dissimilar"`.
        dropout_rate: Float. Share of the channels dropped before each
            classifier. Defaults to `0.1`.
        auxiliary_outputs: Boolean. Whether to return a tuple of three logits
            `(sum, position path, channel path)`. Defaults to `False`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: 4D tensor.
        training: Boolean. Whether to drop channels, and whether batch
            normalization uses and learns from the batch's own statistics.
        return_attention_scores: Boolean. Whether the position scores and the
            channel scores follow the logits. Defaults to `False`.

    Input shape:
        `(batch_size, height, width, channels)` for `"channels_last"`.

    Output shape:
        `(batch_size, height, width, classes)` for `"channels_last"`.

    Example:

    >>> x = keras.random.normal((1, 8, 8, 64))
    >>> tuple(keras_ratn.layers.DualAttention(classes=7)(x).shape)
    (1, 8, 8, 7)
    """

    MIN_FILTERS = 8

    def __init__(
        self,
        classes,
        filters=None,
        affinity="dissimilar",
        dropout_rate=0.1,
        auxiliary_outputs=False,
        data_format=None,
        **kwargs,
    ):
        super().__init__(data_format, **kwargs)
        self.classes = _common.positive_integer("classes", classes)
        if filters is not None:
            _common.positive_integer("filters", filters)
        self.filters = filters
        self.affinity = _common.one_of(
            "affinity", affinity, ChannelAffinityAttention.AFFINITIES
        )
        self.dropout_rate = float(dropout_rate)
        self.auxiliary_outputs = bool(auxiliary_outputs)

    def build(self, input_shape):
        channels = self._channels(input_shape)
        filters = self.filters or channels // 4
        if filters < self.MIN_FILTERS:
            raise ValueError(
                f"A DualAttention needs at least {self.MIN_FILTERS} filters, "
                "since its queries and keys have an eighth of them. "
                f"Received: filters={self.filters} for {channels} channels, "
                f"which makes {filters}. Pass a larger `filters`."
            )
        common = {"data_format": self.data_format, "dtype": self.dtype_policy}
        inner = _common.with_channels(input_shape, filters, self.data_format)
        for path in ("position", "channel"):
            for place, shape in (("before", input_shape), ("after", inner)):
                conv = self._convolution(filters, 3, f"{path}_{place}_conv")
                bn = self._batch_normalization(f"{path}_{place}_bn")
                setattr(self, conv.name, conv)
                setattr(self, bn.name, bn)
                self._build_chain([conv, bn], shape)
        self.position = PositionAttention(name="position", **common)
        self.channel = ChannelAffinityAttention(
            self.affinity, name="channel", **common
        )
        self.dropout = keras.layers.SpatialDropout2D(
            self.dropout_rate, name="dropout", **common
        )
        self.classifier = self._classifier("classifier")
        built = [self.position, self.channel, self.dropout, self.classifier]
        # Last, so that no weight's place in a file depends on them.
        if self.auxiliary_outputs:
            self.position_classifier = self._classifier("position_classifier")
            self.channel_classifier = self._classifier("channel_classifier")
            built += [self.position_classifier, self.channel_classifier]
        for layer in built:
            layer.build(inner)

    def _classifier(self, name):
        return self._convolution(self.classes, 1, name, use_bias=True)

    def _convolve(self, name, x, training):
        x = getattr(self, f"{name}_conv")(x)
        return ops.relu(getattr(self, f"{name}_bn")(x, training=training))

    def before(self, path, inputs, training=None):
        """What the attention `"position"` or `"channel"` is given."""
        return self._convolve(f"{path}_before", inputs, training)

    def _attend(self, path, x, training):
        """Convolution, attention, convolution; and the attention's scores."""
        attention = getattr(self, path)
        x, scores = attention(
            self.before(path, x, training), return_attention_scores=True
        )
        return self._convolve(f"{path}_after", x, training), scores

    def call(self, inputs, training=None, return_attention_scores=False):
        position, position_scores = self._attend("position", inputs, training)
        channel, channel_scores = self._attend("channel", inputs, training)
        fused = self.dropout(position + channel, training=training)
        outputs = (self.classifier(fused),)
        if self.auxiliary_outputs:
            position = self.dropout(position, training=training)
            channel = self.dropout(channel, training=training)
            outputs += (
                self.position_classifier(position),
                self.channel_classifier(channel),
            )
        if return_attention_scores:
            outputs += (position_scores, channel_scores)
        return outputs if len(outputs) > 1 else outputs[0]

    def compute_output_shape(self, input_shape):
        shape = _common.with_channels(
            input_shape, self.classes, self.data_format
        )
        return (shape,) * 3 if self.auxiliary_outputs else shape

    def compute_output_spec(
        self, inputs, training=None, return_attention_scores=False
    ):
        shape = inputs.shape
        logits = _common.with_channels(shape, self.classes, self.data_format)
        shapes = [logits] * (3 if self.auxiliary_outputs else 1)
        if return_attention_scores:
            positions = _attention_layer.num_positions(shape, self.data_format)
            filters = self.filters or self._channels(shape) // 4
            shapes += [
                (shape[0], positions, positions),
                (shape[0], filters, filters),
            ]
        specs = tuple(
            keras.KerasTensor(s, dtype=self.compute_dtype) for s in shapes
        )
        return specs if len(specs) > 1 else specs[0]

    def get_config(self):
        return {
            **super().get_config(),
            "classes": self.classes,
            "filters": self.filters,
            "affinity": self.affinity,
            "dropout_rate": self.dropout_rate,
            "auxiliary_outputs": self.auxiliary_outputs,
        }
