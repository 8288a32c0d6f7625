"""Walking through a model's calls once more, with something to do at each."""

import keras


def replay(model, call, shapes=None, clone=False):
    """Calls `call(layer, *args, **kwargs)` for each call in a model's graph.

    Args:
        model: Functional or sequential `keras.Model`.
        call: Function that returns the layer's outputs.
        shapes: Optional list of input shapes with the batch size. Defaults to
            the model's own.
        clone: Boolean. Whether `call` gets copies of the layers, so that the
            model's own gain no nodes. Defaults to `False`.

    Returns:
        List of the new input tensors.
    """
    shapes = shapes or [tensor.shape for tensor in model.inputs]
    inputs = [
        keras.Input(batch_shape=shape, dtype=tensor.dtype)
        for shape, tensor in zip(shapes, model.inputs)
    ]
    copy = _copy if clone else (lambda layer: layer)
    model = _uncompiled(model)
    keras.models.clone_model(
        model,
        input_tensors=keras.tree.pack_sequence_as(model.input, inputs),
        clone_function=copy,
        call_function=call,
    )
    return inputs


def _uncompiled(model):
    """The same calls, without a loss that may have no config."""
    sequential = isinstance(model, keras.Sequential)
    inputs = model.inputs[0] if sequential else model.input
    return keras.Model(inputs, model.outputs, name=model.name)


def _copy(layer):
    if isinstance(layer, keras.layers.Lambda):
        return copy_of_lambda(layer)
    if isinstance(layer, keras.Model) and hasattr(layer, "inputs"):
        return keras.models.clone_model(
            _uncompiled(layer), clone_function=_copy
        )
    return type(layer).from_config(layer.get_config())


def copy_of_lambda(layer, **changes):
    """One with the same function, which a config may not be able to hold."""
    arguments = {"name": layer.name, "dtype": layer.dtype_policy, **changes}
    return keras.layers.Lambda(
        layer.function,
        output_shape=layer.compute_output_shape,
        mask=layer.mask,
        arguments=layer.arguments,
        **arguments,
    )
