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
    weights = source.get_weights()
    if not weights:
        return
    layer.set_weights(weights)
    if isinstance(layer, keras.layers.Normalization):
        layer.finalize_state()  # computes with what was set


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
