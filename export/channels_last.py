"""From a graph in channels-first layout to the same in channels-last.

Each tensor of the source is found in the new graph either as it is or
*turned*: with its channels, axis 1, as the last axis. Layers with a layout or
an axis compute on turned tensors with another one, and layers that look at
one value at a time do not notice. Whatever else there is, such as `Reshape`,
gets what it reads turned back, and so computes what it always did.
"""

import keras
import numpy as np

from keras_ratn.layers._channels_first import layer_class

from .calls import call_arguments
from .calls import symbolic_tensors
from .layer_copies import copied
from .layer_copies import Names
from .layer_copies import take_weights

# Functions, layers and operations that compute each value from the ones in
# its own place.
_FUNCTIONS_BY_VALUE = [
    getattr(keras.activations, name)
    for name in (
        "celu",
        "elu",
        "exponential",
        "gelu",
        "hard_sigmoid",
        "hard_silu",
        "leaky_relu",
        "linear",
        "mish",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "softplus",
        "softsign",
        "tanh",
    )
]
_LAYERS_BY_VALUE = (
    keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout,
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.Dropout,
    keras.layers.ELU,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.LeakyReLU,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Multiply,
    keras.layers.ReLU,
    keras.layers.Subtract,
)
_OPERATIONS_BY_VALUE = (
    "Add",
    "Cast",
    "Divide",
    "Maximum",
    "Minimum",
    "Multiply",
    "Relu",
    "Relu6",
    "Sigmoid",
    "Silu",
    "Subtract",
    "Tanh",
    "TrueDivide",
)
# Their layout is not that of maps.
_WITHOUT_MAPS = (keras.layers.RNN, keras.layers.STFTSpectrogram)
# Layers with one axis, to which their weights belong, or several, without.
_WITH_AN_AXIS = (
    keras.layers.BatchNormalization,
    keras.layers.Concatenate,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.Normalization,
    keras.layers.RMSNormalization,
)
_WITH_AXES = (keras.layers.Softmax, keras.layers.UnitNormalization)


def is_channels_first(model):
    """Whether the images that a model takes have their channels first.

    Its first layer with a layout tells.
    """
    for operation in _operations(model):
        layout = _layout_of_input(operation)
        if layout is not None:
            return layout == "channels_first"
    return False


def _operations(model):
    """All that a model computes, in order, models inside it opened."""
    for operation in getattr(model, "operations", model.layers):
        if isinstance(operation, keras.Model):
            yield from _operations(operation)
        else:
            yield operation


def _layout_of_input(operation):
    """The layout in which an operation reads images, `None` if in either."""
    axes = _permutation(operation)
    if axes is not None:
        layouts = {
            (0, 2, 3, 1): "channels_first",
            (0, 3, 1, 2): "channels_last",
        }
        return layouts.get(axes)
    name = type(operation).__name__
    if name == "Flatten" or name.startswith("Random"):
        return None  # works the same, or not at all, in inference
    return getattr(operation, "data_format", None)


def _permutation(operation):
    """The axes of what is read, in the order of what is returned, or `None`."""
    if isinstance(operation, keras.layers.Permute):
        return (0, *operation.dims)
    if type(operation).__name__ == "Transpose" and operation.axes:
        axes = tuple(axis % len(operation.axes) for axis in operation.axes)
        return axes if axes[0] == 0 else None
    return None


def in_channels_last(model, inputs):
    """Computes the same on channels-last maps.

    Args:
        model: Flat functional model with one input and one output.
        inputs: Input tensor, of channels-last images. It may be for a model
            of channels-first images.

    Returns:
        Functional model that shares no weights with `model`. Where it takes
        other images than that, it returns maps in another layout, too.
    """
    turning = _Turning()
    is_turned = is_channels_first(model)
    if is_turned:
        turning.mark(inputs)
    copy = keras.models.clone_model(
        model,
        input_tensors=keras.tree.map_structure(lambda _: inputs, model.input),
        clone_function=lambda layer: layer,
        call_function=turning.call,
    )
    if is_turned:
        return copy
    outputs = [turning.back(x) for x in copy.outputs]
    return keras.Model(copy.input, outputs, name=model.name)


def _last(rank):
    """The axes that put the channels, axis 1, last."""
    return (0, *range(2, rank), 1)


def _first(rank):
    """The axes that put the channels, the last axis, first."""
    return (0, rank - 1, *range(1, rank - 1))


