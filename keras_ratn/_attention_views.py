"""Looking inside the attention layers of a model, without altering it."""

import keras
from keras import ops

from keras_ratn import layers
from keras_ratn._replay import replay
from keras_ratn.layers import _attention_layer

# The layout that each order of a Permute turns into the other one.
PERMUTED = {(2, 3, 1): "channels_first", (3, 1, 2): "channels_last"}


def attention_views(model):
    """Finds every attention whose mask can be shown.

    Args:
        model: Functional or sequential `keras.Model`.

    Returns:
        Pair of the tensors that the model is to be fed with, and a dictionary
        from the layer's name to a dictionary of three tensors with channels
        last: `"before"`, `"mask"` and `"after"`.
    """
    inputs, views = _collect(model)
    if not views:
        raise ValueError(
            "The model holds no AttentionModule, nor any other attention layer "
            "of this package whose mask could be shown. "
            f"Received: model {model.name!r}"
        )
    return inputs, views


def data_format_of(model):
    """The layout that the model's images have."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            return data_format_of(layer)
        if isinstance(layer, keras.layers.Permute) and layer.dims in PERMUTED:
            # What follows it has another layout than the images.
            return PERMUTED[layer.dims]
        if hasattr(layer, "data_format"):
            return layer.data_format
    return "channels_last"


def _collect(model):
    if any(isinstance(layer, keras.Model) for layer in model.layers):
        return _collect_nested(model)
    views = {}
    for layer in model.layers:
        views.update(_views(layer, lambda layer=layer: layer.input))
    return model.inputs, views


def _collect_nested(model):
    """The same for a model that holds models.

    Such an inner model does not tell what it was called on, so the outer one
    is walked through again.
    """
    views = {}

    def call(layer, *args, **kwargs):
        if isinstance(layer, keras.Model):
            inputs, inner = _collect(layer)
            if inner:
                viewer = keras.Model(inputs, inner)
                for name, view in viewer(*args).items():
                    views[f"{layer.name}/{name}"] = view
        else:
            views.update(_views(layer, lambda: args[0]))
        return layer(*args, **kwargs)

    return replay(model, call), views


def _views(layer, inputs):
    """Names and views of a layer, none if it has no mask.

    Args:
        layer: Keras layer.
        inputs: Function that returns the layer's input.
    """
    kinds = (
        layers.AttentionModule,
        layers.DualAttention,
        _attention_layer.Gate,
        *SCORE_MAPS,
    )
    if not isinstance(layer, kinds):
        return {}
    view = _View(layer, name=f"{layer.name}_view")(inputs())
    if isinstance(layer, layers.DualAttention):
        return {f"{layer.name}/{path}": view[path] for path in view}
    return {layer.name: view}


# Scores, and height and width of the input, to maps with channels last.


def _received_by_positions(layer, scores, size):
    """`(B, N, N)`, queries first, to `(B, H, W, 1)`."""
    return ops.reshape(ops.mean(scores, axis=1), (-1, *size, 1))


def _received_by_channels(layer, scores, size):
    """`(B, C, C)` to `(B, 1, 1, C)`."""
    return ops.mean(scores, axis=1)[:, None, None, :]


def _received_by_reduced_positions(layer, scores, size):
    """`(B, heads, N, M)` to `(B, h, w, heads)`."""
    size = layer.reduced_size(size)
    received = ops.transpose(ops.mean(scores, axis=2), (0, 2, 1))
    return ops.reshape(received, (-1, *size, layer.num_heads))


def _given_to_slots(layer, scores, size):
    """`(B, N, S)` to `(B, H, W, S)`."""
    return ops.reshape(scores, (-1, *size, layer.memory_size))


SCORE_MAPS = {
    layers.PositionAttention: _received_by_positions,
    layers.ChannelAffinityAttention: _received_by_channels,
    layers.EfficientMultiHeadSelfAttention: _received_by_reduced_positions,
    layers.ExternalAttention: _given_to_slots,
}


class _View(keras.Layer):
    """Shows the inside of an attention layer, channels last.

    It reads the layer's weights and adds nothing to the layer itself.
    """

    def __init__(self, layer, **kwargs):
        super().__init__(dtype=layer.dtype_policy, **kwargs)
        self.layer = layer

    def call(self, inputs):
        if isinstance(self.layer, layers.DualAttention):
            return self._both_paths(inputs)
        return self._show(self.layer, inputs)

    def _show(self, layer, inputs):
        if isinstance(layer, layers.AttentionModule):
            inputs, mask = layer.branches(inputs, training=False)
            outputs = layer.combine(inputs, mask)
            mask = self._channels_last(mask)
        elif isinstance(layer, _attention_layer.Gate):
            outputs, mask = layer(
                inputs, training=False, return_attention_mask=True
            )
            mask = self._channels_last(mask)
        else:
            outputs, scores = layer(
                inputs, training=False, return_attention_scores=True
            )
            size = ops.shape(self._channels_last(inputs))[1:3]
            mask = SCORE_MAPS[type(layer)](layer, scores, size)
        return {
            "before": self._channels_last(inputs),
            "mask": mask,
            "after": self._channels_last(outputs),
        }

    def _both_paths(self, inputs):
        head = self.layer
        return {
            path: self._show(
                getattr(head, path), head.before(path, inputs, training=False)
            )
            for path in ("position", "channel")
        }

    def compute_output_spec(self, inputs):
        if not isinstance(self.layer, layers.AttentionModule):
            return super().compute_output_spec(inputs)
        # Known, so that Keras need not trace a whole module.
        shape = _attention_layer.channels_last_shape(
            self.layer.compute_output_shape(inputs.shape),
            self.layer.data_format,
        )
        return {
            name: keras.KerasTensor(shape, dtype=self.compute_dtype)
            for name in ("before", "mask", "after")
        }

    def _channels_last(self, x):
        return _attention_layer.to_channels_last(x, self.layer.data_format)
