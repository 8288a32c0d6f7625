"""From a model of composite layers to the same model of elementary ones."""

import collections
import contextlib
import inspect
import sys

import keras

from keras_ratn.layers import AttentionModule
from keras_ratn.predictors import function_of
from keras_ratn.predictors import score_paths
from keras_ratn.predictors import scores_index

from .calls import call_arguments
from .calls import symbolic_tensors
from .channels_last import in_channels_last
from .channels_last import is_channels_first
from .layer_copies import copied
from .layer_copies import sub_layers
from .layer_copies import take_weights
from .layer_copies import unsupported

# Keras walks a graph of single layers recursively; Attention-452 has
# thousands of them in a row.
_RECURSION_LIMIT = 100_000


@contextlib.contextmanager
def deep_recursion():
    """Lets Keras walk graphs of any depth."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _RECURSION_LIMIT))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def functional(model):
    """The model as a functional one, which a Sequential is inside."""
    if not isinstance(model, keras.Model) or not hasattr(model, "inputs"):
        raise ValueError(
            "`model` must be a functional Keras model, such as those of "
            f"keras_ratn. Received: {model!r} (of type {type(model).__name__})"
        )
    if isinstance(model, keras.Sequential):
        (inputs,), (outputs,) = model.inputs, model.outputs
        return keras.Model(inputs, outputs, name=model.name)
    return model


def elementary_layers(model):
    """The layers of a model in order, those of models inside it too."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from elementary_layers(layer)
        else:
            yield layer


def input_tensor(model, input_shape=None):
    """A new channels-last float32 input for `model`, of known size."""
    if len(model.outputs) > 1:
        raise ValueError(
            "Only models with one output can be exported. Received: a model "
            f"with {len(model.outputs)} outputs. Take the one that counts: "
            "keras.Model(model.inputs, model.outputs[0])"
        )
    own = image_shape(model)
    shape = own if input_shape is None else tuple(input_shape)
    if len(shape) != 3 or None in shape:
        raise ValueError(
            "A phone wants images of one known size. Pass "
            "`input_shape=(height, width, channels)`. "
            f"Received: input_shape={input_shape} for a model whose images "
            f"have the shape {own}"
        )
    return keras.Input(shape, dtype="float32", name="images")


def image_shape(model):
    """`(height, width, channels)` of what the model's deploy graph takes."""
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise ValueError(
            "Only models with one input, a batch of images, can be exported. "
            f"Received: a model with inputs of shapes {shapes}"
        )
    shape = shapes[0][1:]
    return (*shape[1:], shape[0]) if is_channels_first(model) else shape


def channels_last_float32_copy(model, inputs):
    """A clone on `inputs` that shares nothing with `model` but its values."""
    own = inputs
    if is_channels_first(model):
        batch, height, width, channels = inputs.shape
        shape = (batch, channels, height, width)
        own = keras.Input(batch_shape=shape, dtype="float32")
    copy = _copy(model, keras.tree.map_structure(lambda _: own, model.input))
    mixed = any(map(_computes_channels_first, elementary_layers(model)))
    if own is inputs and not mixed:
        return copy
    copy = open_up(copy, lambda layer: not isinstance(layer, keras.Model))
    copy = in_channels_last(copy, inputs)
    _name_all_insides(copy)
    return copy


def _computes_channels_first(layer):
    return getattr(layer, "data_format", None) == "channels_first"


def _copy(model, structure):
    """A clone on inputs in the structure that the model wants them in."""

    def clone_layer(layer):
        if isinstance(layer, keras.Model) and hasattr(layer, "inputs"):
            return _nested_copy(layer)
        if not isinstance(layer, keras.Layer):
            # Apart from the names that operations inside layers will get.
            return copied(layer, name=f"{model.name}_{layer.name}")
        known = type(layer).__module__.startswith(("keras.", "keras_ratn."))
        if isinstance(layer, keras.Model) or not known:
            raise unsupported(layer)
        changes = {"dtype": "float32", **_wrapped(layer)}
        if getattr(layer, "lora_enabled", False):
            changes["lora_rank"] = None  # `take_weights` adds its matrices
        if getattr(layer, "remat", False):
            changes["remat"] = False
        return copied(layer, **changes)

    copy = keras.models.clone_model(
        model, input_tensors=structure, clone_function=clone_layer
    )
    for layer in model.layers:
        if layer.weights and not isinstance(layer, keras.Model):
            take_weights(copy.get_layer(layer.name), layer)
    _name_all_insides(copy)
    return copy


def _wrapped(layer):
    """What the config of a wrapper says of the layers in it, in float32."""
    if not isinstance(layer, (keras.layers.RNN, keras.layers.Wrapper)):
        return {}
    return {
        key: {**value, "config": {**value["config"], "dtype": "float32"}}
        for key, value in layer.get_config().items()
        if isinstance(value, dict) and "dtype" in (value.get("config") or {})
    }


def _nested_copy(model):
    """A model that another one calls like a layer, on inputs of its own."""
    model = functional(model)
    structure = keras.tree.map_structure(
        lambda tensor: keras.Input(batch_shape=tensor.shape, dtype="float32"),
        model.input,
    )
    return _copy(model, structure)


def _name_all_insides(model):
    """Names inner layers by their path: a flat graph wants each name once."""
    for layer in model.layers:
        _name_insides(layer, layer.name)


def _name_insides(layer, path):
    for inner in sub_layers(layer):
        inner.name = f"{path}_{inner.name}"
        _name_insides(inner, inner.name)


