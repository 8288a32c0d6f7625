"""What a layer or operation of a graph is called with."""

import inspect

import keras


def symbolic_tensors(*args):
    """The symbolic tensors among the arguments of a call."""
    return [
        x for x in keras.tree.flatten(args) if keras.utils.is_keras_tensor(x)
    ]


def call_arguments(operation, args, kwargs):
    """The arguments of a call, its tensors by position and the rest by name.

    However the call was written down. What is left out: `training`, and a
    `mask` that is `None`, which Keras adds to the calls of some layers.

    Args:
        operation: Layer or operation of Keras.
        args: Tuple.
        kwargs: Dict.

    Returns:
        Pair of a list and a dict.
    """
    if not isinstance(operation, keras.Layer):
        return list(args), dict(kwargs)
    kwargs = {k: v for k, v in kwargs.items() if k != "training"}
    if kwargs.get("mask") is None:
        kwargs.pop("mask", None)
    signature = inspect.signature(operation.call)
    given = signature.bind(*args, **kwargs).arguments
    tensors, are_first = [], True
    for name, parameter in signature.parameters.items():
        is_tensor = bool(symbolic_tensors(given.get(name)))
        are_first = are_first and is_tensor and not name.endswith("mask")
        if are_first:
            tensors.append(given.pop(name))
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            given.update(given.pop(name, {}))
    return tensors, given
