"""Copies of layers and operations, with what their configs leave out."""

import keras

from keras_ratn._replay import copy_of_lambda


def copied(operation, cls=None, **changes):
    """A copy of a layer or operation, not yet built and without its weights.

    Functions that are nowhere registered, such as that of a `Lambda`, are
    handed on as they are.

    Args:
        operation: Layer or operation of Keras.
        cls: Class with the same config. Defaults to the operation's own.
        **changes: Entries of its config that are to be others.

    Returns:
        Layer or operation.
    """
    if isinstance(operation, keras.layers.Lambda):
        return copy_of_lambda(operation, **changes)
    try:
        config = {**operation.get_config(), **changes}
        function = getattr(operation, "activation", None)
        is_function = callable(function) and not isinstance(
            function, keras.Layer
        )
        if is_function and "activation" in config.keys() - changes.keys():
            config["activation"] = function
        return (cls or type(operation)).from_config(config)
    except (KeyError, NotImplementedError, TypeError, ValueError) as error:
        raise unsupported(operation) from error


def take_weights(layer, source):
    """Gives a built layer the weights of the layer that it is a copy of."""
    weights = _merged_weights(source)
    if not weights:
        return
    layer.set_weights(weights)
    if isinstance(layer, keras.layers.Normalization):
        layer.finalize_state()  # computes with what was set


def _merged_weights(layer):
    """A layer's weights as arrays, the updates of LoRA added to its kernels.

    Where LoRA is enabled (`enable_lora`), `layer.kernel` is the kernel and
    the product of its two matrices, which a copy does not have.
    """
    merged, left_out = {}, set()
    for inner in _with_sub_layers(layer):
        if getattr(inner, "lora_enabled", False):
            name = "kernel" if hasattr(inner, "kernel") else "embeddings"
            merged[id(inner.weights[0])] = getattr(inner, name)
            left_out |= {id(v) for v in inner.weights if "lora_" in v.name}
    return [
        keras.ops.convert_to_numpy(merged.get(id(variable), variable))
        for variable in layer.weights
        if id(variable) not in left_out
    ]


def _with_sub_layers(layer):
    yield layer
    for inner in sub_layers(layer):
        yield from _with_sub_layers(inner)


def sub_layers(layer):
    """The layers that a layer keeps in its attributes, and in lists there."""
    if isinstance(layer, keras.Model):
        return layer.layers
    attributes = dict(vars(layer))
    if keras.backend.backend() == "torch":
        attributes.update(layer.named_children())  # kept apart by PyTorch
    return [
        inner
        for attribute, value in attributes.items()
        if not attribute.startswith("_")
        for inner in keras.tree.flatten(value)
        if isinstance(inner, keras.Layer)
    ]


def unsupported(layer):
    """The error of a layer that no deploy graph can hold."""
    return ValueError(
        f"The layer {layer.name!r} of class {type(layer).__name__} cannot be "
        "rewritten for phones. Models of keras_ratn can, and functional "
        "models of Keras's own layers. Replace the layer by those."
    )


class Names:
    """Hands out each name once, the next times with a number behind it."""

    def __init__(self):
        self.given = set()

    def __call__(self, wanted):
        name, number = wanted, 1
        while name in self.given:
            number += 1
            name = f"{wanted}_{number}"
        self.given.add(name)
        return name
