"""How much memory a training step takes, estimated before it runs."""

import math

import keras

MIB = 2**20


def weights_memory(config, network):
    """MiB of weights, their gradients and the optimizer's variables."""
    trainable = sum(math.prod(v.shape) for v in network.trainable_variables)
    # Gradient and momentum; AdamW has two moments; an average and the sum of
    # several batches' gradients are copies.
    copies = 2 + (config.optimizer.name == "adamw")
    copies += (config.optimizer.ema > 0) + (config.runtime.accumulation > 1)
    return (network.count_params() + copies * trainable) * 4 / MIB


def activations_memory(network, batch_size):
    """MiB that the forward pass keeps for the backward pass.

    Counted are the outputs of all operations, inside composite layers too, but
    those of batch normalization, which are not needed again: what goes into
    it and what the activation after it makes of it are. A module with `remat`
    keeps its output only, and the largest one is there once more. Workspace
    of the convolutions and augmented images come on top.

    Args:
        network: Functional `keras.Model` that makes no two calls of a layer.
        batch_size: Integer.

    Returns:
        Float.
    """
    # A clone, so that the network's own layers gain no nodes.
    kept, recomputed = _bytes(keras.models.clone_model(network))
    return batch_size * (kept + recomputed) / MIB


def _bytes(model):
    """Bytes for one image: those kept, those of the largest remat module."""
    kept, recomputed = 0, 0
    for operation in model.operations:
        if isinstance(operation, keras.layers.BatchNormalization):
            continue
        if not _is_composite(operation):
            kept += _size(operation.output)
            continue
        inner = keras.Model(operation.input, operation.call(operation.input))
        inside, deeper = _bytes(inner)
        # Its input is some other operation's output.
        inside -= _size(operation.input)
        if getattr(operation, "remat", False):
            recomputed = max(recomputed, inside)
            kept += _size(operation.output)
        else:
            recomputed = max(recomputed, deeper)
            kept += inside
    return kept, recomputed


def _is_composite(operation):
    builtin = type(operation).__module__.partition(".")[0] == "keras"
    return isinstance(operation, keras.Layer) and not builtin


def _size(tensors):
    """Bytes of one image's share of the tensors."""
    return sum(
        math.prod(tensor.shape[1:]) * (2 if "16" in tensor.dtype else 4)
        for tensor in keras.tree.flatten(tensors)
    )