def open_up(model, is_known, with_mask=False):
    """Replaces each composite layer by what its `call` does, all the way.

    Layers of this package that hold weights of their own, or that compute
    with sizes which only running tensors have, stay closed.

    Args:
        model: Functional model whose layers may be renamed and re-used.
        is_known: Function from a layer or operation to whether it is to stay.
        with_mask: Boolean. Whether the mask of the last Attention Module
            becomes a second output. Defaults to `False`.

    Returns:
        A functional model of elementary layers and operations, sharing the
        layers of `model`.
    """
    masks, closed = [], {}

    def is_elementary(operation):
        return (
            is_known(operation)
            or id(operation) in closed
            or not _is_composite(operation)
        )

    def call(operation, *args, **kwargs):
        if is_elementary(operation):
            return _applied(operation, args, kwargs)
        try:
            outputs, mask = _opened(operation, args, kwargs, with_mask)
        except (AttributeError, TypeError, ValueError):
            closed[id(operation)] = operation
            return _applied(operation, args, kwargs)
        masks.extend(mask)
        return outputs

    while not all(map(is_elementary, model.operations)):
        number = len(masks)
        model = keras.models.clone_model(
            model, clone_function=lambda layer: layer, call_function=call
        )
        if len(masks) > number:
            model = keras.Model(
                model.inputs, [*model.outputs, masks[-1]], name=model.name
            )
    if with_mask and not masks:
        raise ValueError(
            "`with_mask` needs a model with an AttentionModule. "
            f"Received: the model {model.name!r}, which has none."
        )
    return model


def _is_composite(operation):
    """Whether it is nothing but others: a model, a layer of ours, a Lambda."""
    if isinstance(operation, (keras.Model, keras.layers.Lambda)):
        return True
    if not type(operation).__module__.startswith("keras_ratn."):
        return False
    inside = {
        id(variable)
        for layer in sub_layers(operation)
        for variable in layer.variables
    }
    return all(id(variable) in inside for variable in operation.variables)


def _opened(layer, args, kwargs, with_mask):
    """What `call` returns, and a list with the mask if there is one."""
    args, kwargs = call_arguments(layer, args, kwargs)
    if "training" in inspect.signature(layer.call).parameters:
        kwargs["training"] = False
    if with_mask and isinstance(layer, AttentionModule):
        wants_both = kwargs.pop("return_attention_mask", False)
        both = layer.call(*args, **kwargs, return_attention_mask=True)
        return both if wants_both else both[0], [both[1]]
    return layer.call(*args, **kwargs), []


def _applied(operation, args, kwargs):
    """Calls it in inference."""
    args, kwargs = call_arguments(operation, args, kwargs)
    return operation(*args, **kwargs)


def without_softmax(model):
    """The graph of a deploy graph or its rounding twin without its softmax.

    Args:
        model: Flat functional model whose first output is of scores.

    Returns:
        Functional model that shares the layers of `model` and gives logits;
        `model` itself where scores come from no softmax.
    """
    (softmax, *behind), *others = score_paths(model)
    if others or function_of(softmax) is not keras.activations.softmax:
        return model
    x = softmax.input
    if getattr(softmax, "weights", None):  # a layer with such an activation
        layer = copied(softmax, activation="linear")
        x = layer(x)
        layer.set_weights(softmax.get_weights())
    for operation in behind:
        # The rounding of the softmax, not that of logits.
        if type(operation).__name__ != "FakeQuantization":
            x = copied(operation)(x)
    outputs = list(model.outputs)
    outputs[scores_index(outputs)] = x
    return keras.Model(model.inputs, outputs, name=model.name)


def probabilities(model):
    """The operations of a flat graph whose results no loss wants rounded.

    Args:
        model: Functional model.

    Returns:
        List of the softmaxes, and of the sigmoid that makes the scores.
    """
    makes_scores = [path[0] for path in score_paths(model)]
    kinds = (keras.activations.softmax, keras.activations.sigmoid)
    return [
        operation
        for operation in model.operations
        if function_of(operation) is kinds[0]
        or (operation in makes_scores and function_of(operation) is kinds[1])
    ]


def connections(model):
    """What makes and what reads each tensor of a flat model.

    Args:
        model: Functional model, each layer of which has been called once.

    Returns:
        Two dicts by id of a tensor: of the operation whose result it is, and
        of the list of operations that read it, with `None` for the model's
        own output.
    """
    made_by, read_by = {}, collections.defaultdict(list)
    for operation in model.operations:
        for tensor in keras.tree.flatten(operation.output):
            made_by[id(tensor)] = operation
        # The input of an InputLayer is its own output.
        if not isinstance(operation, keras.layers.InputLayer):
            for tensor in keras.tree.flatten(operation.input):
                read_by[id(tensor)].append(operation)
    for tensor in model.outputs:
        read_by[id(tensor)].append(None)
    return made_by, read_by


def consumers(model):
    """Who uses the result of each call of a flat model.

    Args:
        model: Functional model.

    Returns:
        List with an entry for each call, in the order in which `clone_model`
        makes them: the list of layers that read its result, with `None` for
        the model's own output.
    """
    found, call_of, kept = [], {}, []

    def call(layer, *args, **kwargs):
        for tensor in symbolic_tensors(args, kwargs):
            if id(tensor) in call_of:
                found[call_of[id(tensor)]].append(layer)
        outputs = layer(*args, **kwargs)
        kept.append(outputs)  # so that no id is given twice
        for tensor in symbolic_tensors(outputs):
            call_of[id(tensor)] = len(found)
        found.append([])
        return outputs

    copy = keras.models.clone_model(
        model, clone_function=lambda layer: layer, call_function=call
    )
    for tensor in copy.outputs:
        found[call_of[id(tensor)]].append(None)
    return found
