"""Recomputation of activations that is right for batch normalization."""

import keras


def rematerialize(layer, forward, inputs):
    """Runs `forward(inputs, training=True)` and keeps none of its insides.

    `keras.remat` alone runs the batch-norm updates inside `forward` a second
    time on the backward pass (or leaks them, on JAX). So the function that is
    run again is made pure: it takes the layer's variables as arguments, runs
    in a `StatelessScope`, and returns the new values of those that do not
    train, which are assigned once, outside.
    """
    variables = layer.trainable_variables + layer.non_trainable_variables
    updated = layer.non_trainable_variables

    def pure_forward(inputs, *values):
        with keras.StatelessScope(zip(variables, values)) as scope:
            outputs = forward(inputs, True)
        updates = [scope.get_current_value(v) for v in updated]
        return outputs, updates

    values = [keras.ops.convert_to_tensor(v) for v in layer.trainable_variables]
    # Copies: PyTorch assigns in place, and the backward pass needs the values
    # of before.
    values += [keras.ops.copy(v) for v in updated]
    outputs, updates = keras.remat(pure_forward)(inputs, *values)
    for variable, value in zip(updated, updates):
        if value is not None:
            variable.assign(value)
    return outputs
