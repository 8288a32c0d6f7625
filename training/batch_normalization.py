"""The batch normalizations of a network: across devices, and in one kernel."""

import contextlib

import keras


def batch_normalizations(layer, seen=None):
    """Each batch normalization inside a layer, once.

    Args:
        layer: A `keras.layers.Layer`, or a model.
    """
    seen = set() if seen is None else seen
    if id(layer) in seen:
        return
    seen.add(id(layer))
    if isinstance(layer, keras.layers.BatchNormalization):
        yield layer
    # Composite layers keep their parts in attributes and in lists.
    for part in vars(layer).values():
        for item in part if isinstance(part, (list, tuple)) else [part]:
            if isinstance(item, keras.layers.Layer):
                yield from batch_normalizations(item, seen)


def set_synchronized(model, value):
    """Sets `synchronized` of each batch normalization inside a model."""
    for layer in batch_normalizations(model):
        layer.synchronized = value


@contextlib.contextmanager
def fused_batch_normalization(model):
    """Trains with TensorFlow's own kernel for batch normalization.

    Keras composes it of a dozen operations, each of which reads all of the
    images' features; without XLA they take two fifths of the time of a
    training step on a processor. Inside this context a step is traced with one
    fused operation forward and one backward, for float32 and channels last.
    Outputs, gradients and moving statistics are the same up to rounding. The
    layers are as before afterwards, and files know nothing of it. On JAX and
    PyTorch, whose compilers and kernels fuse by themselves, it does nothing.

    Args:
        model: `keras.Model`. Call its `fit` or `train_on_batch` inside.

    Example:

    ```python
    with fused_batch_normalization(model):
        model.fit(images, labels)
    ```
    """
    changed = []
    if keras.backend.backend() == "tensorflow":
        changed = [
            layer
            for layer in batch_normalizations(model)
            # A class of its own computes something of its own.
            if type(layer) is keras.layers.BatchNormalization
            and not layer.synchronized
            and not layer.renorm
        ]
    for layer in changed:
        layer.call = _fused_call(layer)
    try:
        yield
    finally:
        for layer in changed:
            del layer.call  # of the instance; the class has its own


def _fused_call(layer):
    import tensorflow as tf

    plain = layer.call

    def call(inputs, training=None, mask=None):
        fits = (
            training
            and layer.trainable
            and mask is None
            and len(inputs.shape) == 4
            and layer.axis in (-1, 3)
            and keras.backend.standardize_dtype(inputs.dtype) == "float32"
            and layer.compute_dtype == "float32"
        )
        if not fits:
            return plain(inputs, training=training, mask=mask)
        channels = inputs.shape[-1]
        gamma = layer.gamma if layer.scale else keras.ops.ones(channels)
        beta = layer.beta if layer.center else keras.ops.zeros(channels)
        result = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=keras.ops.convert_to_tensor(gamma),
            offset=keras.ops.convert_to_tensor(beta),
            # Statistics to go on from, which Keras keeps on its own.
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=layer.epsilon,
            is_training=True,
        )
        # It returns the variance of the population; Keras keeps the sample's.
        count = tf.cast(tf.size(inputs) // channels, "float32")
        variance = result.batch_variance * ((count - 1) / count)
        for moving, value in (
            (layer.moving_mean, result.batch_mean),
            (layer.moving_variance, variance),
        ):
            moving.assign(
                moving * layer.momentum + value * (1 - layer.momentum)
            )
        return result.y

    return call