class _Turning:
    """Calls the layers of the new graph, on turned tensors where it can."""

    def __init__(self):
        self.name = Names()
        self.turned = {}  # id of a turned tensor -> the tensor
        self.others = {}  # (id of a tensor, axes) -> the tensor permuted

    def mark(self, x):
        """Notes that a tensor is turned."""
        self.turned[id(x)] = x
        return x

    def back(self, x):
        """The tensor as it is in the source."""
        if id(x) not in self.turned:
            return x
        return self._permuted(x, _first(len(x.shape)))

    def last(self, x):
        """The tensor turned."""
        if id(x) in self.turned:
            return x
        return self.mark(self._permuted(x, _last(len(x.shape))))

    def _permuted(self, x, axes):
        if (id(x), axes) not in self.others:
            layer = keras.layers.Permute(
                axes[1:], dtype="float32", name=self.name("permute")
            )
            self.others[id(x), axes] = layer(x)
        return self.others[id(x), axes]

    def call(self, layer, *args, **kwargs):
        args, kwargs = call_arguments(layer, args, kwargs)
        tensors = symbolic_tensors(args)
        axes = _permutation(layer)
        if axes is not None:
            return self._permutation(tensors[0], axes)
        if _has_a_layout(layer, tensors):
            return self._of_maps(layer, *args, **kwargs)
        if any(id(x) in self.turned for x in tensors):
            changes = _changes(layer, args, kwargs)
            if changes is not None:
                args = keras.tree.map_structure(self._last_if_tensor, args)
                return self.mark(self._applied(layer, args, kwargs, changes))
        args, kwargs = keras.tree.map_structure(self.back, (args, kwargs))
        return self._applied(layer, args, kwargs, {})

    def _last_if_tensor(self, x):
        return self.last(x) if keras.utils.is_keras_tensor(x) else x

    def _applied(self, layer, args, kwargs, changes):
        cls = type(layer)
        if cls.__module__ == layer_class.__module__:
            cls = layer_class(cls.__name__, "channels_last")
        new = copied(layer, cls, name=self.name(layer.name), **changes)
        outputs = new(*args, **kwargs)
        if isinstance(layer, keras.Layer):
            take_weights(new, layer)
        return outputs

    def _permutation(self, x, axes):
        """A permutation of the source, together with turning."""
        none = tuple(range(len(axes)))
        if id(x) in self.turned:
            axes = tuple(_last(len(axes)).index(axis) for axis in axes)
        if axes == none:
            return self._same(x)
        if axes == _first(len(axes)):
            return self.mark(self._same(x))  # turned, it is what `x` is
        return self._permuted(x, axes)

    def _same(self, x):
        """The same values under another id."""
        return keras.layers.Identity(
            dtype="float32", name=self.name("identity")
        )(x)

    def _of_maps(self, layer, maps, *args, **kwargs):
        """A layer of channels-first maps as one of channels-last ones."""
        changes, function = {"data_format": "channels_last"}, None
        if not _is_by_value(getattr(layer, "activation", None)):
            function, changes["activation"] = layer.activation, None
        args, kwargs = keras.tree.map_structure(self.back, (args, kwargs))
        args = (self.last(maps), *args)
        outputs = self._applied(layer, args, kwargs, changes)
        results = keras.tree.flatten(outputs)
        if kwargs.get("return_attention_scores"):
            results = results[:1]  # scores of positions have no layout
        for x in results:
            if len(x.shape) == len(maps.shape):
                self.mark(x)
        if function is None:
            return outputs
        name = self.name(f"{layer.name}_activation")
        layer = keras.layers.Activation(function, dtype="float32", name=name)
        return layer(self.back(outputs))


def _has_a_layout(layer, tensors):
    """Whether a layer computes on channels-first maps."""
    return (
        getattr(layer, "data_format", None) == "channels_first"
        and not isinstance(layer, _WITHOUT_MAPS)
        and len(tensors[0].shape) > 2
    )


def _changes(layer, args, kwargs):
    """What makes a layer fit turned tensors, `None` if nothing does.

    Args:
        layer: Layer or operation, without a layout.
        args: List of its arguments.
        kwargs: Dict of its other arguments.

    Returns:
        Dict of changes of its config.
    """
    ranks = {len(x.shape) for x in symbolic_tensors(args)}
    if len(ranks) > 1 or symbolic_tensors(kwargs):
        return None
    if _computes_by_value(layer, args):
        return {}
    if not isinstance(layer, _WITH_AN_AXIS + _WITH_AXES):
        return None
    axes = keras.tree.flatten(layer.axis)
    if len(axes) > 1 and not isinstance(layer, _WITH_AXES):
        return None
    (rank,) = ranks
    axes = [_last(rank).index(axis % rank) for axis in axes]
    return {"axis": axes[0] if len(axes) == 1 else axes}


def _computes_by_value(layer, args):
    if isinstance(layer, keras.layers.Activation):
        return _is_by_value(layer.activation)
    if isinstance(layer, keras.layers.Rescaling):
        return np.ndim(layer.scale) == np.ndim(layer.offset) == 0
    if isinstance(layer, keras.Layer):
        return isinstance(layer, _LAYERS_BY_VALUE)
    return type(layer).__name__ in _OPERATIONS_BY_VALUE and all(
        keras.utils.is_keras_tensor(x) or np.ndim(x) == 0 for x in args
    )


def _is_by_value(function):
    return function is None or function in _FUNCTIONS_BY_VALUE
