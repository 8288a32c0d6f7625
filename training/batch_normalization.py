"""The batch normalizations of a network: across devices, and in one kernel."""

import contextlib

import keras

from keras_ratn.layers._batch_normalization import BatchNormalization as _OURS
from keras_ratn.layers._composite import layers_inside


def batch_normalizations(layer):
    """Each batch normalization inside a layer, once.

    Args:
        layer: A `keras.layers.Layer`, or a model.
    """
    for part in layers_inside(layer):
        if isinstance(part, keras.layers.BatchNormalization):
            yield part


def moving_statistics(model):
    """Variables of the batch normalizations: mean, variance, mean, ..."""
    return [
        variable
        for layer in batch_normalizations(model)
        for variable in (layer.moving_mean, layer.moving_variance)
    ]


def set_synchronized(model, value):
    """Sets `synchronized` of each batch normalization inside a model."""
    for layer in batch_normalizations(model):
        layer.synchronized = value


@contextlib.contextmanager
def fused_batch_normalization(model):
    """Runs batch normalization by TensorFlow's own kernel for it.

    Keras composes it of a dozen operations, each of which reads all of the
    images' features; without XLA they take a third of the work of a
    training step on a processor. Inside this context a step is traced with one
    fused operation forward and one backward, for float32 and channels last.
    Outputs, gradients and moving statistics are the same up to rounding. The
    layers are as before afterwards, and files know nothing of it. On JAX and
    PyTorch, whose compilers and kernels fuse by themselves, it does nothing.
    One such context inside another changes nothing more.

    Args:
        model: `keras.Model`. Call its `fit`, `evaluate` or `predict` inside;
            what they trace there stays fused.

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
            # A class of its own computes something of its own; ours does so
            # on PyTorch only.
            if type(layer) in (keras.layers.BatchNormalization, _OURS)
            and layer.axis in (-1, 3)
            and layer.compute_dtype == "float32"
            and not layer.synchronized
            and not layer.renorm
            # Whoever gave the layer a call of its own takes it away again.
            and "call" not in vars(layer)
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
        fits = mask is None and inputs.dtype == "float32"
        if not fits or len(inputs.shape) != 4:
            return plain(inputs, training=training, mask=mask)
        training = bool(training and layer.trainable)
        channels = inputs.shape[-1]
        moving = layer.moving_mean, layer.moving_variance
        values = (
            layer.gamma if layer.scale else keras.ops.ones(channels),
            layer.beta if layer.center else keras.ops.zeros(channels),
            *([] if training else moving),
        )
        values = [keras.ops.convert_to_tensor(v) for v in values]
        result = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=values[0],
            offset=values[1],
            mean=tf.zeros([0]) if training else values[2],
            variance=tf.zeros([0]) if training else values[3],
            epsilon=layer.epsilon,
            is_training=training,
        )
        if training:
            # The kernel divides squares by count - 1; Keras keeps the mean.
            count = tf.cast(tf.size(inputs) // channels, "float32")
            variance = result.batch_variance * ((count - 1) / count)
            for variable, value in zip(moving, (result.batch_mean, variance)):
                share = layer.momentum
                variable.assign(variable * share + value * (1 - share))
        return result.y

    return call
