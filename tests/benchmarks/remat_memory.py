"""Bytes that a training step keeps for its backward pass, with and without
`remat`, for CifarAttention-164:

    KERAS_BACKEND=jax python -m tests.benchmarks.remat_memory

Measured are the residuals of the vjp function, by shape alone: nothing is
computed, and XLA's own later savings are not counted.
"""

import math

import keras
import numpy as np


def residual_bytes(model, batch_size):
    """Bytes of all arrays that the backward pass gets from the forward one."""
    import jax

    images = np.zeros((batch_size, *model.input_shape[1:]), "float32")
    trainable = [v.value for v in model.trainable_variables]
    others = [v.value for v in model.non_trainable_variables]

    def loss(trainable):
        outputs, updates = model.stateless_call(
            trainable, others, images, training=True
        )
        return keras.ops.mean(outputs**2), updates

    def residuals(trainable):
        _, backward, _ = jax.vjp(loss, trainable, has_aux=True)
        return jax.tree_util.tree_leaves(backward)

    return sum(
        math.prod(array.shape) * array.dtype.itemsize
        for array in jax.eval_shape(residuals, trainable)
    )


def main():
    """Prints both, and their ratio."""
    import keras_ratn

    sizes = {
        remat: residual_bytes(
            keras_ratn.CifarAttention164(remat=remat), batch_size=32
        )
        for remat in (False, True)
    }
    for remat, size in sizes.items():
        print(f"remat={remat}: {size / 2**20:.0f} MiB at batch 32")
    print(f"ratio {sizes[True] / sizes[False]:.3f} (wanted: at most 0.4)")


if __name__ == "__main__":
    main()
