"""Batch normalization whose variance is never negative."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_ratn")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalization, safe on PyTorch too.

    There Keras 3.15 computes variances as E[x^2] - E[x]^2. Where a channel's
    mean is large beside its deviation, as in the residual stream of a deep
    network, rounding makes that negative and the output NaN. Normalization
    does not depend on what is added to its input, so there the mean is taken
    off first. The class has Keras's name because class names are the keys of
    weights files.
    """

    def call(self, inputs, training=None, mask=None):
        if not self._can_shift(training, mask):
            return super().call(inputs, training=training, mask=mask)
        inputs = ops.cast(inputs, "float32")
        axis = self.axis % len(inputs.shape)
        axes = [i for i in range(len(inputs.shape)) if i != axis]
        mean = ops.stop_gradient(ops.mean(inputs, axes, keepdims=True))
        outputs = super().call(inputs - mean, training=training)
        self.moving_mean.assign_add(
            ops.reshape(mean, (-1,)) * (1.0 - self.momentum)
        )
        return outputs

    def _can_shift(self, training, mask):
        return (
            keras.backend.backend() == "torch"
            and training
            and self.trainable
            and mask is None
            and not self.renorm
        )
