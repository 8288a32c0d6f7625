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
    if isinstance(model, keras.Sequential):
        (x,) = inputs
        for layer in model.layers:
            x = call(copy(layer), x)
    else:
        keras.models.clone_model(
            model,
            input_tensors=keras.tree.pack_sequence_as(model.input, inputs),
            clone_function=copy,
            call_function=call,
        )
    return inputs


def _copy(layer):
    return type(layer).from_config(layer.get_config())
