"""Recomputation of activations that is right for batch normalization."""

import keras


def rematerialize(layer, forward, inputs):
    """Runs `forward(inputs, training=True)` and keeps none of its insides.

    `keras.remat` alone runs the batch-norm updates inside `forward` a second
    time on the backward pass (or leaks them, on JAX). So the function that is
    run again is made pure: it takes the layer's variables as arguments, runs
    in a `StatelessScope`, and returns the new values of those that it writes,
    which are assigned once, outside.
    """
    state = layer.non_trainable_variables
    variables = layer.trainable_variables + state
    written = []

    def pure_forward(inputs, *values):
        with keras.StatelessScope(zip(variables, values)) as scope:
            before = [scope.get_current_value(v) for v in state]
            outputs = forward(inputs, True)
        # Not the frozen weights, which are as they were.
        written[:] = [
            variable
            for variable, value in zip(state, before)
            if scope.get_current_value(variable) is not value
        ]
        return outputs, [scope.get_current_value(v) for v in written]

    values = [keras.ops.convert_to_tensor(v) for v in layer.trainable_variables]
    # Copies: PyTorch assigns in place, and the backward pass needs the values
    # of before.
    values += [keras.ops.stop_gradient(keras.ops.copy(v)) for v in state]
    outputs, updates = keras.remat(pure_forward)(inputs, *values)
    for variable, value in zip(written, updates):
        variable.assign(value)
    return outputs
